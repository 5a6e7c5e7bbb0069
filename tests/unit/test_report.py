"""Run directories are read as they are, and a report says what may be believed before what was found."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from analysis import figures, report, tables
from analysis.load import NotARunError, Run, load_run, load_runs
from tests.unit.recorded_runs import write_comparison, write_run

VOID = {"meta", "br", "hr", "img", "link", "input"}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return load_runs([write_comparison(tmp_path_factory.mktemp("runs") / "comparison")])


@pytest.fixture(scope="module")
def page(comparison: list[Run]) -> str:
    return report.render(comparison)


class Outline(HTMLParser):
    """Collects headings, ids of elements that would fetch something, and checks that tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.headings: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.stack.append(tag)
        for name, value in attrs:
            if name in ("src", "srcset") or (name in ("href", "xlink:href") and not (value or "").startswith("#")):
                self.fetched.append(f"{tag} {name}={value}")
        if tag in ("script", "link", "iframe"):
            self.fetched.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] == "h2":
            self.headings.append(data)


def test_a_comparison_stands_for_its_runs(comparison: list[Run]) -> None:
    assert [run.label for run in comparison] == ["algorithm=fedavg seed=1", "algorithm=fedasync seed=1"]
    assert all(not run.problems for run in comparison)


def test_a_record_of_the_orchestrator_belongs_to_the_node_in_its_label(comparison: list[Run]) -> None:
    assert set(tables.totals(comparison[0], "energy_joules", "node")) == {"pi0", "pi1", "pi2"}


