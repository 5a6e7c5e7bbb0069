"""The arithmetic of probes: what a path should show, which probes may run together, when a loss is too much."""

from dataclasses import replace
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.links.shape import BurstLoss, LinkShape
from orchestrator.plan import DirectedLink
from orchestrator.probes import (
    PING_BYTES,
    batches,
    binomial_interval,
    least_rate_bps,
    loss,
    mean_loss,
    paths_to_probe,
    rtt_s,
)
from tests.plans import star


def test_every_link_of_a_star_is_probed_both_ways_and_all_at_once() -> None:
    plan = star(3)
    paths = paths_to_probe(plan)
    assert {link.id for path in paths for link in path.there} == {link.id for link in plan.links}
    assert len(list(batches(paths))) == 1


def test_links_behind_a_shared_one_are_probed_one_after_another() -> None:
    plan = star(3)
    shape = plan.links[0].shape
    pairs = [("d-1", "hub"), ("d-2", "hub"), ("d-3", "hub"), ("hub", "coordinator")]
    links = tuple(DirectedLink(f"{a}>{b}", a, b, shape, 0) for one, two in pairs for a, b in ((one, two), (two, one)))
    paths = paths_to_probe(replace(plan, switches=("hub",), links=links))
    assert {link.id for path in paths for link in path.there} == {link.id for link in links}
    for batch in batches(paths):
        ids = [link.id for path in batch for link in path.there]
        assert len(ids) == len(set(ids))


def test_delays_and_serialisation_add_up_and_the_least_rate_counts() -> None:
    path = paths_to_probe(star(1, shape=LinkShape(rate_bps=1e6, delay_s=0.02)))[0]
    assert rtt_s(path) == pytest.approx(2 * 0.02 + 2 * PING_BYTES * 8 / 1e6)
    assert least_rate_bps(path) == 1e6


def test_losses_combine_as_one_minus_the_product_of_what_passes() -> None:
    plan = star(1, shape=LinkShape(loss=0.1))
    assert loss(plan.links) == pytest.approx(1 - 0.9 * 0.9)
    bursts = BurstLoss(to_bad=0.1, to_good=0.3)
    assert mean_loss(LinkShape(burst_loss=bursts)) == pytest.approx(0.25)


@given(trials=st.integers(1, 400), p=st.sampled_from([0.0, 0.001, 0.01, 0.1, 0.5, 1.0]))
def test_a_right_link_falls_outside_the_interval_as_rarely_as_promised(trials: int, p: float) -> None:
    low, high = binomial_interval(trials, p)
    inside = sum(comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(low, high + 1))
    assert inside >= 1 - 1e-4 - 1e-9
    assert low <= trials * p <= high
