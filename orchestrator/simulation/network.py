"""The plan's directed links on the virtual clock: trains of packets move along routes, one event a train and link.

The links are those of the emulation's fabric (`orchestrator.links.link.Link`); they are fed whole trains in place of
packets. A train is offered to a link when its first packet gets there, and takes its place in the queue as a whole.
"""

from bisect import bisect_left
from dataclasses import dataclass, field, replace

from orchestrator.links.link import Link
from orchestrator.links.routes import Routes
from orchestrator.links.shape import LinkShape
from orchestrator.links.trace import Trace, load_trace
from orchestrator.plan import DirectedLink, Plan
from orchestrator.simulation.virtual_time import Step, VirtualTimeLoop
from orchestrator.substrates.base import LinkCount

BINS_PER_S = 10


@dataclass(slots=True)
class Bins:
    """IP bytes by bin of 0.1 s since the run began, and the bins that have changed since somebody looked."""

    held: dict[int, int] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)

    def add(self, index: int, size_bytes: int) -> None:
        """Count bytes in a bin."""
        self.held[index] = self.held.get(index, 0) + size_bytes
        self.changed.add(index)


@dataclass(slots=True)
class Traffic:
    """What one node sent and received."""

    sent: Bins = field(default_factory=Bins)
    received: Bins = field(default_factory=Bins)
    _rows: list[tuple[int, int, int]] = field(default_factory=list)

    def rows(self) -> list[tuple[int, int, int]]:
        """(bin, bytes sent, bytes received), bins with traffic only.

        The list is brought up to date by every call, at the price of what is new: whoever keeps it must copy it.
        """
        changed = self.sent.changed | self.received.changed
        if changed:
            kept = bisect_left(self._rows, (min(changed),))
            changed.update(row[0] for row in self._rows[kept:])
            sent, received = self.sent.held, self.received.held
            self._rows[kept:] = [(each, sent.get(each, 0), received.get(each, 0)) for each in sorted(changed)]
            self.sent.changed.clear()
            self.received.changed.clear()
        return self._rows


@dataclass(slots=True)
class Route:
    """The way from one node to another. `blocked`: a partition refuses its packets at the first link."""

    links: tuple[Link, ...]
    source: Traffic
    target: Traffic
    blocked: bool = False

    def is_open(self) -> bool:
        """Whether packets that leave now would meet no partition and no link that is down."""
        return not self.blocked and bool(self.links) and all(link.up for link in self.links)


class Train:
    """Packets that travel together, sizes with their headers: all of `packet_bytes` but the last.

    On the way `packets` is how many are left, and `first_s`, `last_s` when they come to the end of the present link.
    """

    __slots__ = ("first_s", "handle", "hop", "last_bytes", "last_s", "packet_bytes", "packets", "route", "size_bytes")

    route: Route
    handle: Step | None  # the event at `first_s`

    def __init__(self, packets: int, packet_bytes: int, last_bytes: int) -> None:
        self.packets = packets
        self.packet_bytes = packet_bytes
        self.last_bytes = last_bytes
        self.size_bytes = (packets - 1) * packet_bytes + last_bytes  # all together
        self.hop = 0  # links entered
        self.first_s = self.last_s = 0.0
        self.handle = None

    def arrived(self) -> None:
        """At `first_s`: the first packet is at its end, the last will be at `last_s`."""
        raise NotImplementedError

    def vanished(self) -> None:
        """Every packet was lost. The network knows at once; the sender may act on it only as a timer of its would."""

    def retimed(self) -> None:
        """After `arrived`: `last_s` has changed, because the last link was reshaped."""


