"""A link against closed forms: what goes in, when it comes out, and what is lost on the way."""

import math
from dataclasses import replace
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.links.chance import NEVER, spared
from orchestrator.links.link import Drop, Link
from orchestrator.links.shape import BurstLoss, LinkShape, TraceRef
from orchestrator.links.trace import parse_mahimahi

MTU = 1500


def offer(link: Link, sizes: list[int], gap_s: float = 0.0, start_s: float = 0.0) -> list[tuple[float, ...] | Drop]:
    return [link.admit(size, start_s + index * gap_s, index) for index, size in enumerate(sizes)]


def arrivals(answers: list[tuple[float, ...] | Drop]) -> list[float]:
    return [answer[0] for answer in answers if not isinstance(answer, Drop)]


def lost(answers: list[tuple[float, ...] | Drop]) -> list[int]:
    return [index for index, answer in enumerate(answers) if isinstance(answer, Drop)]


shapes = st.builds(
    LinkShape,
    rate_bps=st.none() | st.floats(1e3, 1e9),
    delay_s=st.floats(0, 1),
    jitter_s=st.sampled_from([0.0, 0.01]),
    jitter_kind=st.sampled_from(["normal", "pareto"]),
    loss=st.sampled_from([0.0, 0.05, 0.5]),
    burst_loss=st.none() | st.just(BurstLoss(0.05, 0.3, 0.01, 0.9)),
    reorder=st.sampled_from([0.0, 0.2]),
    duplicate=st.sampled_from([0.0, 0.1]),
    corrupt=st.sampled_from([0.0, 0.1]),
    queue_bytes=st.none() | st.integers(1500, 30_000),
)


def test_a_shapeless_link_passes_packets_at_once() -> None:
    assert Link(LinkShape(), 1).admit(MTU, 5.0) == (5.0,)


def test_a_packet_takes_its_bits_over_the_rate_and_then_the_delay() -> None:
    link = Link(LinkShape(rate_bps=1e5, delay_s=0.02), 1)
    assert arrivals([link.admit(MTU, 1.0)]) == [pytest.approx(1.0 + 0.12 + 0.02)]


def test_packets_that_come_together_are_sent_one_after_the_other() -> None:
    link = Link(LinkShape(rate_bps=1e6, delay_s=0.5), 1)
    assert arrivals(offer(link, [1000, 500, 1500])) == pytest.approx([0.508, 0.512, 0.524])


def test_ten_kilobytes_on_a_slow_link_take_their_serialisation_time() -> None:
    link = Link(LinkShape(rate_bps=1e5), 1)
    assert arrivals(offer(link, [1000] * 10))[-1] == pytest.approx(10_000 * 8 / 1e5)


def test_a_queue_of_the_bandwidth_delay_product_keeps_a_link_busy() -> None:
    rate_bps, rtt_s = 8e6, 0.1
    link = Link(LinkShape(rate_bps=rate_bps, queue_bytes=int(rate_bps * rtt_s / 8)), 1)
    burst = offer(link, [1000] * 100)
    assert lost(burst) == []
    assert arrivals(burst)[-1] == pytest.approx(rtt_s)


def test_what_would_overfill_the_queue_is_dropped_at_the_tail() -> None:
    link = Link(LinkShape(rate_bps=1e6, queue_bytes=3 * MTU), 1)
    answers = offer(link, [MTU] * 5)
    assert answers[3:] == [Drop("queue"), Drop("queue")]
    assert len(arrivals(answers)) == 3
    assert link.peak_backlog_bytes == 3 * MTU


def test_the_backlog_falls_as_packets_leave() -> None:
    link = Link(LinkShape(rate_bps=MTU * 8.0, queue_bytes=2 * MTU), 1)  # one packet a second
    offer(link, [MTU] * 2)
    assert isinstance(link.admit(MTU, 0.9), Drop)
    assert arrivals([link.admit(MTU, 1.0)]) == [pytest.approx(3.0)]