def test_a_half_written_run_is_read_and_says_what_is_missing(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run")
    (directory / "result.json").unlink()
    (directory / "receipt.json").write_text('{"ok": tr')
    with (directory / "records.jsonl").open("a") as file:
        file.write('{"t": 180.0, "metr')
    run = load_run(directory, "run")
    assert len(run.records) > 100
    said = "\n".join(run.problems)
    assert "result.json is missing" in said
    assert "receipt.json is broken" in said
    assert "1 broken lines" in said
    html = report.render([run])
    assert "No result: the run was killed, or is still running" in html
    assert "nothing says that links and computing were as asked" in html


def test_a_folder_without_a_plan_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(NotARunError, match=r"no plan\.json"):
        load_run(tmp_path, "x")


def test_a_run_with_nothing_but_a_plan_can_still_be_reported(tmp_path: Path) -> None:
    plan = {"name": "x", "about": "", "seed": 1, "stop_after_s": 10.0, "nodes": [], "links": [], "faults": []}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    assert "no accuracy was recorded" in report.render([load_run(tmp_path, "x")])


def test_trust_comes_before_figures(page: str) -> None:
    outline = Outline()
    outline.feed(page)
    assert outline.headings == [
        "Setting",
        "Verdict",
        "Results",
        "What to believe: receipt and notes",
        "Accuracy",
        "Bytes",
        "Energy",
        "Faults",
        "How to repeat",
    ]


def test_the_page_is_well_formed_and_fetches_nothing(page: str) -> None:
    outline = Outline()
    outline.feed(page)
    assert outline.stack == []
    assert outline.fetched == []
    assert "url(http" not in page


def test_what_files_say_is_escaped(page: str) -> None:
    assert "&lt;not root&gt;" in page
    assert "<not root>" not in page


def test_a_missed_expectation_and_a_failed_check_are_shown_as_such(page: str) -> None:
    assert "✗ missed" in page
    assert "2 of 8 checks out of tolerance" in page
    assert "too slow" in page


def test_what_failed_is_said_with_what_helps_and_not_again_among_the_notes(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run")
    result = json.loads((directory / "result.json").read_text())
    result["notes"].append("pi0>coordinator: rate_bps is 1.5e+07, asked 2e+07 +- 1e+06; too slow")
    (directory / "result.json").write_text(json.dumps(result))
    html = report.render([load_run(directory, "run")])
    assert "What helps: a quieter machine" in html
    assert "rate_bps" not in html


def test_with_many_runs_each_is_a_row(tmp_path: Path) -> None:
    runs = [load_run(write_run(tmp_path / f"run{seed}", seed=seed), f"seed={seed}") for seed in range(7)]
    html = report.render(runs)
    assert "<td>seed 6</td><td" in html
    assert "<th>run</th><th" in html


def test_energy_says_that_it_is_modelled_and_from_what(page: str) -> None:
    assert "Source: model." in page
    assert "a data sheet" in page
    assert "± 10.0 %" in page


def test_faults_are_shown_with_their_evidence(page: str) -> None:
    assert "killed by signal 9; started again" in page


def test_how_to_repeat_is_one_command_with_what_was_changed(tmp_path: Path) -> None:
    directory = write_comparison(tmp_path / "c")
    for scenario in directory.glob("*/scenario.yaml"):
        scenario.write_text("name: dropout30\n# run with: --set 'a.b=two words'\n")
    html = report.render(load_runs([directory]))
    assert html.count("edgebed run ") == 1
    assert "scenario.yaml --set &#x27;a.b=two words&#x27; --substrate simulation</pre>" in html


def test_accuracy_without_a_coordinator_is_the_mean_of_the_devices(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run")
    plan = json.loads((directory / "plan.json").read_text())
    plan["nodes"] = [node for node in plan["nodes"] if node["role"] == "device"]
    (directory / "plan.json").write_text(json.dumps(plan))
    for index, value in enumerate((0.2, 0.4, 0.9)):
        line = json.dumps({"t": 10.0 + index, "metric": "test_accuracy", "value": value, "labels": {}})
        (directory / "nodes" / f"pi{index}" / "records.jsonl").write_text(line + "\n")
    (directory / "nodes" / "coordinator" / "records.jsonl").unlink()
    series = tables.accuracy(load_run(directory, "run"))
    assert series.times_s == (12.0,)
    assert list(series.values) == pytest.approx([0.5])


def test_accuracy_against_bytes_uses_what_was_sent_until_then() -> None:
    accuracy = tables.Series((1.0, 2.0), (0.3, 0.6))
    sent = tables.Series((0.5, 1.5, 2.5), (10.0, 30.0, 60.0))
    assert tables.against(accuracy, sent) == tables.Series((10.0, 30.0), (0.3, 0.6))


def test_a_cumulative_series_ends_at_the_total(comparison: list[Run]) -> None:
    series = tables.cumulative(comparison[0], "sent_payload_bytes")
    assert series.values[-1] == sum(tables.totals(comparison[0], "sent_payload_bytes", "kind").values())
    assert list(series.values) == sorted(series.values)


def test_runs_that_differ_by_their_seed_share_a_colour() -> None:
    assert figures.family("algorithm=fedavg seed=1") == figures.family("algorithm=fedavg seed=22") == "algorithm=fedavg"
    assert figures.family("seed=3") == "seed=3"


def test_the_same_runs_give_the_same_drawing(comparison: list[Run]) -> None:
    first = figures.svg(figures.accuracy_over_time(comparison))
    assert first == figures.svg(figures.accuracy_over_time(comparison))
    assert first.startswith("<svg")
    assert "dropout of 1 of 3 devices" in first


def test_the_overview_says_what_each_run_cost_and_what_it_was_made_of(comparison: list[Run], tmp_path: Path) -> None:
    figure = figures.overview(comparison)
    legend = figure.axes[1].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["fedavg, 3.20 MB in all", "fedasync, 3.20 MB in all"]
    figures.save(figure, tmp_path / "overview.svg", "made by a test")
    assert "made by a test" in (tmp_path / "overview.svg").read_text()


@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
def test_figures_can_be_kept_for_a_paper(comparison: list[Run], tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"energy.{kind}"
    figures.save(figures.energy_by_component(comparison), path)
    assert path.stat().st_size > 1000
