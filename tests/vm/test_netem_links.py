"""The netem shaper for real: what the kernel makes of our commands, on Mininet's own links.

Where this kernel has no netem, `make vm TARGET='test ARGS="-m netem"'` runs them, and tests/root/test_vm.py does.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from bench.fidelity import times
from bench.pairs import SEGMENT_BYTES, Pair, expected_s, pairs
from orchestrator.links.shape import BurstLoss, LinkShape
from orchestrator.probes import binomial_interval
from orchestrator.substrates.base import LinkCount

pytestmark = [pytest.mark.root, pytest.mark.netem, pytest.mark.timeout(120)]

PLAIN = LinkShape()
EVERYTHING = LinkShape(
    rate_bps=3_333_333,
    delay_s=0.0123,
    jitter_s=0.0011,
    loss=0.012,
    duplicate=0.021,
    corrupt=0.003,
    reorder=0.04,
    queue_bytes=40_000,
)


@dataclass(frozen=True)
class Wire:
    """A pair of hosts that all tests share, and the event loop in which its network lives."""

    pair: Pair
    run: Callable[[Coroutine[None, None, Any]], Any]

    def shape(self, shape: LinkShape, *, up: bool = True) -> str:
        return str(self.run(self.pair.network.shape(self.pair.link, shape, up)))

    def count(self) -> LinkCount:
        found: LinkCount = self.run(self.pair.network.counters())[self.pair.link.id]
        return found

    def send(self, packets: int, quiet_s: float = 0.3) -> list[int]:
        """The numbers of those that arrive, until none comes for so long."""
        for number in range(packets):
            self.pair.send_stamped(number)
        return [number for number, _ in self.pair.stamped(quiet_s)]


@pytest.fixture(scope="module")
def laid() -> Iterator[Wire]:
    with asyncio.Runner() as runner:
        context = pairs("netem", [PLAIN])
        (pair,) = runner.run(context.__aenter__())
        yield Wire(pair, runner.run)
        runner.run(context.__aexit__(None, None, None))


@pytest.fixture
def wire(laid: Wire) -> Iterator[Wire]:
    yield laid
    laid.shape(PLAIN)
    laid.pair.arrivals(0.05)  # nobody else's packets are left


def test_a_message_takes_the_time_of_its_bits_and_the_delay() -> None:
    found = asyncio.run(times("netem", (0.1e6, 100e6), (0.0, 0.02), (100, 10_000), cell_s=0.5))
    assert len(found) == 2 * 2 * 3
    for cell in found:
        quickest_s = min(seconds for seconds in cell.found_s if seconds is not None)  # a busy machine only adds
        assert None not in cell.found_s
        assert cell.expected_s * 0.995 < quickest_s < cell.expected_s * 1.03 + 0.002, cell


def test_a_small_message_on_a_slow_link_is_not_let_through_at_once(wire: Wire) -> None:
    slow = LinkShape(rate_bps=1e5)
    wire.shape(slow)
    for size_bytes in (100, 1000):
        found_s = wire.pair.send_message(size_bytes)()
        assert found_s is not None
        assert found_s >= 0.995 * expected_s(slow, size_bytes)


def test_a_tcp_stream_is_shaped_packet_by_packet_and_not_in_lumps(wire: Wire) -> None:
    slow = LinkShape(rate_bps=1e5)
    wire.shape(slow)
    arrivals = wire.pair.tcp_arrivals(10_000)
    assert max(size_bytes for size_bytes, _ in arrivals) <= SEGMENT_BYTES
    assert arrivals[0][1] < 1.2 * expected_s(slow, SEGMENT_BYTES, tcp=True)


@pytest.mark.parametrize(
    "shape",
    [
        EVERYTHING,
        replace(EVERYTHING, jitter_kind="pareto", loss=0.0, burst_loss=BurstLoss(0.013, 0.27, 0.004, 0.91)),
        LinkShape(burst_loss=BurstLoss(0.02, 0.5), loss=0.1),
        LinkShape(delay_s=0.05, jitter_s=0.004),
        LinkShape(rate_bps=25e9, delay_s=0.0001),
        LinkShape(rate_bps=9600, delay_s=1.5, queue_bytes=1),
        LinkShape(reorder=0.5),
    ],
)
def test_every_shape_reads_back_as_it_was_asked_for_and_goes_away_again(wire: Wire, shape: LinkShape) -> None:
    for each, up in ((shape, True), (shape, False), (PLAIN, True)):
        assert "read back" in wire.shape(each, up=up)
    assert wire.send(20, 0.1) == list(range(20))


def test_packets_are_lost_as_often_as_asked(wire: Wire) -> None:
    wire.shape(LinkShape(loss=0.1))
    low, high = binomial_interval(1000, 0.1)
    assert low <= 1000 - len(wire.send(1000)) <= high


def test_losses_in_bursts_come_in_a_row(wire: Wire) -> None:
    wire.shape(LinkShape(burst_loss=BurstLoss(0.025, 0.1)))
    arrived = set(wire.send(4000))
    lost = [number not in arrived for number in range(4000)]
    runs = sum(is_lost and not before for before, is_lost in zip([False, *lost], lost, strict=False))
    assert 0.1 < sum(lost) / 4000 < 0.3  # 20 % in the long run, and neighbours are alike
    assert 5 < sum(lost) / runs < 20  # 10 on average; 1.25 were each lost for itself


def test_jitter_spreads_the_delay_and_keeps_the_order(wire: Wire) -> None:
    wire.shape(LinkShape(delay_s=0.05, jitter_s=0.005))
    for number in range(300):
        wire.pair.send_stamped(number)
        time.sleep(0.005)
    found = wire.pair.stamped(0.5)
    delays_ms = sorted(delay_s * 1e3 for _, delay_s in found)
    assert [number for number, _ in found] == list(range(300))
    assert 40 < delays_ms[150] < 65
    assert delays_ms[270] - delays_ms[30] > 5  # a normal distribution has 2.6 standard deviations between them


def test_a_full_queue_drops_the_last_and_counts_them(wire: Wire) -> None:
    before = wire.count()
    wire.shape(LinkShape(rate_bps=1e5, queue_bytes=20 * 1500))
    wire.pair.send_message(40 * 1472)  # all there in milliseconds; one leaves in 120
    after = wire.count()
    assert after.offered_packets - before.offered_packets == 40
    assert after.dropped.get("netem", 0) - before.dropped.get("netem", 0) in (19, 20)  # one may have left by then
    wire.shape(PLAIN)
    assert len(wire.pair.arrivals(1.0)) in (20, 21)


def test_a_link_that_is_down_carries_nothing_and_one_that_is_up_again_does(wire: Wire) -> None:
    before = wire.count()
    wire.shape(PLAIN, up=False)
    assert wire.send(10) == []
    wire.shape(PLAIN)
    assert wire.send(10) == list(range(10))
    after = wire.count()
    assert after.offered_packets - before.offered_packets == 20
    assert after.delivered_packets - before.delivered_packets == 10
    assert after.dropped["netem"] - before.dropped.get("netem", 0) == 10


def test_a_change_of_shape_loses_no_packet_that_is_under_way(wire: Wire) -> None:
    wire.shape(LinkShape(rate_bps=1e7, delay_s=0.5))
    for number in range(20):
        wire.pair.send_stamped(number)
    wire.shape(LinkShape(rate_bps=1e7))
    assert [number for number, _ in wire.pair.stamped(1.0)] == list(range(20))


def test_a_blocked_pair_hears_nothing_until_it_is_healed(wire: Wire) -> None:
    link = wire.pair.link
    wire.run(wire.pair.network.block(frozenset({(link.source, link.target)})))
    with pytest.raises(OSError, match=r"Invalid argument|unreachable"):  # the sender's own kernel says so
        wire.pair.send_stamped(0)
    wire.run(wire.pair.network.block(frozenset()))
    assert wire.send(5) == list(range(5))


def test_only_what_was_sent_is_on_a_link_and_counted_as_ip_packets(wire: Wire) -> None:
    before = wire.count()
    assert len(wire.send(50, 1.0)) == 50
    after = wire.count()
    assert after.offered_bytes - before.offered_bytes == 50 * (16 + 28)
    assert after.delivered_bytes - before.delivered_bytes == 50 * (16 + 28)
