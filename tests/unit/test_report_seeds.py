"""Of several seeds a report shows means with intervals, the claims about them, and how to come back to each run."""

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from analysis import claims, figures, report, results, tabular
from analysis.curves import curve
from analysis.groups import Group, arms, group, most_seeds, settings
from analysis.load import Comparison, Run, load_comparisons, load_runs
from analysis.looks import INK, VARIABLES, looks
from analysis.statistics import Mean
from node_image.records import Record
from orchestrator.commands.report import report as command
from tests.unit.recorded_runs import write_comparison, write_run, write_study
from tests.unit.test_report import Outline


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    folder = write_study(tmp_path_factory.mktemp("runs") / "study", arms=3, settings=("calm", "storm"))
    return load_comparisons([folder])[0]


@pytest.fixture(scope="module")
def groups(study: Comparison) -> list[Group]:
    return group(study.runs)


@pytest.fixture(scope="module")
def findings(study: Comparison) -> list[claims.ClaimFinding]:
    return claims.judge(study.claims, [(run.label, run.summary) for run in study.runs])


@pytest.fixture(scope="module")
def page(study: Comparison, findings: list[claims.ClaimFinding]) -> str:
    return report.render(study.runs, findings, study.missing)


def labelled(*labels: str) -> list[Run]:
    return [Run(Path(label), label, {"name": "scenario"}) for label in labels]


def with_accuracies(path: Path, points: list[tuple[float, float]]) -> Path:
    """A recorded run whose coordinator found these accuracies at these seconds."""
    write_run(path)
    lines = [Record(t, "test_accuracy", value, {"split": "global"}).to_line() for t, value in points]
    (path / "nodes" / "coordinator" / "records.jsonl").write_text("\n".join(lines) + "\n")
    return path


def test_runs_that_differ_by_their_seed_alone_are_a_group(groups: list[Group]) -> None:
    assert [(each.arm, each.setting, len(each.runs)) for each in groups] == [
        *(("a0", "calm", 3), ("a0", "storm", 3)),
        *(("a1", "calm", 3), ("a1", "storm", 3)),
        *(("a2", "calm", 3), ("a2", "storm", 3)),
    ]
    assert list(settings(groups)) == ["calm", "storm"]
    assert arms(groups) == ["a0", "a1", "a2"]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["seed=1", "seed=2"], [("scenario", "")]),
        (["setting=calm seed=1", "setting=storm seed=1"], [("calm", ""), ("storm", "")]),
        (["algorithm=a rate=1 seed=1", "algorithm=b rate=2 seed=1"], [("a", "rate 1"), ("b", "rate 2")]),
        (["20260101-x", "20260102-y"], [("20260101-x", ""), ("20260102-y", "")]),
        (["arm=a seed=1", "arm=a seed=2"], [("a", "")]),
    ],
)
def test_an_arm_is_what_is_compared_and_a_setting_what_it_is_compared_in(
    labels: list[str], expected: list[tuple[str, str]]
) -> None:
    assert [(each.arm, each.setting) for each in group(labelled(*labels))] == expected


def test_the_same_label_in_two_folders_is_not_a_second_seed(tmp_path: Path) -> None:
    folders = [write_comparison(tmp_path / name) for name in ("before", "after")]
    found = group(load_runs(folders))
    assert most_seeds(found) == 1
    assert list(settings(found)) == ["from before", "from after"]


