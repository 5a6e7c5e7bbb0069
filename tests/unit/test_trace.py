"""Traces: what a recorded link could have sent by when, in both formats, without an end."""

import gzip
import hashlib
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ScenarioError
from orchestrator.links.shape import TraceRef
from orchestrator.links.trace import INSTANT_S, Trace, finish, load_trace, parse_csv, parse_mahimahi

REAL = Path(__file__).parents[3] / "shared" / "data" / "traces"
needs_real_traces = pytest.mark.skipif(not REAL.is_dir(), reason=f"no recorded traces at {REAL}")

chances = st.lists(st.integers(0, 50), min_size=1, max_size=30).map(sorted).filter(lambda times: times[-1] > 0)
rates = st.lists(st.tuples(st.floats(0.1, 5), st.floats(0, 20)), min_size=1, max_size=20).filter(
    lambda rows: any(rate > 0.01 for _, rate in rows)
)


def delivery(times_ms: list[int]) -> Trace:
    return parse_mahimahi("t", [str(time_ms) for time_ms in times_ms])


def rate_trace(rows: list[tuple[float, float]]) -> Trace:
    ends = np.cumsum([step for step, _ in rows])
    return parse_csv("t", [f"{at},{mbit}" for at, (_, mbit) in zip(ends, rows, strict=True)])


def save(folder: Path, text: str, *, zipped: bool = False, kind: str = "mahimahi") -> TraceRef:
    path = folder / "link.trace"
    raw = gzip.compress(text.encode()) if zipped else text.encode()
    path.write_bytes(raw)
    return TraceRef(str(path), hashlib.sha256(raw).hexdigest(), "mahimahi" if kind == "mahimahi" else "csv")


def test_a_packet_leaves_at_the_next_chance() -> None:
    trace = delivery([10, 30])
    assert finish(trace, 0.0, 1500) == 0.01
    assert finish(trace, 0.011, 1500) == 0.03


def test_a_chance_at_the_very_instant_can_be_used() -> None:
    assert finish(delivery([10, 30]), 0.01, 40) == 0.01


def test_repeated_lines_are_several_chances() -> None:
    assert finish(delivery([5, 5, 5, 20]), 0.0, 4500) == 0.005


def test_what_one_chance_cannot_carry_waits_for_the_next() -> None:
    assert finish(delivery([5, 20]), 0.0, 1501) == 0.02


def test_a_delivery_trace_begins_again_at_its_last_line() -> None:
    trace = delivery([10, 40])
    assert finish(trace, 0.041, 1500) == pytest.approx(0.05)
    assert finish(trace, 4.0 * 1000 + 0.011, 1500) == pytest.approx(4000.04)


def test_a_rate_holds_until_the_next_row_and_the_last_as_long_as_the_one_before() -> None:
    trace = parse_csv("t", ["seconds, Mbit/s", "0, 8", "1, 4", "3, 16"])
    assert trace.period_s == 5.0
    assert finish(trace, 0.0, 500_000) == pytest.approx(0.5)
    assert finish(trace, 0.5, 1_000_000) == pytest.approx(2.0)
    assert finish(trace, 4.5, 1_500_000) == pytest.approx(5.5)
    assert trace.mean_bps == pytest.approx((8 + 2 * 4 + 2 * 16) / 5 * 1e6)


def test_an_outage_is_waited_out() -> None:
    trace = parse_csv("t", ["0,8", "1,0", "2,8", "3,0"])
    assert finish(trace, 1.5, 1_000_000) == pytest.approx(3.0)
    assert finish(trace, 3.5, 1) == pytest.approx(4.0 + 1e-6)


def test_a_chance_at_this_very_instant_can_be_used_whatever_rounding_makes_of_it() -> None:
    trace = delivery([1])
    for milliseconds in range(1, 3000):
        assert finish(trace, milliseconds / 1000, 1) == pytest.approx(milliseconds / 1000)


def test_a_trace_that_starts_late_is_moved_to_its_beginning() -> None:
    assert finish(parse_csv("t", ["100,8", "101,8"]), 0.0, 1_000_000) == pytest.approx(1.0)


