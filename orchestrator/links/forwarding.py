"""Forwarding: the fabric's hot loop, from a node's TUN device along the directed links to another's.

    read -> destination -> way -> [link: admit -> heap, ordered by (arrival, sequence) -> arrive] for each -> write

A packet that has arrived is handed to its next link at the instant at which it was due, not at which we woke: lateness
does not add up along a way, and a shared link sees packets in the order of their arithmetic. A way whose links
all do nothing is one read and one write. No clock but time.monotonic, in seconds of the run: where that is slowed,
shapes, traces, bins and lateness keep their figures, and the clock alone runs slower. Nothing here waits but the poll.
"""

import errno
import os
import select
from collections.abc import Callable
from dataclasses import replace
from heapq import heapify, heappop, heappush
from math import inf
from random import Random
from socket import inet_aton
from time import monotonic, sleep

from orchestrator.links.lateness import STEP_S, STEPS, LatenessHistogram
from orchestrator.links.link import Drop, Link
from orchestrator.links.routes import Routes
from orchestrator.links.shape import LinkShape
from orchestrator.links.timer import Timer
from orchestrator.links.trace import Trace
from orchestrator.links.tun import End
from orchestrator.plan import DirectedLink
from orchestrator.substrates.base import LinkCount

BATCH = 64  # packets read from one node at most before others have their turn
LARGEST_PACKET = 65536
# A tunnel to a board says so when a datagram did not get there; the next one may.
UNREACHED = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN})
BIN_S = 0.1
# The kernel stops a real-time process that never sleeps for 50 ms of every second. So in every window we rest this long
# in all: in the waits for packets or, if there were none, by sleeping. Late by half a millisecond, and not by fifty.
WINDOW_S, REST_S, SHORTEST_REST_S = 0.01, 0.0006, 2e-5


class Station:
    """A node as the fabric sees it: its device, its ways to others, and its bytes by time."""

    __slots__ = ("batch", "bins", "fd", "name", "received_bytes", "sent_bytes", "tun", "ways")

    def __init__(self, name: str, tun: End) -> None:
        self.name = name
        self.tun = tun
        self.fd = tun.fd
        self.batch = 1  # how many packets to read next: more as long as there are more
        self.ways: dict[bytes, Way] = {}  # by destination address
        self.sent_bytes = self.received_bytes = 0  # in the present bin
        self.bins: list[tuple[int, int, int]] = []


class Way:
    """From one node to another. Packets that went straight through are counted here until `fold`."""

    __slots__ = ("blocked", "clear_from_s", "links", "packets", "pair", "size_bytes", "target")

    def __init__(self, pair: tuple[str, str], links: tuple[Link, ...], target: Station) -> None:
        self.pair = pair
        self.links = links
        self.target = target
        self.blocked = False
        self.clear_from_s = inf
        self.packets = self.size_bytes = 0

    def refresh(self) -> None:
        """Find out anew from when on every link of the way does nothing."""
        self.clear_from_s = inf if self.blocked else max(link.clear_from_s() for link in self.links)

    def fold(self) -> None:
        """Book what went straight through on the links."""
        for link in self.links:
            link.passed(self.packets, self.size_bytes)
        self.packets = self.size_bytes = 0


