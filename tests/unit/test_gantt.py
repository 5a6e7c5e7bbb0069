"""`edgebed gantt`: the time line of a run, as text and as a figure by itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from analysis import figures, gantt
from analysis.load import NodeRecord, Run
from node_image.records import Record
from orchestrator.commands.gantt import gantt as command
from orchestrator.errors import UsageError
from tests.unit.recorded_runs import write_run

LENGTH_S = 100.0
WIDTH = 60
COLUMNS = WIDTH - len("coordinator ")


def run_of(*said: tuple[str, float, str, float], faults: Sequence[dict[str, Any]] = ()) -> Run:
    """A run of 100 s of a coordinator and a device `pi`, of which these records are known."""
    nodes = [{"name": "pi", "role": "device"}, {"name": "coordinator", "role": "coordinator"}]
    records = tuple(NodeRecord(node, Record(t, metric, value)) for node, t, metric, value in said)
    result = {"faults": list(faults), "summary": {"lasted_s": LENGTH_S}}
    return Run(Path(), "seed=1", {"name": "try", "nodes": nodes, "seed": 1}, result, records=records)


def line(run: Run, name: str) -> str:
    (found,) = [each for each in gantt.lines(run, WIDTH, gantt.ASCII) if each.startswith(f"{name} ")]
    return found.removeprefix(name).strip()


def show(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, standalone_mode=False)


def test_a_column_shows_what_filled_most_of_it() -> None:
    half = line(run_of(("pi", 50.0, "local_phase_s", 50.0)), "pi")
    assert half == "#" * (COLUMNS // 2) + "." * (COLUMNS // 2)
    column_s = LENGTH_S / COLUMNS
    assert line(run_of(("pi", column_s, "local_phase_s", 0.6 * column_s)), "pi") == "#" + "." * (COLUMNS - 1)
    assert "#" not in line(run_of(("pi", column_s, "local_phase_s", 0.4 * column_s)), "pi")


def test_a_node_that_does_not_run_is_down_and_the_fault_stands_above() -> None:
    fault = {"kind": "dropout", "nodes": ["pi"], "links": [], "asked_at_s": 25.0, "injected_at_s": 25.0,
             "healed_at_s": None}  # fmt: skip
    run = run_of(("pi", 0.0, "node_up", 1.0), ("pi", 50.0, "node_up", 0.0), faults=[fault])
    assert line(run, "pi") == "." * (COLUMNS // 2) + "x" * (COLUMNS // 2)
    assert line(run, "dropout") == "=" * (COLUMNS * 3 // 4)
    shown = gantt.lines(run, WIDTH, gantt.ASCII)
    order = [each.split()[0] for each in shown if each.startswith(("dropout", "coordinator", "pi"))]
    assert order == ["dropout", "coordinator", "pi"]
    assert "x down" in shown[-1]


@pytest.mark.parametrize("width", [60, 80, 203])
def test_no_line_is_wider_than_the_window(tmp_path: Path, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    result = show(str(write_run(tmp_path / "run")))
    assert result.exception is None, result.output
    lines = result.stdout.splitlines()
    assert max(map(len, lines[1:])) <= width
    assert max(map(len, lines)) > 50


def test_of_many_nodes_the_first_are_shown_and_the_others_counted(tmp_path: Path) -> None:
    result = show(str(write_run(tmp_path / "run", devices=60)))
    assert "The first 40 of 61 nodes." in result.stdout
    assert sum(each.startswith(("pi", "coordinator")) for each in result.stdout.splitlines()) == 40


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_the_figure_is_written_in_the_format_that_its_name_ends_with(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"line.{ending}"
    result = show(str(write_run(tmp_path / "run")), "-o", str(path))
    assert result.exception is None, result.output
    assert path.read_bytes().startswith({"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[ending])


def test_a_figure_by_itself_says_which_run_it_is_and_how_long_each_fault_acted() -> None:
    fault = {"kind": "degrade", "nodes": [], "links": ["a>b"], "asked_at_s": 20.0, "injected_at_s": 20.0,
             "healed_at_s": 40.0}  # fmt: skip
    run = run_of(("pi", 10.0, "local_phase_s", 5.0), faults=[fault])
    drawn = figures.timeline(run, gantt.title(run))
    assert drawn.legends[0].get_title().get_text() == "try, seed=1 (unknown, seed 1)"
    (bar,) = [lines for lines in drawn.axes[0].collections if lines.get_linewidth()[0] == 3]  # type: ignore[index]
    assert np.asarray(bar.get_paths()[0].vertices).tolist() == [[20.0, -0.6], [40.0, -0.6]]


def test_another_ending_is_refused_before_anything_is_read() -> None:
    result = show("nowhere", "-o", "line.txt")
    assert isinstance(result.exception, UsageError)
    assert ".svg, .png, .pdf" in str(result.exception)
