"""Run directories that are half written, of another version or broken: named, and what is sound is still shown."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from analysis import report
from analysis.load import load_comparisons, load_run
from analysis.sound import sound
from orchestrator.commands.report import report as command
from tests.unit.recorded_runs import write_comparison, write_run, write_study


def rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_sound_file_is_kept_as_it_is() -> None:
    problems: list[str] = []
    content = {"checks": [], "facts": {"x": 1}}
    assert sound("receipt.json", content, problems) == content
    assert problems == []


def test_a_broken_plan_is_named_and_the_figures_are_still_shown(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run")
    (directory / "plan.json").write_text('{"name": "dropout30", "nod')
    run = load_run(directory, "run")
    assert any("plan.json is broken" in problem for problem in run.problems)
    html = report.render([run])
    assert "run directory: plan.json is broken" in html
    assert "<h2>Accuracy</h2>" in html


def test_entries_that_lack_what_a_report_needs_are_left_out_and_named(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run")
    plan = json.loads((directory / "plan.json").read_text())
    del plan["nodes"][1]["role"]
    rewrite(directory / "plan.json", nodes=plan["nodes"], stop_after_s="long")
    rewrite(directory / "result.json", faults=[{"kind": "dropout"}], expectations="none")
    rewrite(directory / "receipt.json", checks=[7])
    run = load_run(directory, "run")
    said = "\n".join(run.problems)
    assert "plan.json: nodes: 1 of 4 entries left out: no role" in said
    assert "plan.json: stop_after_s is left out: 'long' is not what it should be" in said
    assert "result.json: faults: 1 of 1 entries left out: no nodes" in said
    assert "result.json: expectations is left out: 'none' is no list" in said
    assert "receipt.json: checks: 1 of 1 entries left out: 7 is no object" in said
    assert "no role" in report.render([run])


def test_another_version_is_named_and_read_as_far_as_it_is_known(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run")
    rewrite(directory / "result.json", schema_version=7)
    run = load_run(directory, "run")
    assert any("result.json is of version 7, and this Edgebed reads version 1" in each for each in run.problems)
    assert run.summary["test_accuracy"] is not None


@pytest.mark.parametrize(
    "line",
    [
        '{"t": NaN, "metric": "test_accuracy", "value": 0.5, "labels": {}}',
        '{"t": 1.0, "metric": "test_accuracy", "value": 1e999, "labels": {}}',
        '{"t": 1.0, "metric": "from_the_future", "value": 1.0, "labels": {}}',
        "[1]",
        "\x00\x00",
    ],
)
def test_records_that_are_no_figures_are_counted_and_left_out(tmp_path: Path, line: str) -> None:
    directory = write_run(tmp_path / "run")
    before = len(load_run(directory, "run").records)
    with (directory / "nodes" / "coordinator" / "records.jsonl").open("a") as file:
        file.write(line + "\n")
    run = load_run(directory, "run")
    assert len(run.records) == before
    assert "coordinator/records.jsonl: 1 broken lines left out" in run.problems


def test_events_that_are_none_are_left_out(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run")
    (directory / "events.jsonl").write_text('{"t": 0.0, "event": "run_began"}\n3\n{"t": 1\n')
    assert [event["event"] for event in load_run(directory, "run").events] == ["run_began"]


def test_a_comparison_without_a_readable_list_is_told_by_its_folders(tmp_path: Path) -> None:
    folder = write_comparison(tmp_path / "c")
    (folder / "compare.json").write_text('{"runs": [')
    (comparison,) = load_comparisons([folder])
    assert [run.label for run in comparison.runs] == ["algorithm=fedasync-seed=1", "algorithm=fedavg-seed=1"]
    assert "compare.json is broken" in comparison.missing[0]
    assert "compare.json is broken" in report.render(comparison.runs, missing=comparison.missing)


def test_a_killed_run_of_a_comparison_is_shown_beside_the_others(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", arms=2, seeds=3)
    for name in ("result.json", "receipt.json", "environment.json"):
        (folder / "arm=a1-seed=2" / name).unlink()
    done = CliRunner().invoke(command, [str(folder), "-o", str(tmp_path / "r.html")], standalone_mode=False)
    assert done.return_value == 0
    html = (tmp_path / "r.html").read_text()
    assert "2 (no result)" in html
    assert "no result: the run was killed" in html
