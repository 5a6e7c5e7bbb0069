"""TCP over simulated links takes the time that arithmetic says, and every byte is accounted for."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.links.shape import BurstLoss, LinkShape
from orchestrator.plan import DirectedLink, Plan
from orchestrator.simulation.connection import Connection, End
from orchestrator.simulation.flight import HEADER_BYTES, MSS_BYTES
from orchestrator.simulation.network import Network
from orchestrator.simulation.virtual_time import VirtualTimeLoop
from tests.plans import star

A, B = "d-1", "coordinator"


class World:
    """One connection from a device to the coordinator; what arrives is noted with its time."""

    def __init__(self, loop: VirtualTimeLoop, plan: Plan, rtt_s: float = 0.1) -> None:
        self.loop = loop
        self.plan = plan
        self.network = Network(plan, loop)
        routes = self.network.route(A, B), self.network.route(B, A)
        self.connection = Connection(self.network, (A, B), routes, rtt_s, Random(1), lambda _: None)
        self.arrived: list[tuple[float, object]] = []
        self.lost: list[float] = []
        self.connection.listener.on_item = lambda item: self.arrived.append((loop.time(), item))
        self.connection.dialer.on_lost = lambda: self.lost.append(loop.time())

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.arrived]

    @property
    def sender(self) -> End:
        return self.connection.dialer

    def link(self, number: int = 0) -> DirectedLink:
        return self.plan.links[number]

    def change(self, shape: LinkShape | None = None, *, up: bool = True) -> None:
        for link in self.plan.links:
            self.network.reshape(link, shape or link.shape, up=up)
        self.connection.look_after()


def in_world(
    shape: LinkShape, act: Callable[[World], None], *, until_s: float = 1000.0, plan: Plan | None = None
) -> World:
    """Do `act` at time 0 and let time pass."""
    loop = VirtualTimeLoop()
    try:
        world = World(loop, plan or star(1, shape=shape), rtt_s=2 * shape.delay_s)
        act(world)
        loop.run_until_complete(asyncio.sleep(until_s))
    finally:
        loop.close()
    return world


def wire_bytes(size_bytes: int) -> int:
    """IP bytes of so many bytes of a stream."""
    return size_bytes + -(-size_bytes // MSS_BYTES) * HEADER_BYTES


@given(st.integers(1, 10 * MSS_BYTES), st.floats(1e5, 1e8), st.floats(0.0, 0.5))
def test_what_fits_the_first_window_takes_its_serialisation_and_one_delay(
    size_bytes: int, rate_bps: float, delay_s: float
) -> None:
    world = in_world(
        LinkShape(rate_bps=rate_bps, delay_s=delay_s), lambda world: world.sender.outgoing.write(size_bytes, 1)
    )
    expected_s = wire_bytes(size_bytes) * 8 / rate_bps + delay_s
    assert world.times == [pytest.approx(expected_s, rel=1e-6)]


def test_a_long_transfer_on_a_slow_link_takes_its_serialisation_time() -> None:
    shape = LinkShape(rate_bps=1e6, delay_s=0.02)
    world = in_world(shape, lambda world: world.sender.outgoing.write(1_000_000, 1))
    ((arrived_s, _),) = world.arrived
    assert arrived_s == pytest.approx(wire_bytes(1_000_000) * 8 / 1e6, rel=0.01)


def test_without_a_rate_limit_slow_start_doubles_every_round_trip() -> None:
    """10 + 20 + 40 segments in three round trips: the 70th arrives two and a half round trips after the start."""
    shape = LinkShape(delay_s=0.1)
    world = in_world(shape, lambda world: world.sender.outgoing.write(70 * MSS_BYTES, 1))
    assert world.times == [pytest.approx(0.5)]


def test_the_window_is_small_again_after_a_long_pause() -> None:
    shape = LinkShape(delay_s=0.1)

    def act(world: World) -> None:
        for at_s in (0.0, 1.0, 60.0):
            world.loop.call_at(at_s, world.sender.outgoing.write, 70 * MSS_BYTES, at_s)

    world = in_world(shape, act)
    took = [arrived_s - float(str(item)) for arrived_s, item in world.arrived]
    assert took[0] == pytest.approx(0.5)
    assert took[1] < took[0]
    assert took[2] == pytest.approx(0.5)


def test_messages_arrive_in_order_and_each_with_its_last_byte() -> None:
    sizes = [10, 50_000, 1, 3_000, 200_000]

    def act(world: World) -> None:
        for number, size_bytes in enumerate(sizes):
            world.sender.outgoing.write(size_bytes, number)

    world = in_world(LinkShape(rate_bps=2e6, delay_s=0.01, loss=0.03), act)
    assert [item for _, item in world.arrived] == [0, 1, 2, 3, 4]
    assert world.times == sorted(world.times)


def test_two_connections_through_one_link_share_it() -> None:
    plan = star(2, shape=LinkShape(rate_bps=1e6, delay_s=0.01))
    shared = DirectedLink("hub>coordinator", "hub", B, LinkShape(rate_bps=1e6, delay_s=0.01), 1)
    others = [("d-1", "hub"), ("d-2", "hub"), ("hub", "d-1"), ("hub", "d-2"), (B, "hub")]
    free = LinkShape(delay_s=0.01)
    links = (shared, *(DirectedLink(f"{a}>{b}", a, b, free, 2) for a, b in others))
    plan = replace(plan, links=links, switches=("hub",))
    alone_s = wire_bytes(100_000) * 8 / 1e6

    def act(world: World) -> None:
        world.sender.outgoing.write(100_000, "first")
        routes = world.network.route("d-2", B), world.network.route(B, "d-2")
        second = Connection(world.network, ("d-2", B), routes, 0.04, Random(2), lambda _: None)
        second.listener.on_item = lambda item: world.arrived.append((world.loop.time(), item))
        second.dialer.outgoing.write(100_000, "second")

    world = in_world(shared.shape, act, plan=plan)
    times = sorted(world.times)
    assert times[0] > 1.5 * alone_s  # neither had the link for itself
    assert times[1] == pytest.approx(2 * alone_s, rel=0.1)


def chances(most: float) -> st.SearchStrategy[float]:
    return st.one_of(st.just(0.0), st.floats(1e-4, most))


SHAPES = st.builds(
    LinkShape,
    rate_bps=st.one_of(st.none(), st.floats(2e5, 1e8)),
    delay_s=st.floats(0, 0.2),
    jitter_s=st.floats(0, 0.02),
    loss=chances(0.1),
    burst_loss=st.one_of(st.none(), st.just(BurstLoss(0.01, 0.3))),
    reorder=chances(0.05),
    duplicate=chances(0.05),
    corrupt=chances(0.05),
    queue_bytes=st.one_of(st.none(), st.integers(3_000, 100_000)),
)


@settings(deadline=None, max_examples=60)
@given(SHAPES, st.lists(st.integers(1, 60_000), min_size=1, max_size=6))
def test_whatever_the_links_do_all_arrives_once_in_order_and_links_balance(shape: LinkShape, sizes: list[int]) -> None:
    def act(world: World) -> None:
        for number, size_bytes in enumerate(sizes):
            world.loop.call_at(number * 0.3, world.sender.outgoing.write, size_bytes, number)

    world = in_world(shape, act)
    assert world.lost or [item for _, item in world.arrived] == list(range(len(sizes)))
    for count in world.network.counts().values():
        assert count.offered_packets == count.delivered_packets + sum(count.dropped.values())
        assert count.delivered_bytes <= count.offered_bytes
        assert (count.delivered_bytes == count.offered_bytes) == (not count.dropped)


def test_loss_costs_retransmissions_and_time() -> None:
    clean, lossy = (
        in_world(
            LinkShape(rate_bps=1e7, delay_s=0.02, loss=loss), lambda world: world.sender.outgoing.write(500_000, 1)
        )
        for loss in (0.0, 0.05)
    )
    offered = [world.network.counts()[world.link().id].offered_bytes for world in (clean, lossy)]
    assert lossy.arrived[0][0] > clean.arrived[0][0]
    assert offered[1] > 1.02 * offered[0]


def test_a_transfer_goes_on_after_a_link_was_down_for_less_than_the_connection_bears() -> None:
    def act(world: World) -> None:
        world.sender.outgoing.write(1_000_000, 1)
        world.loop.call_at(1.0, lambda: world.change(up=False))
        world.loop.call_at(3.0, world.change)

    world = in_world(LinkShape(rate_bps=2e6, delay_s=0.02), act)
    assert not world.lost
    assert world.arrived[0][0] > wire_bytes(1_000_000) * 8 / 2e6 + 1.9
    assert world.network.counts()[world.link().id].dropped["down"] > 0


def test_a_sender_that_hears_nothing_for_five_seconds_gives_up() -> None:
    def act(world: World) -> None:
        world.sender.outgoing.write(1_000_000, 1)
        world.loop.call_at(1.0, lambda: world.change(up=False))

    world = in_world(LinkShape(rate_bps=2e6, delay_s=0.02), act)
    assert world.lost == [pytest.approx(6.0, abs=0.3)]
    assert not world.arrived


def test_a_sender_gives_up_whenever_its_silence_began() -> None:
    starts_s = [start_s for seed in range(40) if (start_s := Random(seed).uniform(11.0, 16.0)) + 5.0 - start_s < 5.0]
    assert starts_s  # a sum of floats is rounded: the clock stands at the very end of the five seconds, or just before
    for start_s in starts_s:

        def act(world: World, start_s: float = start_s) -> None:
            world.change(up=False)
            world.loop.call_at(start_s, world.sender.outgoing.write, 10_000, 1)

        world = in_world(LinkShape(rate_bps=2e6, delay_s=0.02), act, until_s=30.0)
        assert world.lost == [start_s + 5.0]


@pytest.mark.parametrize(("down_s", "breaks"), [(15.0, False), (40.0, True)])
def test_an_idle_connection_notices_by_its_probes_that_the_way_is_cut(down_s: float, breaks: bool) -> None:
    def act(world: World) -> None:
        world.loop.call_at(100.0, lambda: world.change(up=False))
        world.loop.call_at(100.0 + down_s, world.change)

    world = in_world(LinkShape(rate_bps=2e6, delay_s=0.02), act, until_s=200.0)
    assert bool(world.lost) == breaks
    if breaks:  # 5 s after the probe that nobody answered
        assert world.lost == [pytest.approx(125.0, abs=1.0)]


def test_a_sender_whose_peer_is_gone_finds_out_though_the_first_reset_is_lost() -> None:
    shape = LinkShape(rate_bps=1e6, delay_s=0.05)

    def act(world: World) -> None:
        world.network.reshape(world.link(1), shape, up=False)  # nothing of the other end's gets through
        world.connection.listener.close()
        world.sender.outgoing.write(1000, "never read")
        world.loop.call_at(0.2, lambda: world.network.reshape(world.link(1), shape, up=True))

    world = in_world(shape, act)
    assert world.arrived == []
    (lost_s,) = world.lost
    assert lost_s < 5.0, "by the reset to what it sends again, long before it would probe an idle connection"


def test_idle_connections_cost_a_probe_and_an_answer_each_way_every_half_minute() -> None:
    world = in_world(LinkShape(rate_bps=2e6), lambda _: None, until_s=1510.0)
    world.connection.settle()
    sent = world.network.traffic()[A]
    assert sum(row[1] for row in sent) == 50 * 2 * HEADER_BYTES
    assert sum(row[2] for row in sent) == 50 * 2 * HEADER_BYTES
    assert world.network.counts()[world.link().id].delivered_bytes == 50 * 2 * HEADER_BYTES


def test_a_closed_end_is_noticed_by_the_other_after_one_delay() -> None:
    def act(world: World) -> None:
        world.loop.call_at(1.0, world.connection.listener.close)

    world = in_world(LinkShape(rate_bps=1e9, delay_s=0.25), act)
    assert world.lost == [pytest.approx(1.25, rel=1e-3)]


def test_a_faster_shape_speeds_up_what_is_under_way() -> None:
    shape = LinkShape(rate_bps=1e5, delay_s=0.01)

    def act(world: World) -> None:
        world.sender.outgoing.write(14_000, 1)
        world.loop.call_at(0.3, lambda: world.change(replace(shape, rate_bps=1e7)))

    world = in_world(shape, act)
    assert world.times == [pytest.approx(0.32, abs=0.02)]


def test_bins_that_are_read_again_and_again_are_those_that_are_read_once() -> None:
    def watched(world: World) -> None:
        world.sender.outgoing.write(300_000, 1)
        for at_s in (0.05, 0.31, 1.0, 1.7, 70.0):
            world.loop.call_at(at_s, world.network.traffic)

    def unwatched(world: World) -> None:
        world.sender.outgoing.write(300_000, 1)

    shape = LinkShape(rate_bps=1e6, delay_s=0.02)
    worlds = [in_world(shape, act, until_s=100.0) for act in (watched, unwatched)]
    for world in worlds:
        world.connection.settle()  # probes of long ago are counted only now
    assert worlds[0].network.traffic() == worlds[1].network.traffic()


def test_bins_hold_every_byte_that_left_and_that_arrived() -> None:
    world = in_world(LinkShape(rate_bps=1e6, delay_s=0.02), lambda world: world.sender.outgoing.write(300_000, 1))
    world.connection.settle()
    traffic, counts = world.network.traffic(), world.network.counts()
    there, back = (counts[link.id].delivered_bytes for link in world.plan.links)
    assert sum(row[1] for row in traffic[A]) == sum(row[2] for row in traffic[B]) == there
    assert sum(row[2] for row in traffic[A]) == sum(row[1] for row in traffic[B]) == back
