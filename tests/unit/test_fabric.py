"""The fabric without root: sockets stand in for TUN devices, packets are IPv4 headers with a number behind."""

import asyncio
import ipaddress
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import RunBrokeError
from orchestrator.links.delay_line import DelayLine
from orchestrator.links.fabric import covering_prefix
from orchestrator.links.forwarding import BIN_S, Forwarding
from orchestrator.links.lateness import LatenessHistogram
from orchestrator.links.link import Drop, Link
from orchestrator.links.shape import LinkShape
from orchestrator.links.tun import Tun
from orchestrator.plan import DirectedLink

NAMES = ("a", "b", "c")
ADDRESS = {name: f"10.0.0.{index + 1}" for index, name in enumerate(NAMES)}
QUIET_S = 0.15  # nothing more comes if nothing came for so long
SIZE = 104


class Bench:
    """A star of three nodes and its forwarding in a thread; `do` has it act between two packets, as the fabric does."""

    def __init__(self, shape: LinkShape) -> None:
        ends = [end for name in NAMES for end in ((name, "hub"), ("hub", name))]
        planned = tuple(DirectedLink(f"{a}>{b}", a, b, shape, seed) for seed, (a, b) in enumerate(ends))
        self.links = {link.id: Link(link.shape, link.seed) for link in planned}
        self.forwarding = Forwarding()
        self.forwarding.lay(planned, self.links)
        self.nodes: dict[str, socket.socket] = {}
        for name in NAMES:
            self.attach(name)
        self._wake, self._woken = socket.socketpair()
        self._stop = threading.Event()
        self._paused, self._go_on = threading.Event(), threading.Event()
        self.forwarding.watch(self._woken.fileno(), select.EPOLLIN)
        self._thread = threading.Thread(target=self.forwarding.run, args=(self._on_other,))
        self._thread.start()

    def attach(self, name: str) -> None:
        node, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        node.settimeout(QUIET_S)
        self.nodes[name] = node
        self.forwarding.attach(name, ADDRESS[name], Tun(ours.detach(), os.open("/dev/null", os.O_RDONLY)))

    def _on_other(self, fd: int) -> None:
        self._woken.recv(1)
        if self._stop.is_set():
            self.forwarding.running = False
            return
        self._paused.set()
        self._go_on.wait()
        self._go_on.clear()

    def __enter__(self) -> "Bench":
        """Hold the forwarding between two packets."""
        self._wake.send(b"!")
        self._paused.wait()
        self._paused.clear()
        return self

    def __exit__(self, *exc: object) -> None:
        self._go_on.set()

    def send(self, source: str, target: str, count: int = 1) -> None:
        for number in range(count):
            header = struct.pack(
                "!B11s4s4s", 0x45, b"", *(ipaddress.ip_address(ADDRESS[n]).packed for n in (source, target))
            )
            self.nodes[source].send(header + number.to_bytes(4) + bytes(SIZE - 24))

    def heard(self, name: str) -> list[int]:
        return [int.from_bytes(packet[20:24]) for packet in self.packets(name)]

    def packets(self, name: str) -> list[bytes]:
        found = []
        try:
            while True:
                found.append(self.nodes[name].recv(2048))
        except TimeoutError:
            return found

    def count(self, link: str) -> tuple[int, int, dict[str, int]]:
        with self:
            count = self.forwarding.counted()[link]
        return count.offered_packets, count.delivered_packets, count.dropped

    def close(self) -> None:
        self._stop.set()
        self._wake.send(b"!")
        self._thread.join()
        for station in self.forwarding.stations.values():
            station.tun.close()
        for end in (self._wake, self._woken, *self.nodes.values()):
            end.close()
        self.forwarding.close()


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    made = Bench(getattr(request, "param", LinkShape()))
    yield made
    made.close()


def shaped(shape: LinkShape) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("bench", [shape], indirect=True)


def test_packets_reach_the_node_that_has_their_address_and_no_other(bench: Bench) -> None:
    bench.send("a", "b", 100)
    assert bench.heard("b") == list(range(100))
    assert bench.heard("c") == []
    assert bench.count("a>hub") == bench.count("hub>b") == (100, 100, {})
    assert bench.count("hub>c") == (0, 0, {})


