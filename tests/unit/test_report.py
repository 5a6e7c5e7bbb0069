"""Run directories are read as they are, and a report says what may be believed before what was found."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from analysis import export, figures, headlines, report, tables
from analysis.groups import group
from analysis.load import NotARunError, Run, load_run, load_runs
from node_image.records import Record
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
        "Question",
        "Setting",
        "What to believe: receipt and notes",
        "Verdict",
        "Results",
        "Accuracy",
        "Statistics",
        "Time line of devices",
        "Faults",
        "Bytes",
        "Who sent what to whom",
        "Energy",
        "Every run",
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
    runs = [load_run(write_run(tmp_path / f"run{number}"), f"rate={number}") for number in range(7)]
    html = report.render(runs)
    assert '<td class="whole">rate 6</td><td' in html


def test_energy_says_that_it_is_modelled_and_from_what(page: str) -> None:
    assert "Joules of all nodes by component: modelled energy." in page
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


def test_the_last_test_counts_as_accuracy_and_a_devices_own_part_does_not(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run")
    with (directory / "nodes" / "coordinator" / "records.jsonl").open("a") as file:
        for split, value in (("own", 0.1), ("final", 0.5)):
            file.write(Record(200.0, "test_accuracy", value, {"split": split}).to_line() + "\n")
    series = tables.accuracy(load_run(directory, "run"))
    assert series.times_s[-1] == 200.0
    assert series.values[-1] == 0.5


def test_a_cumulative_series_ends_at_the_total(comparison: list[Run]) -> None:
    series = tables.cumulative(comparison[0], "sent_payload_bytes")
    assert series.values[-1] == sum(tables.totals(comparison[0], "sent_payload_bytes", "kind").values())
    assert list(series.values) == sorted(series.values)


def test_runs_that_differ_by_their_seed_share_a_colour() -> None:
    assert (
        headlines.family("algorithm=fedavg seed=1")
        == headlines.family("algorithm=fedavg seed=22")
        == "algorithm=fedavg"
    )
    assert headlines.family("seed=3") == "seed=3"


def test_the_same_runs_give_the_same_drawing(comparison: list[Run]) -> None:
    first = figures.svg(figures.accuracy(group(comparison)))
    assert first == figures.svg(figures.accuracy(group(comparison)))
    assert first.startswith("<svg")
    assert "dropout of 1 of 3 devices" in first


def test_the_overview_says_what_each_run_cost_and_what_it_was_made_of(comparison: list[Run], tmp_path: Path) -> None:
    figure = figures.overview(group(comparison))
    legend = figure.axes[1].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["fedasync, 3.20 MB in all", "fedavg, 3.20 MB in all"]
    figures.save(figure, tmp_path / "overview.svg", "made by a test")
    assert "made by a test" in (tmp_path / "overview.svg").read_text()


@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
def test_figures_can_be_kept_for_a_paper(comparison: list[Run], tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"energy.{kind}"
    figures.save(figures.energy_by_component(group(comparison), "model"), path)
    assert path.stat().st_size > 1000


def test_drawings_of_a_page_share_no_definition() -> None:
    drawing = '<svg x><defs><pattern id="h1"/></defs><path style="fill: url(#h1)"/><use href="#h1"/></svg>'
    first, second = figures.apart(f"{drawing}<p>#h1 url(#h1)</p>{drawing}").split("<p>#h1 url(#h1)</p>")
    assert (
        first == '<svg x><defs><pattern id="f1-h1"/></defs><path style="fill: url(#f1-h1)"/><use href="#f1-h1"/></svg>'
    )
    assert second == first.replace("f1-", "f2-")


def test_energy_of_two_sources_is_told_apart_and_never_added_up(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run")
    with (directory / "records.jsonl").open("a") as file:
        labels = {"node": "pi0", "component": "board", "source": "measured:ina219"}
        file.write(Record(10.0, "energy_joules", 500.0, labels).to_line() + "\n")
    run = load_run(directory, "run")
    assert tables.sources([run]) == ["measured:ina219", "model"]
    assert tables.energy(run, "measured:ina219") == {"board": 500.0}
    assert "board" not in tables.energy(run, "model")
    assert tables.cumulative(run, "energy_joules", "measured:ina219").values == (500.0,)
    html = report.render([run])
    assert "never added up" in html
    assert "energy measured by ina219, median" in html


def test_a_receipt_that_was_never_finished_is_said_to_be_so(tmp_path: Path) -> None:
    """As a run that was killed leaves it: links were measured before it, nothing was during it."""
    directory = write_run(tmp_path / "run")
    receipt = json.loads((directory / "receipt.json").read_text())
    (directory / "receipt.json").write_text(json.dumps({**receipt, "pending": True}))
    (directory / "result.json").unlink()
    html = report.render([load_run(directory, "run")])
    assert "The receipt is not finished: it holds what was measured before the run" in html


def test_tables_for_papers_keep_modelled_and_measured_joules_in_columns_of_their_own(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run")
    result = json.loads((directory / "result.json").read_text())
    result["summary"] |= {"energy_joules": 900.0, "measured_energy_joules.host_rapl": 50.0}
    (directory / "result.json").write_text(json.dumps(result))
    labels = {"node": "host", "component": "host", "source": "measured:rapl"}
    with (directory / "records.jsonl").open("a") as file:
        file.write(Record(10.0, "energy_joules", 50.0, labels).to_line() + "\n")
    export.export(tmp_path / "paper", [load_run(directory, "run")], (), "a test")
    for kind in ("md", "tex"):
        table = (tmp_path / "paper" / f"results.{kind}").read_text()
        assert "modelled energy" in table
        assert "measured energy: host rapl" in table
        assert "900 J" in table.replace("~", " ").replace("\\,", " ")
        assert "50.0 J" in table.replace("~", " ").replace("\\,", " ")
        assert "950" not in table
    cost = (tmp_path / "paper" / "energy.csv").read_text()
    assert "rapl" not in cost
    assert ",50.0," in (tmp_path / "paper" / "energy_measured_rapl.csv").read_text()
