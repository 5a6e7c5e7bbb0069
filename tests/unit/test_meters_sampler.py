"""The sampler: what it records, what it tells as missing, and what it costs."""

import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_image.meters import About, Metered, MeterError, Reading, build
from node_image.records import Record


class Script:
    """A meter that says what it is told to; None: it fails."""

    name = "script"
    about = About("a test", "± 1 %", "nobody")
    shortest_period_s = 0.001

    def __init__(self, says: Iterable[tuple[float, float | None]], *, counts: bool = False) -> None:
        self.says = list(says)
        self.now_s = 0.0
        self.closed = False
        self._counts = counts

    def read(self, now_s: float) -> Reading:
        self.now_s, value = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if value is None:
            raise MeterError("it was unplugged", "Plug it in.")
        return Reading(self.now_s, None, value) if self._counts else Reading(self.now_s, value)

    def close(self) -> None:
        self.closed = True


class Sampled:
    """A sampler that is stepped by hand, and what it recorded."""

    def __init__(self, meter: Script, period_s: float = 0.5) -> None:
        self.records: list[Record] = []
        self.metered = Metered(meter, "board", self.records.append, lambda: meter.now_s, period_s)

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.metered.step()

    def sum(self, metric: str) -> float:
        return sum(record.value for record in self.records if record.metric == metric)


def test_joules_are_labelled_with_their_source_and_accuracy() -> None:
    found = Sampled(Script([(0.0, 4.0), (0.5, 4.0)]))
    found.steps(2)
    labels = {"component": "board", "source": "measured:script", "accuracy": "± 1 %"}
    assert found.records == [Record(0.5, "energy_joules", 2.0, labels)]


def test_what_a_meter_counts_itself_is_recorded_as_it_grows() -> None:
    found = Sampled(Script([(0.0, 0.0), (1.0, 5.0), (2.0, 5.0), (3.0, 12.0)], counts=True))
    found.steps(4)
    assert [record.value for record in found.records] == [5.0, 7.0]


def test_one_lost_reading_is_bridged_and_a_longer_gap_is_missing() -> None:
    says = [(0.0, 4.0), (0.5, None), (1.0, 4.0), *[(t / 2, None) for t in range(3, 10)], (5.0, 4.0), (5.5, 4.0)]
    found = Sampled(Script(says))
    found.steps(len(says))
    assert found.sum("energy_joules") == pytest.approx(4.0 + 2.0)
    assert found.sum("energy_missing_s") == pytest.approx(4.0)


def test_a_meter_that_never_answers_is_missing_from_start_to_stop() -> None:
    meter = Script([(9.0, None)])
    found = Sampled(meter)
    meter.now_s = 0.0
    found.metered.start()
    meter.now_s = 9.0
    ended = found.metered.stop()
    assert (ended.missing_s, ended.joules, ended.readings) == (9.0, 0.0, 0)
    assert ended.failures >= 2
    assert ended.error == "it was unplugged. Plug it in."
    assert found.sum("energy_missing_s") == 9.0
    assert meter.closed


def test_a_meter_that_stops_answering_is_missing_from_its_last_reading() -> None:
    meter = Script([(0.0, 4.0), (0.5, 4.0), (8.0, None)])
    found = Sampled(meter)
    found.steps(2)
    found.metered.start()
    while meter.now_s != 8.0:
        time.sleep(0.001)
    ended = found.metered.stop()
    assert (ended.joules, ended.missing_s) == (2.0, 7.5)


def test_a_meter_is_not_asked_more_often_than_makes_sense() -> None:
    meter = Script([(0.0, 1.0)])
    meter.shortest_period_s = 2.0
    assert Sampled(meter, period_s=0.5).metered.period_s == 2.0


def test_its_thread_ends_with_it_and_reads_a_first_and_a_last_time(tmp_path: Path) -> None:
    folder = tmp_path / "hwmon0"
    folder.mkdir()
    for name, content in (("name", "ina219"), ("power1_input", "2000000")):
        (folder / name).write_text(content)
    records: list[Record] = []
    before = threading.active_count()
    began_s = time.monotonic()
    with Metered(
        build("ina219", root=str(tmp_path)), "board", records.append, lambda: time.monotonic() - began_s, 60.0
    ):
        assert threading.active_count() == before + 1
        time.sleep(0.05)
    assert threading.active_count() == before
    assert len(records) == 1
    assert 0 < records[0].value <= 2.0 * records[0].t


def test_sampling_costs_little_of_a_core(tmp_path: Path) -> None:
    """At a hundred times the usual rate it must stay below a core's half: below 0.5 % at the usual rate."""
    for zone in ("intel-rapl:0", "intel-rapl:1"):
        (tmp_path / zone).mkdir()
        for name, content in (("name", "package-0"), ("energy_uj", "5"), ("max_energy_range_uj", "262143328850")):
            (tmp_path / zone / name).write_text(content)
    meter = build("rapl", root=str(tmp_path))
    meter.shortest_period_s = 0.005  # type: ignore[misc]  # faster than makes sense, to see what it costs
    metered = Metered(meter, "host", lambda record: None, time.monotonic, 0.005)
    metered.start()
    time.sleep(0.5)
    ended = metered.stop()
    assert ended.readings > 10
    assert ended.cpu_s < 0.5 * ended.lasted_s


SAYS = st.lists(st.tuples(st.floats(0.01, 5.0), st.one_of(st.none(), st.floats(0.0, 50.0))), min_size=1, max_size=40)


@given(SAYS)
def test_records_never_hold_negative_joules_and_known_and_missing_time_are_all_there_is(
    steps: list[tuple[float, float | None]],
) -> None:
    t_s, says = 0.0, []
    for step, watts in steps:
        t_s += step
        says.append((t_s, watts))
    found = Sampled(Script(says))
    found.steps(len(says))
    assert all(record.value > 0 for record in found.records)
    seen = [t for t, watts in says if watts is not None]
    if seen:
        known_s = t_s - found.sum("energy_missing_s")
        assert found.sum("energy_missing_s") <= t_s + 1e-6
        assert found.sum("energy_joules") <= 50.0 * known_s + 1e-6