@shaped(LinkShape(delay_s=0.05))
def test_a_packet_is_delayed_by_every_link_of_its_way(bench: Bench) -> None:
    began = time.monotonic()
    bench.send("a", "b")
    assert bench.nodes["b"].recv(2048)
    assert time.monotonic() - began >= 0.1


@shaped(LinkShape(rate_bps=1e6, delay_s=0.001))
def test_packets_are_paced_in_order(bench: Bench) -> None:
    began = time.monotonic()
    bench.send("a", "b", 50)
    assert bench.heard("b") == list(range(50))
    assert time.monotonic() - began - QUIET_S >= 50 * SIZE * 8 / 1e6


@shaped(LinkShape(loss=0.3))
def test_the_packets_that_are_lost_are_those_of_the_seeded_links(bench: Bench) -> None:
    bench.send("a", "b", 100)
    up, down = Link(LinkShape(loss=0.3), 0), Link(LinkShape(loss=0.3), 3)
    passed = [number for number in range(100) if not isinstance(up.admit(SIZE, 0.0), Drop)]
    assert bench.heard("b") == [number for number in passed if not isinstance(down.admit(SIZE, 0.0), Drop)]


@shaped(LinkShape(corrupt=1.0))
def test_corruption_flips_one_bit_a_link_behind_the_ip_header(bench: Bench) -> None:
    bench.send("a", "b", 20)
    found = bench.packets("b")
    assert len(found) == 20
    for number, packet in enumerate(found):
        flipped = int.from_bytes(packet[20:]) ^ int.from_bytes(number.to_bytes(4) + bytes(SIZE - 24))
        assert flipped.bit_count() in (0, 2)  # two links; the second may flip the first's bit back
    assert bench.count("hub>b") == (20, 0, {"corrupt": 20})


@shaped(LinkShape(duplicate=1.0))
def test_duplicates_multiply_from_link_to_link(bench: Bench) -> None:
    bench.send("a", "b", 3)
    assert sorted(bench.heard("b")) == sorted([0, 1, 2] * 4)


@shaped(LinkShape(rate_bps=1e5))
def test_a_new_rate_speeds_up_what_waits_and_loses_nothing(bench: Bench) -> None:
    bench.send("a", "b", 100)  # 0.8 s on each link
    time.sleep(0.05)
    with bench:
        retimed = bench.forwarding.shape(bench.links["a>hub"], LinkShape(), True, None)
        bench.forwarding.shape(bench.links["hub>b"], LinkShape(), True, None)
    assert 50 < retimed <= 100
    assert bench.heard("b") == list(range(100))


def test_a_link_that_is_down_drops_until_it_is_up_again(bench: Bench) -> None:
    bench.send("a", "b", 1)
    assert bench.heard("b") == [0]
    with bench:
        bench.forwarding.shape(bench.links["hub>b"], LinkShape(), False, None)
    bench.send("a", "b", 3)
    assert bench.heard("b") == []
    assert bench.count("hub>b") == (4, 1, {"down": 3})
    with bench:
        bench.forwarding.shape(bench.links["hub>b"], LinkShape(), True, None)
    bench.send("a", "b", 2)
    assert bench.heard("b") == [0, 1]


def test_a_block_is_one_way_and_heals(bench: Bench) -> None:
    with bench:
        bench.forwarding.block(frozenset({("a", "b")}))
    bench.send("a", "b", 3)
    bench.send("b", "a", 2)
    bench.send("a", "c", 1)
    assert (bench.heard("b"), bench.heard("a"), bench.heard("c")) == ([], [0, 1], [0])
    assert bench.count("a>hub") == (4, 1, {"partition": 3})
    with bench:
        bench.forwarding.block(frozenset())
    bench.send("a", "b", 2)
    assert bench.heard("b") == [0, 1]


@shaped(LinkShape(delay_s=0.1))
def test_a_block_catches_what_is_under_way(bench: Bench) -> None:
    bench.send("a", "b", 4)
    time.sleep(0.02)
    with bench:
        bench.forwarding.block(frozenset({("a", "b")}))
    time.sleep(0.1)
    assert bench.heard("b") == []
    assert bench.count("a>hub") == (4, 0, {"partition": 4})


