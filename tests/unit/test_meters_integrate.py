"""From watts and counters to joules: closed forms, and what must hold whatever a meter says."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_image.meters.integrate import Counters, Integrator, counter_growth, trapezoid_joules

RANGE = 262_144.0  # joules, as max_energy_range_uj of most machines says


def integrated(samples: list[tuple[float, float]], longest_gap_s: float = 10.0) -> Integrator:
    integrator = Integrator(longest_gap_s)
    for t_s, watts in samples:
        integrator.take(t_s, watts)
    return integrator


def followed(counts: list[tuple[float, float]], wraps_at: float | None = RANGE, most_w: float = 1000.0) -> Counters:
    counters = Counters({"package-0": wraps_at}, most_w)
    for t_s, joules in counts:
        counters.take(t_s, {"package-0": joules})
    return counters


def test_a_constant_power_is_watts_times_seconds() -> None:
    assert integrated([(t / 2, 5.0) for t in range(21)]).joules == pytest.approx(50.0)


def test_a_rising_power_is_exact_however_unevenly_it_is_sampled() -> None:
    times = [0.0, 0.1, 0.5, 2.0, 2.25, 4.0]
    assert integrated([(t, 3.0 + 2.0 * t) for t in times]).joules == pytest.approx(3.0 * 4 + 2.0 * 4**2 / 2)


def test_a_wave_comes_within_the_error_of_the_trapezoid_rule() -> None:
    """The error of a sum of trapezoids is at most h^2/12 * T * max|f''|."""
    step, omega = 0.05, 2 * math.pi
    found = integrated([(n * step, 10 + 4 * math.sin(omega * n * step)) for n in range(21)]).joules
    assert abs(found - 10.0) <= step**2 / 12 * 1.0 * 4 * omega**2


def test_a_gap_is_missing_and_not_a_trapezoid() -> None:
    found = integrated([(0, 5), (1, 5), (11.5, 5), (12.5, 5)])
    assert (found.joules, found.missing_s) == pytest.approx((10.0, 10.5))


def test_one_sample_is_no_energy() -> None:
    assert trapezoid_joules(3.0, 5.0, 2.0) == 8.0
    assert integrated([(0, 1e6)]).joules == 0.0


def test_a_sample_that_is_not_newer_adds_nothing() -> None:
    found = integrated([(0, 5), (1, 5), (1, 500), (0.5, 500), (2, 5)])
    assert (found.joules, found.missing_s) == (10.0, 0.0)


def test_a_counter_that_wrapped_goes_on() -> None:
    assert counter_growth(RANGE - 30.0, 12.0, RANGE, most=500.0) == pytest.approx(42.0)
    found = followed([(0, RANGE - 30.0), (0.5, RANGE - 10.0), (1.0, 10.0)])
    assert (found.joules, found.missing_s, found.watts) == pytest.approx((40.0, 0.0, 40.0))


def test_a_counter_that_was_reset_is_missing_for_that_interval_and_then_counts_again() -> None:
    found = followed([(0, 100.0), (1, 150.0), (2, 3.0), (3, 53.0)])
    assert (found.joules, found.missing_s) == pytest.approx((100.0, 1.0))


def test_a_counter_without_a_range_never_wraps() -> None:
    found = followed([(0, 7200.0), (1, 7203.6), (2, 0.0), (3, 3.6)], wraps_at=None)
    assert (found.joules, found.missing_s) == pytest.approx((7.2, 1.0))


def test_a_counter_that_somebody_set_forward_invents_nothing() -> None:
    found = followed([(0, 0.0), (1, 18e6), (2, 18e6 + 5.0)], wraps_at=None)
    assert (found.joules, found.missing_s) == (5.0, 1.0)


def test_a_counter_that_moves_once_a_minute_loses_nothing() -> None:
    found = followed([(t, 90_000.0 * (t // 60)) for t in range(121)], wraps_at=None, most_w=2000.0)
    assert (found.joules, found.missing_s) == (180_000.0, 0.0)


def test_a_long_gap_of_a_counter_is_known_unless_it_may_have_turned_twice() -> None:
    assert followed([(0, 0.0), (100, 5000.0)]).joules == 5000.0
    unclear = followed([(0, 0.0), (300, 5000.0), (301, 5050.0)])  # 1000 W for 300 s are more than one turn
    assert (unclear.joules, unclear.missing_s) == (50.0, 300.0)


def test_a_counter_that_stands_still_for_long_is_missing_once() -> None:
    found = followed([(float(t), 1000.0) for t in range(600)])
    assert found.joules == 0.0
    assert found.missing_s <= 599


def test_packages_are_summed_and_one_that_is_not_known_spoils_the_interval() -> None:
    counters = Counters({"package-0": RANGE, "package-1": RANGE}, most_w=1000.0)
    for t_s, first, second in ((0, 10.0, RANGE - 5.0), (1, 30.0, 5.0), (2, 0.0, 15.0), (3, 8.0, 25.0)):
        counters.take(t_s, {"package-0": first, "package-1": second})
    assert counters.joules == pytest.approx(20 + 10 + 8 + 10)
    assert counters.missing_s == 1.0
    assert counters.rails_watts == {"package-0": pytest.approx(8.0), "package-1": pytest.approx(10.0)}


STEPS = st.floats(0.001, 400.0)
WATTS = st.floats(0.0, 900.0)


@given(st.lists(st.tuples(STEPS, WATTS), min_size=1, max_size=40))
def test_known_and_missing_time_together_are_all_time_and_joules_never_exceed_the_largest_power(
    steps: list[tuple[float, float]],
) -> None:
    t_s, samples = 0.0, []
    for step, watts in steps:
        t_s += step
        samples.append((t_s, watts))
    found = integrated(samples, longest_gap_s=1.5)
    known_s = samples[-1][0] - samples[0][0] - found.missing_s
    most = max(watts for _, watts in samples)
    assert -1e-6 <= found.joules <= most * known_s * (1 + 1e-9) + 1e-6


@given(st.lists(st.tuples(STEPS, st.floats(0.01, 900.0)), max_size=60))
def test_a_counter_that_wraps_gives_the_true_joules_and_what_it_leaves_out_is_missing(
    steps: list[tuple[float, float]],
) -> None:
    """The truth of every interval is known here; those long enough for a whole turn are left out, no others."""
    t_s, true, counts, expected, missing_s = 0.0, RANGE - 100.0, [(0.0, RANGE - 100.0)], 0.0, 0.0
    for step, watts in steps:
        t_s += step
        used = watts * step
        true += used
        counts.append((t_s, true % RANGE))
        if 1000.0 * step < RANGE * 0.999:
            expected += used
        elif 1000.0 * step >= RANGE:
            missing_s += step
        else:
            return  # so near the edge that rounding decides
    found = followed(counts)
    assert found.joules == pytest.approx(expected, abs=1e-3)
    assert found.missing_s == pytest.approx(missing_s, abs=1e-6)


@given(st.lists(st.tuples(STEPS, st.floats(0.0, RANGE)), min_size=1, max_size=60), st.sampled_from((None, RANGE)))
def test_whatever_a_counter_says_joules_only_grow_and_never_faster_than_the_load_can(
    steps: list[tuple[float, float]], wraps_at: float | None
) -> None:
    """Resets, wraps and values set by hand at any moment."""
    counters = Counters({"c": wraps_at}, most_w=1000.0)
    t_s = before_j = before_missing_s = 0.0
    began_s = None
    for step, value in steps:
        t_s += step
        began_s = t_s if began_s is None else began_s
        counters.take(t_s, {"c": value})
        assert counters.joules >= before_j
        assert counters.missing_s >= before_missing_s
        before_j, before_missing_s = counters.joules, counters.missing_s
    assert began_s is not None
    assert counters.missing_s <= t_s - began_s + 1e-6
    assert counters.joules <= 1000.0 * (t_s - began_s) * (1 + 1e-9) + 1e-6