class Network:
    """All links and routes of a plan."""

    def __init__(self, plan: Plan, loop: VirtualTimeLoop) -> None:
        self.loop = loop
        self.epoch_s = 0.0  # when the run began, on the loop's clock
        self._links = {link.id: Link(link.shape, link.seed, trace=_trace(link.shape)) for link in plan.links}
        self._routes = Routes(plan.links)
        self._found: dict[tuple[str, str], Route] = {}
        self._traffic = {node.name: Traffic() for node in plan.nodes}
        self._blocked: frozenset[tuple[str, str]] = frozenset()

    def begin(self, at_s: float = 0.0) -> None:
        """It is this second of the run now: traces start at its beginning, and bins are counted from there."""
        self.epoch_s = self.loop.now - at_s
        for link in self._links.values():
            link.begin(self.epoch_s)

    def route(self, source: str, target: str) -> Route:
        """The way of packets from one node to another; without links where there is none."""
        pair = (source, target)
        if pair not in self._found:
            path = self._routes.path(source, target) or ()
            links = tuple(self._links[link.id] for link in path)
            self._found[pair] = Route(links, self._traffic[source], self._traffic[target], pair in self._blocked)
        return self._found[pair]

    def send(self, train: Train, route: Route) -> None:
        """Let a train set out now."""
        train.route = route
        if not route.links:
            train.vanished()
            return
        now_s = self.loop.now
        route.source.sent.add(int((now_s - self.epoch_s) * BINS_PER_S), train.size_bytes)
        self._enter(train)

    def _enter(self, train: Train) -> None:
        """Offer a train to its next link."""
        route, hop = train.route, train.hop
        link = route.links[hop]
        now_s = self.loop.now
        if route.blocked:
            for size_bytes in [train.packet_bytes] * (train.packets - 1) + [train.last_bytes]:
                link.refuse(size_bytes, "partition")
            train.vanished()
            return
        result = link.admit_train(train.packets, train.packet_bytes, train.last_bytes, now_s, train)
        packets, last_s = result.delivered_packets, result.last_arrival_s
        if packets == 0:
            train.vanished()
            return
        if packets != train.packets:
            train.packets, train.size_bytes = packets, result.delivered_bytes
            train.last_bytes = train.size_bytes - (packets - 1) * train.packet_bytes
        if hop:  # the last packet cannot leave before it has come
            shape = link.shape
            alone_s = train.last_bytes * 8 / shape.rate_bps if shape.rate_bps else 0.0
            last_s = max(last_s, train.last_s + alone_s + shape.delay_s)
        train.first_s, train.last_s = result.first_arrival_s, last_s
        train.hop = hop + 1
        step = self._enter if train.hop < len(route.links) else self._arrive
        train.handle = self.loop.schedule(train.first_s, step, train)

    def _arrive(self, train: Train) -> None:
        train.handle = None
        if train.route.blocked:
            train.route.links[-1].take_back(train.packets, train.size_bytes, "partition")
            train.vanished()
            return
        self.count(train.route.target.received, train.first_s, train.last_s, train.size_bytes)
        train.arrived()

    def count(self, bins: Bins, first_s: float, last_s: float, size_bytes: int) -> None:
        """Spread bytes evenly over the bins between two instants of the loop's clock."""
        begin, end = (first_s - self.epoch_s) * BINS_PER_S, (last_s - self.epoch_s) * BINS_PER_S
        first, last = int(begin), int(end)
        if first == last:
            bins.add(first, size_bytes)
            return
        done = 0
        for index in range(first, last + 1):
            until = round(size_bytes * min(1.0, (index + 1 - begin) / (end - begin)))
            if until > done:
                bins.add(index, until - done)
                done = until

    def reshape(self, planned: DirectedLink, shape: LinkShape, *, up: bool) -> Link:
        """Change a link now; trains that are still in it get new times. Returns the link as it is afterwards."""
        link = self._links[planned.id]
        now_s = self.loop.now
        for train, times in link.reshape(shape, now_s, up=up, trace=_trace(shape)).items():
            if isinstance(train, Train) and times[-1] != train.last_s:
                self._retime(train, link, times[-1], now_s)
        return link

    def _retime(self, train: Train, link: Link, last_s: float, now_s: float) -> None:
        if train.route.links[train.hop - 1] is not link:
            return  # its first packet is a link further, and the rest of it counts as gone there too
        left_s = train.last_s - now_s
        scale = (last_s - now_s) / left_s if left_s > 0.0 else 1.0
        train.last_s = last_s
        if train.handle is None:
            train.retimed()
            return
        train.first_s = now_s + max(0.0, train.first_s - now_s) * scale
        self.loop.cancel(train.handle)
        step = self._enter if train.hop < len(train.route.links) else self._arrive
        train.handle = self.loop.schedule(train.first_s, step, train)

    def block(self, pairs: frozenset[tuple[str, str]]) -> None:
        """From now on exactly these pairs hear nothing, packets under way included."""
        self._blocked = pairs
        for pair, route in self._found.items():
            route.blocked = pair in pairs

    def counts(self) -> dict[str, LinkCount]:
        """Counters of every link, by id. A train counts as arrived at once; until it has, it is in flight."""
        held: dict[Link, tuple[int, int]] = {}
        for step in self.loop.scheduled():
            train = step[3]
            if isinstance(train, Train) and train.handle is step:
                link = train.route.links[train.hop - 1]
                packets, size_bytes = held.get(link, (0, 0))
                held[link] = (packets + train.packets, size_bytes + train.size_bytes)
        return {name: _less(link.count(), *held.get(link, (0, 0))) for name, link in self._links.items()}

    def traffic(self) -> dict[str, list[tuple[int, int, int]]]:
        """Per node: (bin, bytes sent, bytes received), as `Traffic.rows`."""
        return {name: traffic.rows() for name, traffic in self._traffic.items()}


def _less(count: LinkCount, packets: int, size_bytes: int) -> LinkCount:
    return replace(
        count,
        delivered_packets=count.delivered_packets - packets,
        delivered_bytes=count.delivered_bytes - size_bytes,
        in_flight_packets=packets,
        in_flight_bytes=size_bytes,
    )


def _trace(shape: LinkShape) -> Trace | None:
    return load_trace(shape.trace) if shape.trace is not None else None
