"""The plan's directed links on the virtual clock: trains of packets move along routes, one event a train and link.

The links are those of the emulation's fabric (`orchestrator.links.link.Link`); they are fed whole trains in place of
packets. A train is offered to a link when its first packet gets there, and takes its place in the queue as a whole.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from orchestrator.links.link import Link
from orchestrator.links.routes import Routes
from orchestrator.links.shape import LinkShape
from orchestrator.links.trace import Trace, load_trace
from orchestrator.plan import DirectedLink, Plan
from orchestrator.substrates.base import LinkCount

BINS_PER_S = 10


@dataclass(slots=True)
class Traffic:
    """IP bytes of one node by bin of 0.1 s."""

    sent: dict[int, int] = field(default_factory=dict)
    received: dict[int, int] = field(default_factory=dict)


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

    On arrival `packets` is how many are left, `first_s` and `last_s` when they arrive.
    """

    __slots__ = ("first_s", "handle", "hop", "last_bytes", "last_s", "packet_bytes", "packets", "route")

    route: Route
    handle: asyncio.TimerHandle | None

    def __init__(self, packets: int, packet_bytes: int, last_bytes: int) -> None:
        self.packets = packets
        self.packet_bytes = packet_bytes
        self.last_bytes = last_bytes
        self.hop = 0
        self.first_s = self.last_s = 0.0
        self.handle = None

    def arrived(self) -> None:
        """At `first_s`: the first packet is there, the last will be at `last_s`."""
        raise NotImplementedError

    def vanished(self) -> None:
        """Every packet was lost. The network knows at once; who sent it may act on this only as a timer would."""
        raise NotImplementedError

    def retimed(self) -> None:
        """After `arrived`: `last_s` has changed, because a link on the way was reshaped."""