class Forwarding:
    """All nodes and links of a run, and the loop that moves their packets.

    `slow_down`: real seconds in one of the run's (node_image.clock).
    """

    def __init__(self, slow_down: float = 1.0) -> None:
        self.running = True
        self._slow_down = slow_down
        self._now = monotonic if slow_down == 1 else lambda: monotonic() / slow_down
        self.links: dict[str, Link] = {}
        self.stations: dict[str, Station] = {}
        self.lateness = LatenessHistogram()
        self.no_route_packets = 0  # to an address that nobody has, or that cannot be reached
        self.refused_packets = 0  # that the node's device did not take
        self._routes = Routes(())
        self._by_address: dict[bytes, Station] = {}
        self._by_fd: dict[int, Station] = {}
        self.blocked: frozenset[tuple[str, str]] = frozenset()
        self._heap: list[tuple[float, int, int, Way, bytes]] = []  # due, sequence, hop, way, packet
        self._sequence = 0  # even; a duplicate has the odd number behind its original's
        self._bits = Random(0)  # which bit of a corrupted packet is flipped
        self._epoch_s = self._now()
        self._bin = 0
        self._bin_ends_s = self._epoch_s + BIN_S
        self._timer = Timer(slow_down)
        self._epoll = select.epoll()
        self._epoll.register(self._timer.fd, select.EPOLLIN)

    def lay(self, planned: tuple[DirectedLink, ...], links: dict[str, Link]) -> None:
        """Lay the links of a plan, once, before any node is attached."""
        self._routes = Routes(planned)
        self.links = links

    def attach(self, name: str, address: str, tun: End) -> None:
        """Add a node, or give a node that came back its new device (with the address it had)."""
        station = self.stations.get(name)
        if station is None:
            station = self.stations[name] = self._by_address[inet_aton(address)] = Station(name, tun)
        else:
            self._mute(station)
            station.tun.close()
            station.tun, station.fd = tun, tun.fd
        self._by_fd[tun.fd] = station
        self._epoll.register(tun.fd, select.EPOLLIN)

    def _mute(self, station: Station) -> None:
        """Read nothing more from this node's device."""
        if self._by_fd.pop(station.fd, None) is not None:
            self._epoll.unregister(station.fd)

    def close(self) -> None:
        """Close what it waits with; the devices belong to whoever opened them."""
        self._epoll.close()
        self._timer.close()

    def begin(self, epoch_s: float) -> None:
        """The run begins at this instant of the monotonic clock: traces, bins and lateness count from there."""
        epoch_s /= self._slow_down
        for link in self.links.values():
            link.begin(epoch_s)
        for station in self.stations.values():
            station.sent_bytes = station.received_bytes = 0
            station.bins.clear()
        self._epoch_s = epoch_s
        self._open_bin(self._now())
        self.lateness = LatenessHistogram()

    def shape(self, link: Link, shape: LinkShape, up: bool, trace: Trace | None) -> int:
        """Change a link; returns how many packets were re-timed. None is lost."""
        self._fold()
        retimed = link.reshape(shape, self._now(), up=up, trace=trace)
        if retimed:
            for index, (_, sequence, hop, way, packet) in enumerate(self._heap):
                arrivals = retimed.get(sequence & ~1)
                if arrivals is not None:
                    self._heap[index] = (arrivals[0], sequence, hop, way, packet)
            heapify(self._heap)
        self._refresh()
        return len(retimed)

    def block(self, pairs: frozenset[tuple[str, str]]) -> None:
        """From now on exactly these (source, target) nodes hear nothing, packets under way included."""
        self.blocked = pairs
        self._fold()
        self._refresh()

    def traffic(self) -> dict[str, list[tuple[int, int, int]]]:
        """Per node its (bin, bytes sent, bytes received) since last asked."""
        self._open_bin(self._now())
        found = {}
        for name, station in self.stations.items():
            if station.bins:
                found[name] = station.bins
                station.bins = []
        return found

    def counted(self) -> dict[str, LinkCount]:
        """Counters of all links, up to date, with what is in flight on each: what the heap holds."""
        self._fold()
        held: dict[Link, tuple[int, int]] = {}
        for _, sequence, hop, way, packet in self._heap:
            if not sequence & 1:  # else it is a duplicate
                packets, size_bytes = held.get(way.links[hop], (0, 0))
                held[way.links[hop]] = (packets + 1, size_bytes + len(packet))
        found = {}
        for name, link in self.links.items():
            packets, size_bytes = held.get(link, (0, 0))
            found[name] = replace(link.count(), in_flight_packets=packets, in_flight_bytes=size_bytes)
        return found

    def _fold(self) -> None:
        for station in self.stations.values():
            for way in station.ways.values():
                if way.packets:
                    way.fold()

    def _refresh(self) -> None:
        for station in self.stations.values():
            for way in station.ways.values():
                way.blocked = way.pair in self.blocked
                way.refresh()

    def _open_bin(self, now_s: float) -> None:
        """Close the present bin and open the one of now; what came before the epoch is forgotten."""
        for station in self.stations.values():
            if station.sent_bytes or station.received_bytes:
                if self._bin >= 0:
                    station.bins.append((self._bin, station.sent_bytes, station.received_bytes))
                station.sent_bytes = station.received_bytes = 0
        self._bin = int((now_s - self._epoch_s) // BIN_S)
        self._bin_ends_s = self._epoch_s + (self._bin + 1) * BIN_S

    def watch(self, fd: int, events: int) -> None:
        """Also wait for these epoll events of another file; `run` reports them to its `on_other`."""
        self._epoll.register(fd, events)

    def unwatch(self, fd: int) -> None:
        """No longer wait for it."""
        self._epoll.unregister(fd)

    def run(self, on_other: Callable[[int], None]) -> None:
        """Move packets until `running` is false; `on_other` is called with the number of each watched file."""
        poll, heap, stations, timer, now = self._epoll.poll, self._heap, self._by_fd, self._timer, self._now
        slow_down = self._slow_down  # rests are for the kernel, in real time
        window_s, rest_s, shortest_s = WINDOW_S / slow_down, REST_S / slow_down, SHORTEST_REST_S / slow_down
        armed_s = rested_s = window_ends_s = 0.0
        while self.running:
            due_s = heap[0][0] if heap else 0.0
            if due_s != armed_s:
                timer.set(due_s)
                armed_s = due_s
            before_s = now()
            ready = poll()
            now_s = now()
            if now_s - before_s > shortest_s:
                rested_s += now_s - before_s
            if now_s >= window_ends_s:
                if rested_s < rest_s:
                    sleep((rest_s - rested_s) * slow_down)
                    now_s = now()
                rested_s, window_ends_s = 0.0, now_s + window_s
            if now_s >= self._bin_ends_s:
                self._open_bin(now_s)
            if heap and heap[0][0] <= now_s:
                self._deliver(now_s)  # what is due goes before what has just come
            for fd, _ in ready:
                station = stations.get(fd)
                if station is not None:
                    self._fetch(station)
                elif fd != timer.fd:
                    on_other(fd)

    def _fetch(self, station: Station) -> None:
        """Read what a node has sent and set it on its way."""
        fd, ways, read, write, now = station.fd, station.ways, os.read, os.write, self._now
        sent_bytes = 0
        try:
            for _ in range(station.batch):
                packet = read(fd, LARGEST_PACKET)
                now_s = now()
                size_bytes = len(packet)
                sent_bytes += size_bytes
                way = ways.get(packet[16:20]) or self._find(station, packet)
                if way is None:
                    self.no_route_packets += 1
                elif way.clear_from_s <= now_s:
                    way.packets += 1
                    way.size_bytes += size_bytes
                    target = way.target
                    try:
                        write(target.fd, packet)
                        target.received_bytes += size_bytes
                    except OSError:
                        self.refused_packets += 1
                elif way.blocked:
                    way.links[0].refuse(size_bytes, "partition")
                else:
                    self._send(way, 0, now_s, packet)
            station.batch = min(BATCH, 4 * station.batch)
        except BlockingIOError:  # nothing more to read
            station.batch = 1
        except OSError as error:
            if error.errno not in UNREACHED:  # the node has deleted its device
                self._mute(station)
        station.sent_bytes += sent_bytes

    def _find(self, station: Station, packet: bytes) -> Way | None:
        """The way of a packet, remembered for the next one to this address."""
        address = packet[16:20]
        target = self._by_address.get(address)
        if target is None or packet[0] >> 4 != 4:
            return None
        path = self._routes.path(station.name, target.name)
        if not path:
            return None
        way = Way((station.name, target.name), tuple(self.links[link.id] for link in path), target)
        way.blocked = way.pair in self.blocked
        way.refresh()
        station.ways[address] = way
        return way

    def _send(self, way: Way, hop: int, at_s: float, packet: bytes) -> None:
        """Offer a packet to its links from this hop on, at the instant at which it gets there."""
        links = way.links
        size_bytes = len(packet)
        while hop < len(links):
            self._sequence += 2
            sequence = self._sequence
            arrivals = links[hop].admit(size_bytes, at_s, sequence)
            if isinstance(arrivals, Drop):
                return
            if arrivals[0] > at_s or len(arrivals) > 1:
                heappush(self._heap, (arrivals[0], sequence, hop, way, packet))
                if len(arrivals) > 1:
                    heappush(self._heap, (arrivals[1], sequence + 1, hop, way, packet))
                return
            if not links[hop].arrive(size_bytes):
                packet = self._corrupted(packet)
            hop += 1
        self._write(way.target, packet)

    def _deliver(self, now_s: float) -> None:
        """Bring every packet that is due by now to its next link, or to its node."""
        heap, now = self._heap, self._now
        while heap and heap[0][0] <= now_s:
            due_s, sequence, hop, way, packet = heappop(heap)
            if way.blocked:
                way.links[hop].lose(len(packet), "partition", copy=bool(sequence & 1))
                continue
            if not sequence & 1 and not way.links[hop].arrive(len(packet)):
                packet = self._corrupted(packet)
            hop += 1
            if hop < len(way.links):
                self._send(way, hop, due_s, packet)
                continue
            late_s = now() - due_s
            lateness = self.lateness
            lateness.steps[min(int(late_s / STEP_S), STEPS)] += 1
            if late_s > lateness.max_s:
                lateness.max_s = late_s
            self._write(way.target, packet)

    def _write(self, station: Station, packet: bytes) -> None:
        try:
            os.write(station.fd, packet)
        except OSError:  # its namespace is gone, or its queue is full
            self.refused_packets += 1
        else:
            station.received_bytes += len(packet)

    def _corrupted(self, packet: bytes) -> bytes:
        """The packet with one bit flipped behind the IP header: the receiver's checksum will reject it."""
        header = (packet[0] & 15) * 4
        if len(packet) <= header:
            return packet
        flipped = bytearray(packet)
        flipped[self._bits.randrange(header, len(packet))] ^= 1 << self._bits.randrange(8)
        return bytes(flipped)
