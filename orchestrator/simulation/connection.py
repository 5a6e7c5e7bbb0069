"""A TCP connection on the virtual clock: opened by a handshake, kept alive, broken by a reset or by silence.

    dialer ---- SYN ----> listener        60 bytes each, then an acknowledgement of 52
    dialer <-- SYN-ACK -- listener        (or a reset of 40: nobody listens)

Idle ends probe each other every 30 s, as the sockets of `node_image.connection` are told to: 52 bytes, and 52 back.
While all is well those packets are only counted, not simulated; they become events when a link of the way goes down,
a partition cuts it, or the other end has closed without being heard.
"""

import asyncio
from collections.abc import Callable
from random import Random

from node_image.connection import KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S
from orchestrator.links.link import Link
from orchestrator.simulation.flight import HEADER_BYTES
from orchestrator.simulation.network import Network, Route, Train
from orchestrator.simulation.transport import USER_TIMEOUT_S, Ends, Stream

SYN_BYTES = 60
RESET_BYTES = 40
SYN_AGAIN_S = 1.0


class Packet(Train):
    """One packet that carries no data, and what it brings about where it arrives."""

    __slots__ = ("_on_arrival",)

    def __init__(self, size_bytes: int, on_arrival: Callable[[], None]) -> None:
        super().__init__(1, size_bytes, size_bytes)
        self._on_arrival = on_arrival

    def arrived(self) -> None:
        """It is there."""
        self._on_arrival()


class End:
    """One end of a connection, held by a node. `on_item` gets what was sent to it, `on_lost` is called once."""

    __slots__ = ("_connection", "_keepalive", "_probes", "heard_s", "incoming", "is_open", "name", "on_item", "on_lost",
                 "outgoing", "route")  # fmt: skip

    outgoing: Stream
    incoming: Stream

    def __init__(self, connection: "Connection", name: str, route: Route) -> None:
        self._connection = connection
        self.name = name  # of the node
        self.route = route  # to the other end
        self.is_open = True
        self.heard_s = connection.network.loop.now
        self.on_item: Callable[[object], None] = _ignore
        self.on_lost: Callable[[], None] = _nothing
        self._keepalive: asyncio.TimerHandle | None = None
        self._probes = 0

    @property
    def rtt_s(self) -> float:
        """Round-trip time as TCP measures it, smoothed."""
        return self.outgoing.window.srtt_s

    def close(self) -> None:
        """Close this end, and tell the other with a packet that may be lost."""
        self._end(HEADER_BYTES)

    def reset(self) -> None:
        """As `close`, by a reset."""
        self._end(RESET_BYTES)

    def _end(self, size_bytes: int) -> None:
        if self.is_open:
            self._shut()
            other = self._connection.other(self)
            self._connection.network.send(Packet(size_bytes, other.lose), self.route)

    def lose(self) -> None:
        """The connection is gone: a reset came, or nothing for too long."""
        if self.is_open:
            self._shut()
            self.on_lost()

    def _shut(self) -> None:
        self.settle()
        self.is_open = False
        self.outgoing.close()
        self.incoming.receiver.is_open = False
        if self._keepalive is not None:
            self._keepalive.cancel()
            self._keepalive = None
        self._connection.other(self).watch()  # it finds out by itself, should it be told nothing
        self._connection.closed()

    def heard(self, now_s: float) -> None:
        """A packet came in."""
        if now_s - self.heard_s > KEEPALIVE_IDLE_S:
            self.settle()
        self.heard_s = now_s
        self._probes = 0

    def settle(self) -> None:
        """Count the probes that went unsimulated since the end last heard anything."""
        if not self.is_open or self._keepalive is not None:
            return
        network = self._connection.network
        period_s = KEEPALIVE_IDLE_S + self.rtt_s
        probes = int((network.loop.now - self.heard_s) / period_s)
        if probes <= 0:
            return
        back = self._connection.other(self).route
        for link in self.route.links + back.links:
            link.passed(probes, probes * HEADER_BYTES)
        for probe in range(probes):
            at_s = self.heard_s + KEEPALIVE_IDLE_S + probe * period_s
            there_s, answered_s = at_s + self.rtt_s / 2, at_s + self.rtt_s
            network.count(self.route.source.sent, at_s, at_s, HEADER_BYTES)
            network.count(self.route.target.received, there_s, there_s, HEADER_BYTES)
            network.count(back.source.sent, there_s, there_s, HEADER_BYTES)
            network.count(back.target.received, answered_s, answered_s, HEADER_BYTES)
        self.heard_s += probes * period_s

    def watch(self) -> None:
        """Simulate probes from now on, until all is well again."""
        if self.is_open and self._keepalive is None:
            self.settle()
            self._again_at(self.heard_s + KEEPALIVE_IDLE_S)

    def _again_at(self, when_s: float) -> None:
        loop = self._connection.network.loop
        self._keepalive = loop.call_at(max(when_s, loop.now), self._probe)

    def _probe(self) -> None:
        connection = self._connection
        now_s = connection.network.loop.now
        silent_s = now_s - self.heard_s
        if silent_s < KEEPALIVE_IDLE_S or self.outgoing.is_waiting:
            self._keepalive = None
            if not connection.is_well():
                self._again_at(max(self.heard_s + KEEPALIVE_IDLE_S, now_s + KEEPALIVE_INTERVAL_S))
        elif self._probes and silent_s >= USER_TIMEOUT_S:
            self.lose()
        else:
            self._probes += 1
            self._again_at(now_s + KEEPALIVE_INTERVAL_S)
            connection.network.send(Packet(HEADER_BYTES, self._probed), self.route)

    def _probed(self) -> None:
        """At the other end: it answers, or knows nothing of the connection."""
        connection, other = self._connection, self._connection.other(self)
        if other.is_open:
            answer = Packet(HEADER_BYTES, lambda: self.heard(connection.network.loop.now))
        else:
            answer = Packet(RESET_BYTES, self.lose)
        connection.network.send(answer, other.route)