def test_an_idle_link_takes_one_packet_however_short_its_queue() -> None:
    link = Link(LinkShape(rate_bps=1e6, queue_bytes=100), 1)
    answers = offer(link, [MTU, MTU])
    assert lost(answers) == [1]


def test_loss_has_its_share() -> None:
    count = 20_000
    share = len(lost(offer(Link(LinkShape(loss=0.1), 3), [MTU] * count))) / count
    assert abs(share - 0.1) < 4 * math.sqrt(0.1 * 0.9 / count)


def test_burst_loss_has_the_mean_and_the_burst_length_of_gilbert_and_elliott() -> None:
    count, model = 200_000, BurstLoss(to_bad=0.02, to_good=0.25)
    hits = lost(offer(Link(LinkShape(burst_loss=model), 7), [MTU] * count))
    bursts = 1 + sum(after - before > 1 for before, after in pairwise(hits))
    assert len(hits) / count == pytest.approx(0.02 / 0.27, rel=0.1)
    assert len(hits) / bursts == pytest.approx(1 / 0.25, rel=0.1)


def test_burst_loss_loses_in_both_states_what_each_is_given() -> None:
    count, model = 100_000, BurstLoss(to_bad=0.1, to_good=0.3, loss_good=0.02, loss_bad=0.6)
    hits = lost(offer(Link(LinkShape(burst_loss=model), 7), [MTU] * count))
    assert len(hits) / count == pytest.approx(0.25 * 0.6 + 0.75 * 0.02, rel=0.05)


@pytest.mark.parametrize("kind", ["normal", "pareto"])
def test_jitter_has_the_standard_deviation_asked_for(kind: str) -> None:
    shape = LinkShape(delay_s=0.2, jitter_s=0.01, jitter_kind="pareto" if kind == "pareto" else "normal")
    delays = np.array(arrivals(offer(Link(shape, 5), [MTU] * 50_000, gap_s=10.0))) - np.arange(50_000) * 10.0
    assert delays.mean() == pytest.approx(0.2, rel=0.01)
    # Alpha 3 has an infinite fourth moment: its sample deviation converges slowly.
    assert delays.std() == pytest.approx(0.01, rel=0.02 if kind == "normal" else 0.25)


def test_pareto_jitter_is_often_early_and_seldom_very_late() -> None:
    shape = LinkShape(delay_s=0.2, jitter_s=0.01, jitter_kind="pareto")
    delays = np.array(arrivals(offer(Link(shape, 5), [MTU] * 5_000, gap_s=10.0))) - np.arange(5_000) * 10.0
    assert np.median(delays) < 0.2
    assert delays.max() - 0.2 > 5 * (0.2 - delays.min())


@given(st.floats(0, 0.01), st.floats(0, 0.1), st.integers(0, 99))
def test_jitter_alone_never_reorders_and_never_makes_a_delay_negative(
    delay_s: float, jitter_s: float, seed: int
) -> None:
    found = arrivals(offer(Link(LinkShape(delay_s=delay_s, jitter_s=jitter_s), seed), [MTU] * 50, gap_s=0.001))
    assert found == sorted(found)
    assert all(arrival >= index * 0.001 for index, arrival in enumerate(found))


def test_reordered_packets_have_their_share_and_skip_the_propagation_delay() -> None:
    count = 20_000
    link = Link(LinkShape(delay_s=0.1, reorder=0.25), 2)
    found = arrivals(offer(link, [MTU] * count, gap_s=0.01))
    early = sum(arrival == index * 0.01 for index, arrival in enumerate(found))
    assert early == link.reordered_packets
    assert early / count == pytest.approx(0.25, abs=0.015)


def test_duplicates_arrive_twice_and_count_once() -> None:
    link = Link(LinkShape(duplicate=0.5), 2)
    answers = offer(link, [MTU] * 1000)
    twice = sum(len(answer) == 2 for answer in answers if not isinstance(answer, Drop))
    assert twice == link.duplicated_packets
    assert 400 < twice < 600
    assert link.offered_packets == 1000