@given(chances, st.floats(0, 100), st.integers(1, 100_000))
def test_chances_are_used_as_counting_them_one_by_one_says(times_ms: list[int], start_s: float, size: int) -> None:
    trace = delivery(times_ms)
    loop, left = int(start_s // trace.period_s) - 1, size
    while True:
        for time_ms in times_ms:
            at_s = max(loop, -1) * trace.period_s + time_ms / 1000
            if loop >= 0 and at_s >= start_s - INSTANT_S:
                left -= 1500
                if left <= 0:
                    assert finish(trace, start_s, size) == pytest.approx(at_s, abs=1e-6)
                    return
        loop += 1


@given(rates, st.floats(0, 200), st.floats(1, 1e7))
def test_a_rate_traces_place_and_reach_are_inverse(
    rows: list[tuple[float, float]], start_s: float, size: float
) -> None:
    trace = rate_trace(rows)
    end_s = finish(trace, start_s, size)
    assert end_s >= start_s - 1e-6
    assert trace.place(end_s) == pytest.approx(trace.place(start_s) + size, rel=1e-6, abs=1e-3)


@given(rates | chances.map(lambda times: [(time_ms, -1.0) for time_ms in times]), st.lists(st.floats(0, 100)))
def test_later_starts_never_finish_earlier(rows: list[tuple[float, float]], starts: list[float]) -> None:
    trace = delivery([int(time_ms) for time_ms, _ in rows]) if rows[0][1] < 0 else rate_trace(rows)
    ends = [finish(trace, start_s, 1500) for start_s in sorted(starts)]
    assert all(after >= before - 1e-9 for before, after in pairwise(ends))


@pytest.mark.parametrize(
    ("lines", "line", "words"),
    [
        (["10", "x"], 2, "whole number of milliseconds"),
        (["10", "-3"], 2, "whole number of milliseconds"),
        (["10", "9" * 400], 2, "whole number of milliseconds"),
        (["10", "", "9"], 3, "must not fall"),
        (["0", "0"], 2, "longer than 0 ms"),
        ([], 1, "longer than 0 ms"),
    ],
)
def test_a_wrong_delivery_trace_is_named_by_file_and_line(lines: list[str], line: int, words: str) -> None:
    with pytest.raises(ScenarioError, match=f"^a\\.trace:{line}:1: .*{words}"):
        parse_mahimahi("a.trace", lines)


@pytest.mark.parametrize(
    ("lines", "line", "words"),
    [
        (["0,1", "1"], 2, "expected `seconds, Mbit/s`"),
        (["0,1", "1,2,3"], 2, "expected `seconds, Mbit/s`"),
        (["0,1", "one,2"], 2, "expected `seconds, Mbit/s`"),
        (["0,1", "1,-2"], 2, "not below 0"),
        (["0,1", "nan,2"], 2, "finite"),
        (["0,1", "# comment", "0,2"], 3, "must rise"),
        (["0,0", "1,0"], 2, "above 0"),
        ([], 1, "above 0"),
    ],
)
def test_a_wrong_rate_trace_is_named_by_file_and_line(lines: list[str], line: int, words: str) -> None:
    with pytest.raises(ScenarioError, match=f"^a\\.csv:{line}:1: .*{words}"):
        parse_csv("a.csv", lines)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_trace_is_read_from_plain_and_gzipped_files(tmp_path: Path, zipped: bool) -> None:
    trace = load_trace(save(tmp_path, "10\n20\n", zipped=zipped))
    assert finish(trace, 0.0, 3000) == 0.02


def test_a_trace_that_changed_since_the_plan_is_refused(tmp_path: Path) -> None:
    ref = save(tmp_path, "10\n20\n")
    Path(ref.path).write_text("10\n30\n")
    with pytest.raises(ScenarioError, match=r"link\.trace:1:1: .*changed"):
        load_trace(ref)


def test_a_missing_and_a_binary_trace_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"none\.trace:1:1: cannot read"):
        load_trace(TraceRef(str(tmp_path / "none.trace"), "", "csv"))
    (tmp_path / "link.trace").write_bytes(b"\x1f\x8bbroken")
    with pytest.raises(ScenarioError, match="not text"):
        load_trace(TraceRef(str(tmp_path / "link.trace"), "", "csv"))


@needs_real_traces
@pytest.mark.parametrize("name", ["ATT-LTE-driving-2016.up", "Verizon-EVDO-driving.down"])
def test_a_recorded_cellular_trace_carries_what_its_chances_add_up_to(name: str) -> None:
    path = REAL / "mahimahi" / f"{name}.gz"
    trace = load_trace(TraceRef(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), "mahimahi"))
    lines = gzip.decompress(path.read_bytes()).split()
    assert trace.period_s == int(lines[-1]) / 1000
    assert finish(trace, 0.0, 1500 * len(lines)) == trace.period_s
    assert trace.reach(trace.mean_bps / 8 * trace.period_s * 3) == pytest.approx(3 * trace.period_s)


@needs_real_traces
def test_a_recorded_3g_trace_carries_its_mean_rate() -> None:
    with np.load(REAL / "hsdpa_norway_3g.npz") as traces:
        rows = traces[traces.files[0]]
    trace = parse_csv("hsdpa", [f"{at},{mbit}" for at, mbit in rows])
    assert trace.place(trace.period_s) * 8 / trace.period_s == pytest.approx(trace.mean_bps)
    assert trace.mean_bps == pytest.approx(np.average(rows[:-1, 1], weights=np.diff(rows[:, 0])) * 1e6, rel=0.05)


def test_looking_up_does_not_grow_with_the_length_of_the_trace() -> None:
    def cost_s(chances: int) -> float:
        trace = delivery(list(range(1, chances + 1)))
        began = time.perf_counter()
        for index in range(2000):
            finish(trace, index * 0.37, 1500)
        return time.perf_counter() - began

    assert cost_s(100_000) < 20 * cost_s(100)  # a linear search would take a thousand times as long
