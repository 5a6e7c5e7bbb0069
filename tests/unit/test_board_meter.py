"""The meter of a board as the orchestrator has it: whose joules they are, on which clock, and what was not seen."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from node_image.meters import Metering
from node_image.records import Record
from orchestrator.boards.inventory import Board
from orchestrator.boards.metering import BoardMeter
from orchestrator.boards.station import Station
from orchestrator.errors import RunBrokeError

BOARD = Board("pi", "pi.local", 22, "pi", Path("key"), "raspberry_pi_4", meter={"kind": "rapl", "memory": False})
LABELS = {"component": "board_pi", "source": "measured:rapl"}


class FakeStation:
    """A board that answers what it is told to, or is lost; its clock lost 2 s against ours since the run began."""

    board = BOARD
    offsets = (SimpleNamespace(ahead_s=1000.0),)

    def __init__(self) -> None:
        self.lost = False
        self.asked: list[dict[str, Any]] = []
        self.on_metered: Callable[[dict[str, Any]], None] = lambda _: None

    async def ask(self, do: str, _within_s: float, **fields: Any) -> dict[str, Any]:
        if self.lost:
            raise RunBrokeError("pi is lost")
        self.asked.append({"do": do, **fields})
        if do == "unmeter":
            return {"readings": 7, "failures": 1, "cpu_s": 0.5, "error": None}
        return {"covers": "packages", "accuracy": "± 5 %", "cited": "nobody"}

    def later_s(self) -> float:
        return 2.0


class Metered:
    """A meter on a board, with a clock that is moved by hand."""

    def __init__(self) -> None:
        self.station = FakeStation()
        self.now_s = 1.0
        self.records: list[Record] = []
        self.meter = BoardMeter(cast(Station, self.station), lambda: self.now_s, self.records.append)

    def start(self) -> None:
        asyncio.run(self.meter.start())

    def stop(self) -> Metering:
        return asyncio.run(self.meter.stop())

    def tell(self, t: float, value: float, metric: str = "energy_joules") -> None:
        self.station.on_metered({"t": t, "metric": metric, "value": value})


def test_joules_bear_our_labels_and_are_on_our_clock() -> None:
    metered = Metered()
    metered.start()
    assert metered.station.asked[0]["parameters"] == {"memory": False}
    metered.tell(3.0, 12.0)
    assert metered.records == [Record(5.0, "energy_joules", 12.0, {**LABELS, "accuracy": "± 5 %"})]
    metered.now_s = 6.0
    came = metered.stop()
    assert (came.joules, came.missing_s, came.lasted_s, came.readings) == (12.0, 0.0, 5.0, 7)
    assert (came.component, came.covers) == ("board_pi", "packages")


@pytest.mark.parametrize(
    ("metric", "value"), [("test_accuracy", 1.0), ("energy_joules", -1.0), ("energy_joules", 1e999)]
)
def test_what_no_meter_says_is_not_recorded(metric: str, value: float) -> None:
    metered = Metered()
    metered.start()
    metered.tell(3.0, value, metric)
    assert metered.records == []


def test_time_in_which_the_board_was_away_is_missing_and_never_guessed() -> None:
    metered = Metered()
    metered.start()
    metered.tell(2.0, 10.0)  # at 4 s of ours
    metered.now_s = 9.0
    metered.start()  # it is back
    metered.tell(8.0, 3.0)  # at 10 s
    metered.station.lost, metered.now_s = True, 12.0
    came = metered.stop()
    missing = [record for record in metered.records if record.metric == "energy_missing_s"]
    assert [(record.t, record.value, record.labels) for record in missing] == [(9.0, 5.0, LABELS), (12.0, 2.0, LABELS)]
    assert (came.joules, came.missing_s, came.lasted_s) == (13.0, 7.0, 11.0)
    assert came.error == "pi is lost"


def test_a_meter_that_cannot_be_started_is_missing_from_the_first_moment_on() -> None:
    metered = Metered()
    metered.station.lost = True
    metered.start()
    metered.now_s = 5.0
    came = metered.stop()
    assert (came.joules, came.missing_s, came.lasted_s) == (0.0, 4.0, 4.0)
