"""Energy against sums done by hand, and what must hold for any traffic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_image.spec import ComputeSpeed
from orchestrator.devices import DeviceProfile, Power, Radio, Sourced
from orchestrator.telemetry.energy import Bins, device_energy, radio_energy

SOURCE = Sourced("test", "assumed")
LTE = Radio(
    "lte",
    SOURCE,
    active_w=1.2,
    tx_j_per_mbit=0.43839,
    rx_j_per_mbit=0.05197,
    promotion_s=0.26,
    promotion_w=1.21,
    tail_s=10.0,
    tail_w=1.06,
)
BOARD = DeviceProfile("board", "", 4, 1 << 30, ComputeSpeed(1e9, 0.0), SOURCE, Power(2.0, 4.0, SOURCE), LTE)


def test_one_isolated_burst_pays_promotion_activity_slope_and_a_whole_tail() -> None:
    found = radio_energy(LTE, [(10, 125_000, 0)], on_s=60.0, end_s=60.0)
    assert found.promotion == pytest.approx(1.21 * 0.26)
    assert found.active == pytest.approx(0.12)
    assert found.tx == pytest.approx(0.43839)  # 125 kB are 1 Mbit
    assert found.rx == 0
    assert found.tail == pytest.approx(10.6)


def test_a_second_burst_within_the_tail_cuts_it_short_and_pays_no_promotion() -> None:
    found = radio_energy(LTE, [(0, 1000, 0), (51, 1000, 0)], on_s=60.0, end_s=60.0)
    assert found.promotion == pytest.approx(1.21 * 0.26)
    assert found.tail == pytest.approx(1.06 * (5.0 + 10.0))


def test_a_tail_ends_with_the_run() -> None:
    assert radio_energy(LTE, [(0, 1000, 0)], on_s=3.1, end_s=3.1).tail == pytest.approx(1.06 * 3.0)


def test_cpu_and_base_are_power_times_time() -> None:
    found = device_energy(BOARD, on_s=100.0, busy_s=20.0, bins=[], end_s=100.0)
    assert found["base"] == pytest.approx(200.0)
    assert found["cpu"] == pytest.approx(4.0 * 20.0 / 4)


def test_a_profile_without_power_gives_no_figure_rather_than_zero() -> None:
    server = DeviceProfile("server", "", 8, 1 << 34, ComputeSpeed(1e10, 0.0), SOURCE, None, None, slowed=False)
    assert device_energy(server, 100.0, 10.0, [(0, 10, 10)], 100.0) == {}


BINS = st.dictionaries(st.integers(0, 500), st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=40).map(
    lambda found: [(index, *found[index]) for index in sorted(found)]
)


@given(bins=BINS, more=st.integers(1, 10**6))
def test_more_bytes_never_cost_less(bins: Bins, more: int) -> None:
    heavier = [(index, tx + more, rx) for index, tx, rx in bins]
    before, after = (sum(device_energy(BOARD, 60.0, 1.0, found, 60.0).values()) for found in (bins, heavier))
    assert after >= before


@given(bins=BINS)
def test_tail_and_activity_never_exceed_the_time_the_radio_was_on(bins: Bins) -> None:
    found = radio_energy(LTE, bins, on_s=60.0, end_s=60.0)
    assert found.tail / LTE.tail_w + found.active / LTE.active_w <= 60.0 + LTE.tail_s + 1e-6


@given(bins=BINS, ends=st.lists(st.floats(0.0, 60.0), min_size=2, max_size=6))
def test_energy_only_grows_while_a_run_goes_on(bins: Bins, ends: list[float]) -> None:
    found: dict[str, float] = {}
    for end_s in sorted(ends):
        so_far = [each for each in bins if each[0] * 0.1 < end_s]
        now = device_energy(BOARD, end_s, 0.0, so_far, end_s)
        assert all(now[component] >= value - 1e-9 for component, value in found.items())
        found = now
