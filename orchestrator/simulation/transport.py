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
from orchestrator.simulation.flight import HEADER_BYTES, MSS_BYTES, SEGMENT_BYTES, Flight
from orchestrator.simulation.network import Network, Route
from orchestrator.simulation.receiver import Receiver

FLIGHT = 4  # segments in a flight, or FLIGHT_SHARE of the window if that is more, while the window holds data back
FLIGHT_SHARE = 1 / 16
USER_TIMEOUT_S = 5.0
PROBE_SLACK_S = 0.008  # two ticks of the kernel's clock
LONE_PROBE_SLACK_S = 0.2  # with one segment under way its acknowledgement may be a delayed one
MOST_RTO_S = 120.0  # as Linux has it (TCP_RTO_MAX)
MOST_DOUBLINGS = 10  # of the shortest timeout, which is then longer than that


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

    __slots__ = (
        "_backoff",
        "_forward",
        "_heard_s",
        "_in_flight",
        "_loop",
        "_lost",
        "_network",
        "_next",
        "_outstanding",
        "_peak",
        "_rng",
        "_room",
        "_round_end",
        "_sent_s",
        "_timer",
        "_written",
        "ends",
        "is_open",
        "receiver",
        "window",
    )  # fmt: skip

    def __init__(self, network: Network, forward: Route, back: Route, ends: Ends, rtt_s: float, rng: Random) -> None:
        self.ends = ends
        self.is_open = True  # at the sender
        self.window = Window(rtt_s)
        self.receiver = Receiver(self, network, back)
        self._network = network
        self._loop = network.loop
        self._forward = forward
        self._rng = rng
        self._written = self._next = 0  # bytes written, and the first of them not sent yet
        self._outstanding: deque[Flight] = deque()
        self._lost: deque[tuple[Flight, int]] = deque()  # segments to send again
        self._in_flight = self._peak = 0  # segments; the most since nothing was under way
        self._sent_s = self._heard_s = self._loop.now
        self._round_end = 0  # offset that had been sent when the present round trip began
        self._backoff = 0
        self._timer: asyncio.TimerHandle | None = None
        self._room: Callable[[], None] | None = None

    def write(self, size_bytes: int, item: object) -> None:
        """Send so many bytes; `item` is delivered with the last of them."""
        self._written += size_bytes
        self.receiver.expect_item(self._written, item)
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
        self.is_open = False
        self._room = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _push(self) -> None:
        """Send what the window lets through: first what was lost."""
        if self._next == self._written and not self._lost:
            return
        now_s = self._loop.now
        window = self.window
        if not self._outstanding:
            self._peak = 0
            self._heard_s = now_s
            window.rest(now_s - self._sent_s)
        room = int(window.segments) - self._in_flight
        while room > 0 and self.is_open:
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
                self.receiver.expect_flight(flight)
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
        if not self.is_open:
            return
        self.ends.heard(self, at_sender=True)
        if not flight.outstanding:
            return
        now_s = self._loop.now
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
        if self.is_open:
            self._lost.append((original, packets))
            self._push()

    def unanswered(self, flight: Flight) -> None:
        """A flight or all its acknowledgements were lost: unless a later one is heard of, a timer must find out."""
        flight.silent = True
        if self._timer is not None or not self.is_open:
            return
        window = self.window
        if self._backoff:
            wait_s = min(MOST_RTO_S, window.rto_s * 2 ** min(self._backoff - 1, MOST_DOUBLINGS))
        else:
            slack_s = LONE_PROBE_SLACK_S if self._in_flight == 1 else PROBE_SLACK_S
            wait_s = min(2 * window.srtt_s + slack_s, window.rto_s)
        when_s = min(flight.sent_s + wait_s, self._heard_s + USER_TIMEOUT_S)
        self._timer = self._loop.call_at(max(when_s, self._loop.now), self._expire)

    def _expire(self) -> None:
        self._timer = None
        if not self._outstanding or not self._outstanding[-1].silent:
            return  # the last one's acknowledgement is on its way, and will tell of all
        now_s = self._loop.now
        if now_s >= self._heard_s + USER_TIMEOUT_S:  # summed as the timer's instant is: a difference may round below
            self.ends.silent(self)
            return
        if self._backoff == 1:
            self.window.timed_out(now_s)
        self._backoff += 1
        last = self._outstanding[-1]
        self._launch(self._again(last.original or last, 1, now_s))