class Network:
    """All links and routes of a plan."""

    def __init__(self, plan: Plan, loop: asyncio.AbstractEventLoop, now: Callable[[], float]) -> None:
        """`now`: seconds since the run began, for the bins; below 0 before it."""
        self.loop = loop
        self._now = now
        self._links = {link.id: Link(link.shape, link.seed, trace=_trace(link.shape)) for link in plan.links}
        self._routes = Routes(plan.links)
        self._found: dict[tuple[str, str], Route] = {}
        self._traffic = {node.name: Traffic() for node in plan.nodes}
        self._blocked: frozenset[tuple[str, str]] = frozenset()

    def route(self, source: str, target: str) -> Route:
        """The route of packets from one node to another; without links where there is no way."""
        pair = (source, target)
        if pair not in self._found:
            path = self._routes.path(source, target) or ()
            links = tuple(self._links[link.id] for link in path)
            self._found[pair] = Route(links, self._traffic[source], self._traffic[target], pair in self._blocked)
        return self._found[pair]

    def send(self, train: Train, route: Route) -> None:
        """Let a train set out on its way now."""
        train.route = route
        size_bytes = (train.packets - 1) * train.packet_bytes + train.last_bytes
        if route.blocked or not route.links:
            if route.links:
                for _ in range(train.packets - 1):
                    route.links[0].refuse(train.packet_bytes, "partition")
                route.links[0].refuse(train.last_bytes, "partition")
            self._count(route.source.sent, self._now(), self._now(), size_bytes)
            train.vanished()
            return
        self._enter(train, size_bytes)

    def _enter(self, train: Train, sent_bytes: int = 0) -> None:
        """Offer a train to its next link; `sent_bytes` where that is the first."""
        route = train.route
        link = route.links[train.hop]
        now_s = self.loop.time()
        result = link.admit_train(train.packets, train.packet_bytes, train.last_bytes, now_s, train)
        if sent_bytes:
            since_s = now_s - self._now()
            left_s = result.last_arrival_s - link.shape.delay_s if result.delivered_packets else now_s
            self._count(route.source.sent, now_s - since_s, left_s - since_s, sent_bytes)
        if not result.delivered_packets:
            train.vanished()
            return
        if result.delivered_packets != train.packets:
            train.packets = result.delivered_packets
        last_s = result.last_arrival_s
        if train.hop:  # the last packet cannot leave before it came
            shape = link.shape
            alone_s = train.last_bytes * 8 / shape.rate_bps if shape.rate_bps else 0.0
            last_s = max(last_s, train.last_s + alone_s + shape.delay_s)
        train.first_s, train.last_s = result.first_arrival_s, last_s
        train.hop += 1
        step = self._enter if train.hop < len(route.links) else self._arrive
        train.handle = self.loop.call_at(train.first_s, step, train)

    def _arrive(self, train: Train) -> None:
        train.handle = None
        size_bytes = (train.packets - 1) * train.packet_bytes + train.last_bytes
        now = self._now()
        self._count(train.route.target.received, now, now + train.last_s - train.first_s, size_bytes)
        train.arrived()

    def _count(self, bins: dict[int, int], first_s: float, last_s: float, size_bytes: int) -> None:
        """Spread bytes evenly over the bins between two instants."""
        first, last = int(first_s * BINS_PER_S), int(last_s * BINS_PER_S)
        if first == last:
            bins[first] = bins.get(first, 0) + size_bytes
            return
        span_s, spread = last_s - first_s, 0
        for index in range(first, last + 1):
            until = round(size_bytes * min(1.0, ((index + 1) / BINS_PER_S - first_s) / span_s))
            if until > spread:
                bins[index] = bins.get(index, 0) + until - spread
                spread = until

    def reshape(self, link: DirectedLink, shape: LinkShape, *, up: bool) -> Link:
        """Change a link now; trains under way get their new times."""
        changed = self._links[link.id]
        now_s = self.loop.time()
        for train, times in changed.reshape(shape, now_s, up=up, trace=_trace(shape)).items():
            if isinstance(train, Train):
                self._retime(train, changed, max(times), now_s)
        return changed

    def _retime(self, train: Train, link: Link, last_s: float, now_s: float) -> None:
        """A train that is still in this link arrives earlier or later; its first packet in proportion."""
        if train.route.links[train.hop - 1] is not link or last_s == train.last_s:
            return
        if train.handle is None:
            train.last_s = last_s
            train.retimed()
            return
        left_s = train.last_s - now_s
        scale = (last_s - now_s) / left_s if left_s > 0 else 1.0
        train.first_s = now_s + (train.first_s - now_s) * scale
        train.last_s = last_s
        step = self._enter if train.hop < len(train.route.links) else self._arrive
        train.handle.cancel()
        train.handle = self.loop.call_at(train.first_s, step, train)

    def block(self, pairs: frozenset[tuple[str, str]]) -> None:
        """From now on exactly these pairs hear nothing; packets that have set out still arrive."""
        self._blocked = pairs
        for pair, route in self._found.items():
            route.blocked = pair in pairs

    def begin(self) -> None:
        """The run begins now: traces start."""
        for link in self._links.values():
            link.begin(self.loop.time())

    def counts(self) -> dict[str, LinkCount]:
        """Counters of every link, by id."""
        return {name: link.count() for name, link in self._links.items()}

    def traffic(self) -> dict[str, list[tuple[int, int, int]]]:
        """Per node: (bin, bytes sent, bytes received), bins with traffic since the run began."""
        return {name: _rows(traffic) for name, traffic in self._traffic.items()}


def _rows(traffic: Traffic) -> list[tuple[int, int, int]]:
    sent, received = traffic.sent, traffic.received
    bins: Iterable[int] = sorted(index for index in sent.keys() | received.keys() if index >= 0)
    return [(index, sent.get(index, 0), received.get(index, 0)) for index in bins]


def _trace(shape: LinkShape) -> Trace | None:
    return load_trace(shape.trace) if shape.trace is not None else None