def test_corrupted_packets_arrive_but_count_as_dropped() -> None:
    link = Link(LinkShape(corrupt=0.5), 2)
    offer(link, [MTU] * 1000)
    intact = sum(link.arrive(MTU) for _ in range(1000))
    assert link.delivered_packets == intact
    assert link.dropped == {"corrupt": 1000 - intact}
    assert 400 < intact < 600


def test_a_link_that_is_down_takes_nothing_and_what_is_under_way_still_arrives() -> None:
    link = Link(LinkShape(delay_s=1.0), 1)
    link.admit(MTU, 0.0)
    assert link.reshape(link.shape, 0.5, up=False) == {}
    assert link.admit(MTU, 0.6) == Drop("down")
    link.arrive(MTU)
    assert link.count().dropped == {"down": 1}
    assert link.in_flight_packets == 0


@given(shapes)
def test_the_same_seed_loses_the_same_packets_and_another_seed_others(shape: LinkShape) -> None:
    shape = replace(shape, loss=0.3)
    first, again, other = (offer(Link(shape, seed), [MTU] * 200, gap_s=0.001) for seed in (1, 1, 2))
    assert first == again
    assert lost(first) != lost(other)


@given(st.integers(1, 5), st.floats(0.001, 0.5))
def test_which_packets_are_lost_does_not_depend_on_time_rate_or_jitter(seed: int, gap_s: float) -> None:
    plain = offer(Link(LinkShape(loss=0.2), seed), [MTU] * 100)
    shaped = offer(Link(LinkShape(loss=0.2, rate_bps=1e6, jitter_s=0.01), seed), [MTU] * 100, gap_s)
    assert lost(plain) == lost(shaped)


@given(shapes, st.integers(0, 9), st.lists(st.integers(40, MTU), min_size=1, max_size=60), st.floats(0, 0.02))
@settings(deadline=None)
def test_every_packet_offered_is_delivered_dropped_or_in_flight(
    shape: LinkShape, seed: int, sizes: list[int], gap_s: float
) -> None:
    link = Link(shape, seed)
    answers = offer(link, sizes, gap_s)
    assert link.in_flight_packets == len(arrivals(answers))
    arrived = [size for size, answer in zip(sizes, answers, strict=True) if not isinstance(answer, Drop)]
    for size in arrived[::2]:
        link.arrive(size)
    count = link.count()
    assert count.offered_packets == len(sizes)
    assert count.offered_bytes == sum(sizes)
    assert link.in_flight_packets == len(arrived) // 2
    assert count.delivered_packets + sum(count.dropped.values()) + link.in_flight_packets == len(sizes)


@given(
    shapes,
    st.integers(0, 9),
    st.lists(st.tuples(st.integers(1, 40), st.integers(40, MTU), st.floats(0, 0.1)), min_size=1, max_size=4),
)
@settings(deadline=None)
def test_a_train_fares_as_its_packets_would_one_by_one(
    shape: LinkShape, seed: int, trains: list[tuple[int, int, float]]
) -> None:
    whole, single = Link(shape, seed), Link(shape, seed)
    now_s = 0.0
    for packets, last_bytes, gap_s in trains:
        now_s += gap_s
        result = whole.admit_train(packets, MTU, last_bytes, now_s)
        sizes = [MTU] * (packets - 1) + [last_bytes]
        answers = [single.admit(size, now_s) for size in sizes]
        there = [(size, a[0]) for size, a in zip(sizes, answers, strict=True) if not isinstance(a, Drop)]
        intact = [(size, at_s) for size, at_s in there if single.arrive(size)]
        assert result.delivered_packets == len(intact)
        assert result.delivered_bytes == sum(size for size, _ in intact)
        assert sum(result.lost.values()) == packets - len(intact)
        if intact:
            assert result.first_arrival_s == pytest.approx(min(at_s for _, at_s in intact))
            assert result.last_arrival_s == pytest.approx(max(at_s for _, at_s in intact))
        else:
            assert result.first_arrival_s == result.last_arrival_s == math.inf
    assert whole.count() == single.count()
    assert whole.duplicated_packets == single.duplicated_packets
    assert whole.peak_backlog_bytes == single.peak_backlog_bytes


