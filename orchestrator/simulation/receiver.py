"""The receiving half of a TCP stream: puts segments in order, delivers messages, acknowledges."""

from collections import deque
from typing import TYPE_CHECKING

from orchestrator.simulation.congestion import RTO_MIN_S
from orchestrator.simulation.flight import Acks, Flight
from orchestrator.simulation.network import Network, Route

if TYPE_CHECKING:
    from orchestrator.simulation.transport import Stream

QUICK_ACKS = 16  # segments acknowledged one by one after a beginning or a pause


class Receiver:
    """Delivers each item with its last byte, in order and once. `back`: the way of acknowledgements."""

    __slots__ = ("_back", "_end", "_incoming", "_items", "_last_arrival_s", "_loop", "_network", "_odd", "_quick",
                 "_stream", "is_open")  # fmt: skip

    def __init__(self, stream: "Stream", network: Network, back: Route) -> None:
        self.is_open = True
        self._stream = stream
        self._network = network
        self._loop = network.loop
        self._back = back
        self._incoming: deque[Flight] = deque()
        self._items: deque[tuple[int, object]] = deque()  # (offset behind its last byte, item)
        self._end = 0  # offset behind all that was written
        self._quick = QUICK_ACKS
        self._odd = 0
        self._last_arrival_s = self._loop.now

    def expect_item(self, end: int, item: object) -> None:
        """The sender has written an item that ends before this offset."""
        self._end = end
        self._items.append((end, item))

    def undelivered(self) -> list[object]:
        """What was written and has not been delivered."""
        return [item for _, item in self._items]

    def expect_flight(self, flight: Flight) -> None:
        """The sender has sent segments for the first time."""
        self._incoming.append(flight)

    def arrived(self, flight: Flight) -> None:
        """Segments come in from now until `flight.last_s`."""
        if not self.is_open:
            self._stream.ends.refused(self._stream)
            self._stream.unanswered(flight)  # the reset that goes back may be lost: then it is sent again in time
            return
        self._stream.ends.heard(self._stream, at_sender=False)
        now_s = self._loop.now
        flight.delivered = flight.packets
        original = flight.original or flight
        if original.missing:
            original.missing = max(0, original.missing - flight.packets)
            if not original.missing:
                original.complete_s = flight.last_s
                self._complete_at(flight.last_s)
        idle_s = now_s - self._last_arrival_s
        if idle_s > RTO_MIN_S and idle_s > self._stream.window.rto_s:
            self._quick = QUICK_ACKS
        self._last_arrival_s = flight.last_s
        self._acknowledge(flight, now_s)

    def completes(self, flight: Flight) -> None:
        """The last segment of a flight that is coming in will be there at another time than was thought."""
        original = flight.original or flight
        if not original.missing and original.complete_s > self._loop.now:
            original.complete_s = flight.last_s
            self._complete_at(flight.last_s)

    def _complete_at(self, when_s: float) -> None:
        if when_s > self._loop.now:
            self._loop.schedule(when_s, Receiver._complete, self)
        else:
            self._complete()

    def _complete(self) -> None:
        """Deliver what has come without a gap."""
        now_s = self._loop.now
        incoming, items = self._incoming, self._items
        while incoming and not incoming[0].missing and incoming[0].complete_s <= now_s:
            end = incoming.popleft().end
            while items and items[0][0] <= end and self.is_open:
                self._stream.ends.delivered(self._stream, items.popleft()[1])

    def _acknowledge(self, flight: Flight, now_s: float) -> None:
        packets = flight.packets
        quick = min(self._quick, packets)
        self._quick -= quick
        pairs, self._odd = divmod(packets - quick + self._odd, 2)
        is_end = flight.end == self._end
        if self._odd and (is_end or not quick + pairs):
            pairs, self._odd = pairs + 1, 0  # a reader that has taken all, or a sender that waits
        acks = Acks(quick + pairs, flight)
        if packets > 1:
            flight.spacing_s = (flight.last_s - now_s) / (packets - 1)
        if flight.spacing_s > 0.0 and not quick:
            self._loop.schedule(now_s + flight.spacing_s, self._send_acks, acks)
        else:
            self._send_acks(acks)

    def _send_acks(self, acks: Acks) -> None:
        self._network.send(acks, self._back)
