"""The collector: lines of nodes become records or counted mistakes, and never stop a run."""

import json
from pathlib import Path
from typing import Any

import pytest

from node_image.records import Record
from orchestrator.rundir import RunDirectory
from orchestrator.substrates.base import NodeExit, NodeLine
from orchestrator.telemetry.collector import Collector
from tests.plans import star


class Watched:
    """A collector on a run directory, and the events it told."""

    def __init__(self, folder: Path) -> None:
        self.events: list[tuple[float, str, dict[str, Any]]] = []
        self.directory = RunDirectory(folder / "run")
        self.directory.create(star(2), "name: test\n")
        told = self.events.append
        self.collector = Collector(star(2), self.directory, (), lambda t, event, details: told((t, event, details)))

    def hear(self, line: str, node: str = "d-1") -> None:
        self.collector.take(NodeLine(node, line), 1.0)

    def records(self, node: str = "d-1") -> list[str]:
        self.directory.close()
        path = self.directory.path / "nodes" / node / "records.jsonl"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_a_record_lands_in_the_node_s_own_file_unchanged(watched: Watched) -> None:
    line = Record(2.5, "train_loss", 0.25).to_line()
    watched.hear(line)
    assert watched.records() == [line]


@pytest.mark.parametrize(
    "line",
    [
        "hello",
        "{",
        "[]",
        '{"t": 1, "metric": "no_such_metric", "value": 1, "labels": {}}',
        '{"t": 1, "metric": "round"}',
        '{"t": 1, "metric": "round", "value": NaN, "labels": {}}',
        '{"t": 1, "metric": "samples_seen", "value": -5, "labels": {}}',
        '{"t": 1, "metric": "round", "value": "many", "labels": {}}',
    ],
)
def test_garbage_is_counted_told_and_not_recorded(line: str, watched: Watched) -> None:
    watched.hear(line)
    assert watched.collector.bad_lines == 1
    assert watched.events[0][1] == "bad_line"
    assert watched.records() == []


def test_a_flood_of_garbage_is_counted_whole_but_told_a_few_times(watched: Watched) -> None:
    for _ in range(1000):
        watched.hear("garbage")
    assert watched.collector.bad_lines == 1000
    assert len(watched.events) == 10


def test_up_time_is_told_once_for_each_life(watched: Watched) -> None:
    watched.collector.take(NodeLine("d-1", json.dumps({"event": "started", "t": 0.0})), 0.0)
    watched.collector.take(NodeExit("d-1", -9, True, ""), 4.0)
    watched.collector.take(NodeLine("d-1", json.dumps({"event": "started", "t": 6.0})), 6.0)
    watched.directory.close()
    ups = [json.loads(line) for line in (watched.directory.path / "records.jsonl").read_text().splitlines()]
    assert [(up["t"], up["value"]) for up in ups] == [(0.0, 1.0), (4.0, 0.0), (6.0, 1.0)]


def test_a_node_that_ends_by_itself_is_remembered_with_its_last_words(watched: Watched) -> None:
    watched.collector.take(NodeExit("d-2", -11, False, "Fatal Python error"), 3.0)
    assert [exit_.node for exit_ in watched.collector.died] == ["d-2"]
    assert watched.events[-1][2]["last_words"] == "Fatal Python error"


def test_the_run_is_over_when_the_coordinator_has_finished(watched: Watched) -> None:
    watched.hear('{"event":"finished","t":1.0,"reason":"returned"}', "d-1")
    assert not watched.collector.finished()
    watched.hear('{"event":"finished","t":1.0,"reason":"returned"}', "coordinator")
    assert watched.collector.finished()
