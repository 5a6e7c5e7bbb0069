"""The report of a workload: no word of learning where nothing learns, and what the programs told of themselves."""

import json
from pathlib import Path

import numpy as np
import pytest

from analysis import figures, report
from analysis.export import export
from analysis.groups import group
from analysis.load import Run, load_run
from node_image.records import Record
from tests.unit.recorded_runs import write_run

METRICS = [
    {"name": "pages", "kind": "counter", "about": "pages that were fetched"},
    {"name": "fetch_s", "kind": "sample", "about": "time of a page"},
    {"name": "told_bytes", "kind": "gauge", "about": ""},
]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Programs that fetch pages: no accuracy, no payload, but bytes on the wire."""
    directory = write_run(tmp_path / "run")
    plan = json.loads((directory / "plan.json").read_text())
    plan["workload"] = {"ends": "time", "metrics": METRICS, "path": []}
    (directory / "plan.json").write_text(json.dumps(plan))
    result = json.loads((directory / "result.json").read_text())
    result["summary"] = {"sent_wire_bytes": 3e6, "program.pages": 6.0, "program.fetch_s": 0.4}
    result["summary"] |= {"program.told_bytes": 2e6}
    result["expectations"] = []
    (directory / "result.json").write_text(json.dumps(result))
    (directory / "environment.json").write_text('{"substrate": "mininet", "shaper": "delay_line"}')
    for node in (directory / "nodes").iterdir():
        told = [
            record
            for t in (10.0, 20.0)
            for record in (
                Record(t, "program_count", 1.0, {"name": "pages"}),
                Record(t, "program_sample", 0.4, {"name": "fetch_s"}),
                Record(t, "program_value", 1e5 * t, {"name": "told_bytes"}),
            )
        ]
        (node / "records.jsonl").write_text("".join(record.to_line() + "\n" for record in told))
    return load_run(directory, "run")


def learned(run: Run) -> Run:
    """The same, of programs whose log tells an accuracy."""
    path = run.directory / "nodes" / "coordinator" / "records.jsonl"
    more = [Record(t, "test_accuracy", t / 200, {"split": "global"}) for t in (50.0, 100.0, 180.0)]
    path.write_text(path.read_text() + "".join(record.to_line() + "\n" for record in more))
    return load_run(run.directory, "run")


def test_programs_that_do_not_learn_have_no_accuracy_and_their_own_metrics(run: Run) -> None:
    page = report.render([run])
    assert "<h2>Accuracy</h2>" not in page
    assert "Accuracy, bytes" not in page
    assert "local phase" not in page
    assert "What the programs measured" in page
    assert "pages that were fetched" in page


def test_bytes_at_the_interface_stand_beside_those_that_programs_tell(run: Run) -> None:
    page = report.render([run])
    table = page[page.index("<h2>Bytes</h2>") :]
    table = table[: table.index("</table>")]
    assert "on the wire, at the interfaces" in table
    assert "3.00 MB" in table
    assert "program: told bytes" in table
    assert "2.00 MB" in table
    assert "all payload" not in table


def test_the_command_that_repeats_it_allows_the_programs_to_run(run: Run) -> None:
    assert "--substrate mininet --trust" in report.render([run])


def test_programs_that_learn_keep_their_accuracy_against_bytes_on_the_wire(run: Run) -> None:
    page = report.render([learned(run)])
    assert "<h2>Accuracy</h2>" in page
    assert "against the payload" not in page
    assert "payload, median" not in page
    assert "on the wire, median" in page
    axes = figures.overview(group([learned(run)])).axes
    assert axes[1].get_xlabel() == "bytes on the wire, all nodes"
    assert not [text for text in axes[1].texts if "no accuracy" in text.get_text()]


def test_counters_are_added_up_over_nodes_and_other_metrics_are_shown_one_by_one(run: Run) -> None:
    drawn = figures.programs([run], ["run"])
    panels = {axes.get_title(loc="left"): axes for axes in drawn.axes if axes.get_title(loc="left")}
    assert list(panels) == ["fetch", "pages", "told bytes"]
    (pages,) = panels["pages"].lines
    assert np.asarray(pages.get_ydata()).max() == 8, "four nodes, two pages each"
    assert len(panels["fetch"].lines) == 4


def test_what_is_learned_in_the_ordinary_way_has_none_of_this(tmp_path: Path) -> None:
    page = report.render([load_run(write_run(tmp_path / "run"), "run")])
    assert "<h2>Accuracy</h2>" in page
    assert "What the programs measured" not in page
    assert "all payload" in page
    assert "--trust" not in page


def test_files_for_a_paper_are_those_that_have_something_in_them(run: Run, tmp_path: Path) -> None:
    export(tmp_path / "paper", [run], (), "a test")
    names = {path.name for path in (tmp_path / "paper").iterdir()}
    assert not [name for name in names if name.startswith(("accuracy", "latencies", "traffic", "delays"))]
    assert {"programs.svg", "programs.pdf", "programs.csv", "energy.svg", "per_arm.csv", "timeline_run.svg"} <= names
    told = (tmp_path / "paper" / "programs.csv").read_text().splitlines()
    assert told[0] == "run,node,metric,t_s,value"
    assert len(told) == 1 + 4 * 2 * 3, "four nodes tell three metrics twice"
    assert "test_accuracy" not in (tmp_path / "paper" / "per_arm.csv").read_text()
    assert "all payload" not in (tmp_path / "paper" / "bytes.md").read_text()


def test_programs_that_learn_have_their_accuracy_in_these_files_against_the_wire(run: Run, tmp_path: Path) -> None:
    export(tmp_path / "paper", [learned(run)], (), "a test")
    rows = (tmp_path / "paper" / "accuracy_against_bytes.csv").read_text().splitlines()
    assert rows[0].split(",")[3] == "sent_wire_bytes"
    assert float(rows[-1].split(",")[3]) > 0