def plain_shapes(**given: st.SearchStrategy[float]) -> st.SearchStrategy[LinkShape]:
    return st.builds(LinkShape, rate_bps=st.floats(1e5, 1e7), delay_s=st.floats(0, 0.1), **given)


@given(
    plain_shapes(queue_bytes=st.integers(1000, 60_000)),
    plain_shapes(),
    st.lists(st.tuples(st.integers(1, 40), st.integers(40, MTU), st.floats(0, 0.3)), min_size=1, max_size=8),
)
@settings(deadline=None)
def test_trains_on_a_plain_link_wait_and_are_retimed_as_their_packets_would(
    shape: LinkShape, after: LinkShape, trains: list[tuple[int, int, float]]
) -> None:
    """A plain link keeps a train as a whole; nobody may notice, not even where some of it has left."""
    whole, single = Link(shape, 1), Link(shape, 1)
    now_s = 0.0
    for number, (packets, last_bytes, gap_s) in enumerate(trains):
        now_s += gap_s
        result = whole.admit_train(packets, MTU, last_bytes, now_s, number)
        answers = [single.admit(size, now_s, number) for size in [MTU] * (packets - 1) + [last_bytes]]
        assert result.delivered_packets == sum(not isinstance(answer, Drop) for answer in answers)
    assert whole.peak_backlog_bytes == single.peak_backlog_bytes
    found, wanted = (link.reshape(after, now_s + 0.01) for link in (whole, single))
    assert found.keys() == wanted.keys()
    assert [times[-1] for times in found.values()] == pytest.approx([times[-1] for times in wanted.values()])
    assert whole.backlog_bytes == single.backlog_bytes
    assert arrivals([whole.admit(MTU, now_s + 0.01)]) == pytest.approx(arrivals([single.admit(MTU, now_s + 0.01)]))


def test_a_new_rate_retimes_what_has_not_left_and_leaves_alone_what_has() -> None:
    link = Link(LinkShape(rate_bps=MTU * 8.0, delay_s=10.0), 1)  # one packet a second
    offer(link, [MTU] * 4)
    retimed = link.reshape(LinkShape(rate_bps=MTU * 80.0, delay_s=10.0), 1.5)
    # Packet 0 has left; of packet 1 half is left, and goes ten times as fast from now on.
    assert list(retimed) == [1, 2, 3]
    assert [times[0] for times in retimed.values()] == pytest.approx([11.55, 11.65, 11.75])
    assert arrivals([link.admit(MTU, 1.5)]) == [pytest.approx(11.85)]


def test_lifting_the_rate_lets_all_that_waits_leave_at_once() -> None:
    link = Link(LinkShape(rate_bps=MTU * 8.0), 1)
    offer(link, [MTU] * 3)
    assert link.reshape(LinkShape(), 0.5) == {0: (0.5,), 1: (0.5,), 2: (0.5,)}
    assert link.backlog_bytes == 0
    assert link.admit(MTU, 0.6) == (0.6,)


def test_a_shorter_delay_does_not_let_packets_overtake_those_under_way() -> None:
    link = Link(LinkShape(delay_s=1.0), 1)
    link.admit(MTU, 0.0)
    link.reshape(LinkShape(delay_s=0.1), 0.5)
    assert link.admit(MTU, 0.5) == (1.0,)
    assert link.admit(MTU, 2.0) == (2.1,)


def test_a_train_under_way_is_retimed_by_its_tag() -> None:
    link = Link(LinkShape(rate_bps=MTU * 8.0), 1)
    assert link.admit_train(20, MTU, MTU, 0.0, tag="update").last_arrival_s == pytest.approx(20.0)
    retimed = link.reshape(LinkShape(rate_bps=MTU * 80.0), 10.0)
    assert retimed["update"][-1] == pytest.approx(11.0)


