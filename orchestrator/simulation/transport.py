"""TCP, flight by flight: one direction of a connection as trains of segments and the acknowledgements they earn.

As Linux does it: segments of 1448 bytes with 52 of headers, the window of `congestion.py`, an acknowledgement for
every segment at first and after a pause and for every second one otherwise, loss found by a later acknowledgement
(RACK), a probe for a lost tail, time-outs that double, and 5 s of silence after which the connection breaks.

What is simpler here: the first acknowledgement of a flight stands for all of its, so what it releases leaves a little
early and a queue holds up to a flight more than in truth. A flight is all that is left to send where the window lets
it through, else 4 segments or a sixteenth of the window. No acknowledgement is delayed by 40 ms or rides on data, no
time-out is spurious, and no receiver's buffer is ever full.

Beside Linux's own TCP with CUBIC over the emulated links, rounds of models of 10 to 130 kB took within 3 % of the same
time (clean, lossy, jittery and overflowing links, shared or not) and within 1.2 % of the same bytes. A machine whose
sockets use BBR differs by up to 40 % on lossy links.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random

from orchestrator.simulation.congestion import Window
from orchestrator.simulation.network import Network, Route, Train

HEADER_BYTES = 52  # IPv4 20, TCP 20, timestamps 12
MSS_BYTES = 1448
SEGMENT_BYTES = HEADER_BYTES + MSS_BYTES
FLIGHT = 4  # segments in a flight, or FLIGHT_SHARE of the window if that is more, while the window holds data back
FLIGHT_SHARE = 1 / 16
QUICK_ACKS = 16  # segments acknowledged one by one after a beginning or a pause
USER_TIMEOUT_S = 5.0
PROBE_SLACK_S = 0.008  # two ticks of the kernel's clock
LONE_PROBE_SLACK_S = 0.2  # with one segment under way its acknowledgement may be a delayed one


class Flight(Train):
    """Segments sent together. A retransmission repeats part of `original`."""

    __slots__ = ("complete_s", "delivered", "end", "missing", "original", "outstanding", "sent", "sent_s", "silent",
                 "spacing_s", "stream")  # fmt: skip

    def __init__(
        self, stream: "Stream", packets: int, last_bytes: int, end: int, original: "Flight | None", sent_s: float
    ) -> None:
        super().__init__(packets, SEGMENT_BYTES, last_bytes)
        self.stream = stream
        self.end = end  # offset in the stream of the byte behind it
        self.original = original
        self.sent = packets
        self.sent_s = sent_s
        self.delivered = 0
        self.spacing_s = 0.0  # between its segments, where they arrived
        self.missing = packets  # segments that the receiver lacks; for a retransmission, see its original
        self.complete_s = 0.0  # when the receiver lacks none any more
        self.outstanding = True  # the sender has not heard of it
        self.silent = False  # all of it, or every acknowledgement of it, was lost: only a timer helps

    def arrived(self) -> None:
        """Its first segment is there."""
        self.stream.arrived(self)

    def vanished(self) -> None:
        """All of it was lost."""
        self.stream.unanswered(self)

    def retimed(self) -> None:
        """Its last segment comes later or earlier than was thought."""
        self.stream.completes(self)


class Acks(Train):
    """The acknowledgements that a flight earns."""

    __slots__ = ("flight",)

    def __init__(self, packets: int, flight: Flight) -> None:
        super().__init__(packets, HEADER_BYTES, HEADER_BYTES)
        self.flight = flight

    def arrived(self) -> None:
        """The first of them is there."""
        self.flight.stream.acknowledged(self.flight)

    def vanished(self) -> None:
        """All were lost."""
        self.flight.stream.unanswered(self.flight)


class Ends:
    """What a stream tells the connection that it is part of."""

    __slots__ = ()

    def delivered(self, stream: "Stream", item: object) -> None:
        """The last byte written with `item` has reached the receiver, and all before it."""
        raise NotImplementedError

    def refused(self, stream: "Stream") -> None:
        """Segments came to an end that is closed."""
        raise NotImplementedError

    def silent(self, stream: "Stream") -> None:
        """Nothing was acknowledged for `USER_TIMEOUT_S`."""
        raise NotImplementedError

    def heard(self, stream: "Stream", at_sender: bool) -> None:
        """A packet came in: data at the receiver, or an acknowledgement at the sender."""
        raise NotImplementedError


class Stream:
    """Bytes from one end of a connection to the other: delivered in order, once, or not at all when it breaks."""

    __slots__ = ("_back", "_backoff", "_ends", "_forward", "_heard_s", "_in_flight", "_incoming", "_items",
                 "_last_arrival_s", "_loop", "_lost", "_network", "_next", "_odd", "_outstanding", "_peak", "_quick",
                 "_rng", "_room", "_round_end", "_sent_s", "_timer", "_written", "receiver_open", "sender_open",
                 "window")  # fmt: skip

    def __init__(self, network: Network, forward: Route, back: Route, ends: Ends, rtt_s: float, rng: Random) -> None:
        self._network = network
        self._loop = network.loop
        self._forward, self._back = forward, back
        self._ends = ends
        self._rng = rng
        self.sender_open = self.receiver_open = True
        self.window = Window(rtt_s)
        # the sender
        self._written = self._next = 0  # bytes written, and the first of them not sent yet
        self._items: deque[tuple[int, object]] = deque()  # (offset behind its last byte, item)
        self._outstanding: deque[Flight] = deque()
        self._lost: deque[tuple[Flight, int]] = deque()  # segments to send again
        self._in_flight = self._peak = 0  # segments; the most since nothing was under way
        self._sent_s = self._heard_s = self._loop.time()
        self._backoff = 0
        self._round_end = 0  # offset that had been sent when the present round trip began
        self._timer: asyncio.TimerHandle | None = None
        self._room: Callable[[], None] | None = None
        # the receiver
        self._incoming: deque[Flight] = deque()
        self._quick = QUICK_ACKS
        self._odd = 0
        self._last_arrival_s = self._loop.time()

    # ---- the sender

    def write(self, size_bytes: int, item: object) -> None:
        """Send so many bytes; `item` is delivered with the last of them."""
        self._written += size_bytes
        self._items.append((self._written, item))
        self._push()

    @property
    def is_full(self) -> bool:
        """Whether the kernel would take no more: a window's worth waits behind the one under way."""
        return self._written - self._next > self.window.segments * MSS_BYTES

    @property
    def is_waiting(self) -> bool:
        """Whether the sender waits for an acknowledgement."""
        return bool(self._outstanding)

    def when_room(self, call: Callable[[], None]) -> None:
        """Call once, as soon as the stream is no longer full."""
        self._room = call

    def close(self) -> None:
        """Stop sending; what is under way may still arrive."""
        self.sender_open = False
        self._room = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _push(self) -> None:
        """Send what the window lets through: first what was lost."""
        if self._next == self._written and not self._lost:
            return
        now_s = self._loop.time()
        window = self.window
        if not self._outstanding:
            self._peak = 0
            self._heard_s = now_s
            window.rest(now_s - self._sent_s)
        room = int(window.segments) - self._in_flight
        while room > 0 and self.sender_open:
            most = min(room, max(FLIGHT, int(window.segments * FLIGHT_SHARE)))
            if self._lost:
                original, packets = self._lost.popleft()
                if packets > most:
                    self._lost.appendleft((original, packets - most))
                    packets = most
                flight = self._again(original, packets, now_s)
            elif self._next < self._written:
                packets = -(-(self._written - self._next) // MSS_BYTES)
                if packets > room:
                    packets = most
                size_bytes = min(self._written - self._next, packets * MSS_BYTES)
                self._next += size_bytes
                last_bytes = HEADER_BYTES + size_bytes - (packets - 1) * MSS_BYTES
                flight = Flight(self, packets, last_bytes, self._next, None, now_s)
                self._incoming.append(flight)
            else:
                return
            room -= packets
            self._launch(flight)

    def _again(self, original: Flight, packets: int, now_s: float) -> Flight:
        last_bytes = SEGMENT_BYTES if original.sent > 1 else original.last_bytes
        return Flight(self, packets, last_bytes, original.end, original, now_s)

    def _launch(self, flight: Flight) -> None:
        self._in_flight += flight.sent
        self._peak = max(self._peak, self._in_flight)
        self._outstanding.append(flight)
        self._sent_s = flight.sent_s
        self._network.send(flight, self._forward)

    def acknowledged(self, flight: Flight) -> None:
        """The first acknowledgement of a flight has come: it tells of all flights before it too."""
        if not self.sender_open:
            return
        self._ends.heard(self, at_sender=True)
        if not flight.outstanding:
            return
        now_s = self._loop.time()
        window = self.window
        if flight.original is None:
            begins_round = flight.end > self._round_end
            if begins_round:
                self._round_end = self._next
            answers = max(1, flight.delivered // 2)
            window.measured(now_s - flight.sent_s, 2 * flight.spacing_s, answers, now_s, begins_round)
        was_full = window.segments < 2 * self._peak
        acked, reduced = 0, False
        while flight.outstanding:
            known = self._outstanding.popleft()
            known.outstanding = False
            self._in_flight -= known.sent
            acked += known.delivered
            if known.delivered < known.sent:
                reduced |= known.sent_s > window.reduced_s
                self._lose(known)
        if reduced:
            window.lost(now_s)
        elif was_full:
            window.grow(acked, now_s)
        self._heard_s = now_s
        self._backoff = 0
        self._push()
        if self._room is not None and not self.is_full:
            room, self._room = self._room, None
            room()

    def _lose(self, flight: Flight) -> None:
        """Have the lost segments of a flight sent again; at once, unless they are the last ones sent."""
        original = flight.original or flight
        packets = min(flight.sent - flight.delivered, original.missing)
        if not packets:
            return
        if not self._outstanding and self._next == self._written and self._rng.random() * flight.sent < packets:
            self._loop.call_later(2 * self.window.srtt_s + PROBE_SLACK_S, self._requeue, original, packets)
        else:
            self._lost.append((original, packets))

    def _requeue(self, original: Flight, packets: int) -> None:
        if self.sender_open:
            self._lost.append((original, packets))
            self._push()

    def unanswered(self, flight: Flight) -> None:
        """A flight or all its acknowledgements were lost: unless a later one is heard of, a timer must find out."""
        flight.silent = True
        if self._timer is not None or not self.sender_open:
            return
        window = self.window
        if self._backoff:
            wait_s = window.rto_s * 2 ** (self._backoff - 1)
        else:
            slack_s = LONE_PROBE_SLACK_S if self._in_flight == 1 else PROBE_SLACK_S
            wait_s = min(2 * window.srtt_s + slack_s, window.rto_s)
        when_s = min(flight.sent_s + wait_s, self._heard_s + USER_TIMEOUT_S)
        self._timer = self._loop.call_at(max(when_s, self._loop.time()), self._expire)

    def _expire(self) -> None:
        self._timer = None
        if not self._outstanding or not self._outstanding[-1].silent:
            return  # the last one's acknowledgement is on its way, and will tell of all
        now_s = self._loop.time()
        if now_s - self._heard_s >= USER_TIMEOUT_S:
            self._ends.silent(self)
            return
        if self._backoff == 1:
            self.window.timed_out(now_s)
        self._backoff += 1
        last = self._outstanding[-1]
        self._launch(self._again(last.original or last, 1, now_s))

    # ---- the receiver

    def arrived(self, flight: Flight) -> None:
        """Segments come in from now until `flight.last_s`."""
        if not self.receiver_open:
            self._ends.refused(self)
            return
        self._ends.heard(self, at_sender=False)
        now_s = self._loop.time()
        flight.delivered = flight.packets
        original = flight.original or flight
        if original.missing:
            original.missing = max(0, original.missing - flight.packets)
            if not original.missing:
                original.complete_s = flight.last_s
                self._complete_at(flight.last_s)
        if now_s - self._last_arrival_s > self.window.rto_s:
            self._quick = QUICK_ACKS
        self._last_arrival_s = flight.last_s
        self._acknowledge(flight, now_s)

    def completes(self, flight: Flight) -> None:
        """The last segment of a flight that is coming in will be there at another time than was thought."""
        original = flight.original or flight
        if not original.missing and original.complete_s > self._loop.time():
            original.complete_s = flight.last_s
            self._complete_at(flight.last_s)

    def _complete_at(self, when_s: float) -> None:
        if when_s > self._loop.time():
            self._loop.schedule(when_s, Stream._complete, self)
        else:
            self._complete()

    def _complete(self) -> None:
        """Deliver what has come without a gap."""
        now_s = self._loop.time()
        incoming, items = self._incoming, self._items
        while incoming and not incoming[0].missing and incoming[0].complete_s <= now_s:
            end = incoming.popleft().end
            while items and items[0][0] <= end and self.receiver_open:
                self._ends.delivered(self, items.popleft()[1])

    def _acknowledge(self, flight: Flight, now_s: float) -> None:
        packets = flight.packets
        quick = min(self._quick, packets)
        self._quick -= quick
        pairs, self._odd = divmod(packets - quick + self._odd, 2)
        is_end = flight.end == self._written
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