class Connection(Ends):
    """Two ends and a stream each way. `on_closed` is called once both ends have closed."""

    __slots__ = ("_on_closed", "dialer", "listener", "network")

    def __init__(
        self,
        network: Network,
        names: tuple[str, str],
        routes: tuple[Route, Route],
        rtt_s: float,
        rng: Random,
        on_closed: Callable[["Connection"], None],
    ) -> None:
        """`names` and `routes`: dialer first; `rtt_s`: what the handshake measured."""
        self.network = network
        self._on_closed = on_closed
        there, back = routes
        self.dialer, self.listener = End(self, names[0], there), End(self, names[1], back)
        forward = Stream(network, there, back, self, rtt_s, rng)
        backward = Stream(network, back, there, self, rtt_s, rng)
        self.dialer.outgoing = self.listener.incoming = forward
        self.listener.outgoing = self.dialer.incoming = backward

    def other(self, end: End) -> End:
        """The end that is not this one."""
        return self.listener if end is self.dialer else self.dialer

    def is_well(self) -> bool:
        """Whether probes would be answered."""
        ends = (self.dialer, self.listener)
        return all(end.is_open and end.route.is_open() for end in ends)

    def goes_through(self, link: Link) -> bool:
        """Whether packets of it, either way, pass this link."""
        return link in self.dialer.route.links or link in self.listener.route.links

    def look_after(self) -> None:
        """The network has changed: from now on simulate probes if they may go unanswered."""
        for end in (self.dialer, self.listener):
            if not self.is_well():
                end.watch()

    def settle(self) -> None:
        """Count the probes that went unsimulated so far."""
        self.dialer.settle()
        self.listener.settle()

    def closed(self) -> None:
        """One end has closed."""
        if not (self.dialer.is_open or self.listener.is_open):
            self._on_closed(self)

    def delivered(self, stream: Stream, item: object) -> None:
        """Hand an item to the receiving end."""
        self._receiver(stream).on_item(item)

    def refused(self, stream: Stream) -> None:
        """The receiving end is closed: a reset goes back."""
        receiver = self._receiver(stream)
        self.network.send(Packet(RESET_BYTES, self.other(receiver).lose), receiver.route)

    def silent(self, stream: Stream) -> None:
        """The sending end gives up."""
        self.other(self._receiver(stream)).lose()

    def heard(self, stream: Stream, at_sender: bool) -> None:
        """Whoever heard has no need to probe."""
        receiver = self._receiver(stream)
        (self.other(receiver) if at_sender else receiver).heard(self.network.loop.now)

    def _receiver(self, stream: Stream) -> End:
        return self.listener if stream is self.dialer.outgoing else self.dialer


async def dial(network: Network, routes: tuple[Route, Route], listening: Callable[[], bool]) -> float | None:
    """Shake hands; the round-trip time, or None when nobody listens. The caller keeps the deadline.

    `listening()` is asked when the SYN arrives.
    """
    loop = network.loop
    there, back = routes
    answer: asyncio.Future[bool] = loop.create_future()

    def answered(accepted: bool) -> None:
        if not answer.done():
            answer.set_result(accepted)

    def syn_arrived() -> None:
        accepted = listening()
        network.send(Packet(SYN_BYTES if accepted else RESET_BYTES, lambda: answered(accepted)), back)

    sent_s = loop.now
    network.send(Packet(SYN_BYTES, syn_arrived), there)
    again = loop.call_later(SYN_AGAIN_S, lambda: network.send(Packet(SYN_BYTES, syn_arrived), there))
    try:
        accepted = await answer
    finally:
        again.cancel()
    if not accepted:
        return None
    network.send(Packet(HEADER_BYTES, _nothing), there)
    return loop.now - sent_s


def _nothing() -> None:
    """The acknowledgement that ends a handshake: only its bytes matter."""


def _ignore(item: object) -> None:
    """What comes to an end that nobody holds yet."""