def test_a_run_of_a_comparison_keeps_its_label_when_named_alone(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", arms=1)
    assert [run.label for run in load_runs([folder / "arm=a0-seed=2"])] == ["arm=a0 seed=2"]


@pytest.mark.parametrize(
    ("metric", "mean", "half", "text"),
    [
        ("test_accuracy", 0.62, 0.0113, "62.0 ± 1.1 %"),
        ("sent_payload_bytes", 3.53e6, 33_300.0, "3.53 ± 0.03 MB"),
        ("sent_payload_bytes", 3.53e6, 10.0, "3.53 ± <0.01 MB"),
        ("sent_payload_bytes", 3e6, 0.0, "3.00 ± 0 MB"),
        ("round_s", 0.0125, 0.001, "12.5 ± 1.0 ms"),
        ("energy_joules", 0.0, 0.0, "0 ± 0 J"),
    ],
)
def test_a_mean_and_its_interval_share_a_unit(metric: str, mean: float, half: float, text: str) -> None:
    assert tabular.plus_minus(metric, Mean(mean, mean - half, mean + half, 3)) == text


def test_a_mean_of_one_seed_has_no_interval() -> None:
    assert tabular.plus_minus("test_accuracy", Mean(0.5, None, None, 1)) == "50.0 %"


def test_each_arm_and_setting_is_one_row_with_its_mean(groups: list[Group]) -> None:
    table = results.figures(groups)
    assert [row[:2] for row in table.rows] == [
        (setting, arm) for setting in ("calm", "storm") for arm in ("a0", "a1", "a2")
    ]
    accuracy = table.rows[0][table.header.index("accuracy")]
    known = groups[0].known("test_accuracy")
    assert accuracy.startswith(f"{100 * sum(known) / 3:.1f} ± ")
    assert any("Fewer than 5 seeds" in note for note in table.notes)


def test_a_seed_that_lacks_a_figure_is_told_and_not_averaged_away(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", arms=1)
    path = folder / "arm=a0-seed=2" / "result.json"
    result = json.loads(path.read_text())
    result["summary"]["test_accuracy"] = None
    result["status"] = "degraded"
    path.write_text(json.dumps(result))
    table = results.figures(group(load_runs([folder])))
    assert table.rows[0][1] == "2 of 3"
    assert any("ended degraded" in note for note in table.notes)


def test_runs_without_figures_are_named(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", arms=1)
    content = json.loads((folder / "compare.json").read_text())
    content["planned"] = 7
    content["runs"].append({"label": "arm=a9 seed=1", "directory": "gone", "exit_code": 4, "error": "it <broke>"})
    (folder / "compare.json").write_text(json.dumps(content))
    comparison = load_comparisons([folder])[0]
    html = report.render(comparison.runs, missing=comparison.missing)
    assert "without figures: arm=a9 seed=1: it &lt;broke&gt;" in html
    assert "3 of 7 planned runs have not ended" in html


def test_the_page_says_first_what_to_believe_then_what_was_claimed(page: str) -> None:
    outline = Outline()
    outline.feed(page)
    assert outline.headings[1:6] == ["Setting", "What to believe: receipt and notes", "Claims", "Verdict", "Results"]
    assert outline.stack == []
    assert outline.fetched == []


def test_a_claim_has_its_verdict_in_words(page: str) -> None:
    assert "3 claims: 1 holds, 1 does not hold, 1 cannot be told." in page
    assert '<b class="met">✓ holds</b>' in page
    assert '<b class="missed">✗ does not hold</b>' in page
    assert "time of a round, median of a2 was not measured in setting=calm seed=1" in page


def test_the_p_values_of_claims_are_corrected_for_their_number(findings: list[claims.ClaimFinding]) -> None:
    adjusted = claims.adjusted(findings)
    assert adjusted[2] is None
    assert [p for p in adjusted if p is not None] == pytest.approx([2 * (finding.p or 0) for finding in findings[:2]])


def test_single_runs_stay_within_reach(page: str, study: Comparison) -> None:
    assert all(f"<td>{run.directory.name}</td>" in page for run in study.runs)
    assert page.count("complete, exit 1") == len(study.runs)


def test_the_faults_of_many_runs_are_told_in_one_line(page: str) -> None:
    assert "<td>18 of 18 runs</td>" in page
    assert "<summary>Every fault of every run, with its evidence</summary>" in page


def test_a_curve_is_the_mean_of_the_seeds_between_the_lowest_and_the_highest(tmp_path: Path) -> None:
    points = ([(10.0, 0.2), (30.0, 0.6)], [(20.0, 0.6), (40.0, 0.8)])
    for seed, each in enumerate(points):
        with_accuracies(tmp_path / f"{seed}", each)
    runs = tuple(load_runs([tmp_path / "0", tmp_path / "1"]))
    found = curve(Group("a", "", runs))
    assert found.at == (20.0, 30.0)  # where both are known
    assert found.mean == pytest.approx((0.5, 0.65))  # on the straight lines between evaluations
    assert found.low == pytest.approx((0.4, 0.6))
    assert found.high == pytest.approx((0.6, 0.7))


def test_a_curve_against_a_cost_is_at_what_the_seeds_had_spent_by_then(groups: list[Group]) -> None:
    over_time, against = curve(groups[0]), curve(groups[0], "energy_joules")
    assert against.mean == over_time.mean
    assert against.at[-1] == pytest.approx(60 * 3 * (7.0 + 3.2 + 0.4))
    assert list(against.at) == sorted(against.at)


def test_a_run_without_any_accuracy_leaves_the_others_their_curve(tmp_path: Path) -> None:
    write_run(tmp_path / "0")
    with_accuracies(tmp_path / "1", [])
    runs = tuple(load_runs([tmp_path / "0", tmp_path / "1"]))
    assert curve(Group("a", "", runs)).seeds == 1
    assert curve(Group("a", "", runs[1:])).at == ()


def test_each_setting_has_a_panel_and_each_of_eleven_arms_a_look_of_its_own(tmp_path: Path) -> None:
    groups = group(load_runs([write_study(tmp_path / "study", arms=11, settings=("calm", "storm"), seeds=1)]))
    drawn = figures.accuracy(groups)
    assert [axes.get_title(loc="left") for axes in drawn.axes] == ["calm", "storm"]
    drawn_as = looks(groups).values()
    assert len({look.colour for look in drawn_as}) == len({look.mark for look in drawn_as}) == 11
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == [f"a{number}" for number in range(11)]


def test_costs_far_apart_are_drawn_on_a_logarithmic_axis(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / "much"), write_run(tmp_path / "little")]
    for path in (folders[1] / "nodes").glob("*/records.jsonl"):
        path.write_text(path.read_text().replace('"value":9000.0', '"value":9.0').replace("27000.0", "27.0"))
    axes = figures.accuracy(group(load_runs(folders)), "sent_payload_bytes").axes[0]
    assert axes.get_xscale() == "log"
    assert "logarithmic" in axes.get_xlabel()


def test_a_figure_in_a_page_takes_the_colours_of_the_page(groups: list[Group]) -> None:
    drawn = figures.svg(figures.per_arm(groups))
    style = Path(report.__file__).with_name("report.css").read_text()
    assert "var(--c0)" in drawn
    assert INK not in drawn
    for name in VARIABLES.values():
        assert style.count(f"--{name}:") == 2, f"{name} has a colour in light and one in dark"


def test_tables_and_figures_are_kept_for_a_paper(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study")
    for path in study.glob("**/nodes/pi0/records.jsonl"):
        path.write_text(f"{path.read_text()}{Record(5.0, 'local_phase_s', 0.02, {}).to_line()}\n")
    arguments = [str(study), "--tables", str(tmp_path / "paper")]
    done = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert done.output.strip() == str(tmp_path / "paper")
    names = {path.name for path in (tmp_path / "paper").iterdir()}
    for table in ("results", "bytes", "claims", "runs", "pairs_test_accuracy", "recovery", "latencies", "traffic"):
        assert {f"{table}.md", f"{table}.tex"} <= names
    for figure in (
        *("accuracy_over_time", "accuracy_against_bytes", "accuracy_against_energy", "per_arm", "energy"),
        *("latencies", "traffic", "timeline_arm=a0_seed=1"),
    ):
        assert {f"{figure}.svg", f"{figure}.pdf", f"{figure}.csv"} <= names
    rows = list(csv.DictReader((tmp_path / "paper" / "per_arm.csv").read_text().splitlines()))
    first = next(row for row in rows if row["metric"] == "test_accuracy")
    assert float(first["ci95_low"]) < float(first["mean"]) < float(first["ci95_high"])
    assert len(first["each_seed"].split()) == 3
    assert "✓ holds" in (tmp_path / "paper" / "claims.md").read_text()
    assert "Substrate: simulation." in (tmp_path / "paper" / "results.tex").read_text()
    assert "study --tables paper" in (tmp_path / "paper" / "energy.svg").read_text()


def test_what_latex_would_read_as_a_command_is_escaped() -> None:
    table = tabular.Table("t", "50 % & more", ("arm", "value"), (("a_b", "1 ± 2 %"),))
    text = tabular.latex(table)
    assert r"\caption{50 \% \& more}" in text
    assert r"a\_b & 1 $\pm$ 2 \% \\" in text
    assert "| a_b | 1 ± 2 % |" in tabular.markdown(table)


def test_the_command_writes_the_claims_of_a_comparison(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", seeds=2)
    assert CliRunner().invoke(command, [str(folder)], standalone_mode=False).return_value == 0
    assert "<h2>Claims</h2>" in (folder / "report.html").read_text()