@given(shapes, shapes, st.integers(0, 5), st.floats(0, 0.5))
@settings(deadline=None)
def test_a_change_of_shape_loses_no_packet_and_keeps_the_order(
    before: LinkShape, after: LinkShape, seed: int, change_s: float
) -> None:
    before, after = replace(before, reorder=0.0), replace(after, reorder=0.0)
    link = Link(before, seed)
    due = {
        index: answer
        for index, answer in enumerate(offer(link, [MTU] * 30, gap_s=change_s / 30))
        if not isinstance(answer, Drop)
    }
    retimed = link.reshape(after, change_s)
    for tag, times in retimed.items():
        assert isinstance(tag, int)
        assert len(times) == len(due[tag])
        assert times[0] >= change_s
        due[tag] = times
    later = link.admit(MTU, change_s, "later")
    in_order = [due[index][0] for index in sorted(due)]
    assert in_order == sorted(in_order)
    if not isinstance(later, Drop) and in_order:
        assert later[0] >= in_order[-1]
    assert link.in_flight_packets == len(due) + (not isinstance(later, Drop))


def test_a_chance_that_is_taken_away_and_given_back_goes_on_and_does_not_begin_again() -> None:
    link = Link(LinkShape(loss=0.3), 4)
    first = lost(offer(link, [MTU] * 100))
    link.reshape(LinkShape(), 1.0)
    link.reshape(LinkShape(loss=0.3), 1.0)
    assert lost(offer(link, [MTU] * 100, start_s=1.0)) != first


@pytest.mark.parametrize("probability", [5e-324, 1e-300])
def test_a_chance_next_to_none_never_comes(probability: float) -> None:
    assert spared(probability, Random(1)) == NEVER


def test_a_traced_link_sends_what_each_chance_carries() -> None:
    shape = LinkShape(delay_s=0.5, trace=TraceRef("x", "", "mahimahi"))
    link = Link(shape, 1, trace=parse_mahimahi("x", ["10", "20", "20", "40"]), epoch_s=100.0)
    # Three of 500 bytes share a chance; 1500 more take the next; at 20 ms a second chance, then 40 ms.
    found = arrivals(offer(link, [500, 500, 500, MTU, 1000, 1000], start_s=100.0))
    assert found == pytest.approx([100.51, 100.51, 100.51, 100.52, 100.52, 100.54])


def test_an_unused_chance_is_wasted() -> None:
    link = Link(LinkShape(trace=TraceRef("x", "", "mahimahi")), 1, trace=parse_mahimahi("x", ["10", "20", "40"]))
    assert arrivals([link.admit(MTU, 0.015)]) == [pytest.approx(0.02)]
    assert arrivals([link.admit(MTU, 0.035)]) == [pytest.approx(0.04)]
    assert arrivals([link.admit(MTU, 0.041)]) == [pytest.approx(0.05)]


def test_a_shape_that_names_a_trace_needs_the_trace() -> None:
    with pytest.raises(ValueError, match="trace"):
        Link(LinkShape(trace=TraceRef("x", "", "mahimahi")), 1)


def test_a_link_says_from_when_on_it_does_nothing() -> None:
    link = Link(LinkShape(delay_s=1.0), 1)
    assert link.clear_from_s() == math.inf
    link.admit(MTU, 0.0)
    link.reshape(LinkShape(queue_bytes=10_000), 0.5)
    assert link.clear_from_s() == 1.0
    link.reshape(LinkShape(), 0.6, up=False)
    assert link.clear_from_s() == math.inf


def test_packets_refused_and_lost_under_way_are_accounted_for() -> None:
    link = Link(LinkShape(delay_s=1.0), 1)
    link.admit(MTU, 0.0)
    link.refuse(MTU, "partition")
    link.lose(MTU, "partition")
    assert link.count().dropped == {"partition": 2}
    assert link.in_flight_packets == 0