def test_packets_to_nobody_and_other_protocols_are_counted_and_dropped(bench: Bench) -> None:
    ADDRESS["nobody"] = "10.0.0.77"
    bench.send("a", "nobody", 2)
    bench.nodes["a"].send(b"\x60" + bytes(60))
    bench.nodes["a"].send(b"\x45")
    bench.send("a", "b")
    assert bench.heard("b") == [0]
    assert bench.forwarding.no_route_packets == 4


def test_a_node_that_comes_back_gets_a_new_device_and_keeps_its_traffic(bench: Bench) -> None:
    bench.send("a", "b", 2)
    assert bench.heard("b") == [0, 1]
    with bench:
        old = bench.nodes["b"]
        bench.attach("b")
        old.close()
    bench.send("a", "b", 3)
    assert bench.heard("b") == [0, 1, 2]
    with bench:
        assert sum(received for _, _, received in bench.forwarding.traffic()["b"]) == 5 * SIZE


def test_a_node_that_takes_no_packets_costs_only_its_own(bench: Bench) -> None:
    bench.nodes["b"].shutdown(socket.SHUT_RD)
    bench.send("a", "b", 2)
    bench.send("a", "c", 2)
    assert bench.heard("c") == [0, 1]
    assert bench.forwarding.refused_packets == 2


def test_traffic_is_told_once_in_bins_since_the_epoch(bench: Bench) -> None:
    bench.send("a", "b", 5)
    assert len(bench.heard("b")) == 5
    with bench:
        bench.forwarding.begin(time.monotonic() - 10 * BIN_S)
    bench.send("a", "b", 2)
    assert len(bench.heard("b")) == 2
    with bench:
        traffic = bench.forwarding.traffic()
        assert bench.forwarding.traffic() == {}
    assert set(traffic) == {"a", "b"}
    assert sum(sent for _, sent, _ in traffic["a"]) == 2 * SIZE
    assert sum(received for _, _, received in traffic["b"]) == 2 * SIZE
    assert min(index for index, _, _ in traffic["a"]) >= 10


@shaped(LinkShape(delay_s=0.001))
def test_lateness_counts_each_delivery_that_had_to_wait(bench: Bench) -> None:
    bench.send("a", "b", 30)
    assert len(bench.heard("b")) == 30
    with bench:
        found = bench.forwarding.lateness.summary()
    assert found.packets == 30
    assert 0 < found.p50_s <= found.p99_s <= found.max_s


def test_percentiles_of_lateness_are_those_of_its_histogram() -> None:
    histogram = LatenessHistogram()
    for step in range(1000):
        histogram.steps[step] += 1
    histogram.max_s = 0.00999
    found = histogram.summary()
    assert found.packets == 1000
    assert (found.p50_s, found.p99_s) == pytest.approx((0.005, 0.0099))
    assert found.p999_s == pytest.approx(0.00999)
    assert LatenessHistogram().summary().max_s == 0.0


@given(st.lists(st.integers(1, 2**32 - 2), min_size=1, max_size=20, unique=True))
def test_a_covering_prefix_is_the_longest_that_holds_every_address_as_a_host(numbers: list[int]) -> None:
    addresses = [str(ipaddress.ip_address(number)) for number in numbers]

    def holds(prefix: int) -> bool:
        networks = {ipaddress.ip_network(f"{address}/{prefix}", strict=False) for address in addresses}
        if len(networks) != 1:
            return False
        edges = {networks.copy().pop().network_address, networks.pop().broadcast_address}
        return not edges & {ipaddress.ip_address(address) for address in addresses}

    fitting = [prefix for prefix in range(1, 31) if holds(prefix)]
    if fitting:
        assert covering_prefix(addresses) == max(fitting)
    else:
        with pytest.raises(ValueError, match="share no network"):
            covering_prefix(addresses)


def test_a_node_without_a_process_is_refused_by_name(tmp_path: Path) -> None:
    async def told() -> None:
        shaper = DelayLine()
        try:
            with pytest.raises(RunBrokeError, match=r"TUN device for node a \(pid 999999999, 10.0.0.1/30\).*doctor"):
                await shaper.open((), {"a": (999999999, "10.0.0.1")}, tmp_path / "fabric.log")
        finally:
            await shaper.close()
        with pytest.raises(RunBrokeError, match="not running"):
            await shaper.counters()

    asyncio.run(told())
