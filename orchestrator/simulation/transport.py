"""TCP, flight by flight: one direction of a connection as a train of segments and the acknowledgements it earns.

What follows Linux: MSS 1448 with 52 bytes of headers, 10 segments at first, slow start with HyStart's delay rule, CUBIC
(RFC 9438) after it, halving after idle time, an acknowledgement for every segment at first and after a pause and for
every second one otherwise, loss found by later acknowledgements (RACK), a probe for a lost tail, time-outs of 200 ms
above the RTT that double, and 5 s of silence after which the connection breaks.

What is simpler: a flight leaves when the first acknowledgement of the one before it arrives, so a link that is busy
stays busy, but its queue holds up to one flight (16 segments, or a quarter of the window) more than in truth. Delayed
acknowledgements are never 40 ms late and never ride on data. No time-out is spurious, and the receiver's window is
never full.
"""

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable

from orchestrator.simulation.network import Network, Route, Train

HEADER_BYTES = 52  # IPv4 20, TCP 20, timestamps 12
SYN_BYTES = 60
MSS_BYTES = 1448
SEGMENT_BYTES = HEADER_BYTES + MSS_BYTES
INITIAL_WINDOW = 10
LEAST_FLIGHT = 16  # segments: flights are no smaller where the window and the data allow
QUICK_ACKS = 16
RTO_MIN_S = 0.2
RTO_FIRST_S = 1.0
USER_TIMEOUT_S = 5.0
CUBIC_BETA = 0.7
CUBIC_C = 0.4
HYSTART_WINDOW = 16


class Flight(Train):
    """Segments sent together. `missing` of them have not arrived yet; a retransmission repeats part of `original`."""

    __slots__ = ("delivered", "end", "missing", "original", "outstanding", "sent_s", "silent")

    def __init__(self, packets: int, last_bytes: int, end: int, original: "Flight | None", sent_s: float) -> None:
        super().__init__(packets, SEGMENT_BYTES, last_bytes)
        self.end = end
        self.missing = packets
        self.delivered = 0
        self.original = original
        self.outstanding = True
        self.silent = False  # nothing of it arrived, or no acknowledgement of it: only a timer can tell
        self.sent_s = sent_s


class Acks(Train):
    """Acknowledgements that a flight earns."""

    __slots__ = ("flight",)

    def __init__(self, packets: int, flight: Flight) -> None:
        super().__init__(packets, HEADER_BYTES, HEADER_BYTES)
        self.flight = flight


class Stream:
    """Bytes from one end of a connection to the other: delivered in order, once, or not at all when it breaks.

    `deliver(item)` is called at the receiver when the last byte of what was written with `item` has arrived;
    `broke()` at the sender when nothing was acknowledged for `USER_TIMEOUT_S`.
    """

    __slots__ = (
        "_acked_bytes_s",
        "_back",
        "_backoff",
        "_broke",
        "_cubic_start_s",
        "_cubic_top",
        "_deliver",
        "_ends",
        "_forward",
        "_heard_s",
        "_in_flight",
        "_incoming",
        "_last_arrival_s",
        "_loop",
        "_lost",
        "_network",
        "_next",
        "_odd",
        "_open",
        "_outstanding",
        "_peak",
        "_quick",
        "_reduced_s",
        "_rng",
        "_rttvar_s",
        "_sent_s",
        "_ssthresh",
        "_timer",
        "_window",
        "_written",
        "min_rtt_s",
        "srtt_s",
    )

    def __init__(
        self,
        network: Network,
        routes: tuple[Route, Route],
        deliver: Callable[[object], None],
        broke: Callable[[], None],
        rng: random.Random,
    ) -> None:
        self._network = network
        self._loop = network.loop
        self._forward, self._back = routes
        self._deliver = deliver
        self._broke = broke
        self._rng = rng
        self._open = True
        # the sender
        self._written = self._next = 0  # bytes written, and first byte not yet sent
        self._ends: deque[tuple[int, object]] = deque()
        self._outstanding: deque[Flight] = deque()
        self._lost: deque[tuple[Flight, int]] = deque()  # segments to send again
        self._in_flight = 0
        self._peak = 0
        self._window = float(INITIAL_WINDOW)
        self._ssthresh = math.inf
        self._cubic_top = 0.0
        self._cubic_start_s = 0.0
        self._reduced_s = -1.0
        self._sent_s = self._heard_s = 0.0
        self._backoff = 0
        self._timer: asyncio.TimerHandle | None = None
        self.srtt_s: float | None = None
        self.min_rtt_s = math.inf
        self._rttvar_s = 0.0
        # the receiver
        self._incoming: deque[Flight] = deque()
        self._quick = QUICK_ACKS
        self._odd = 0
        self._last_arrival_s = 0.0
        self._acked_bytes_s = 0.0

    def seed_rtt(self, rtt_s: float) -> None:
        """The round trip that the handshake measured."""
        self.srtt_s = self.min_rtt_s = rtt_s
        self._rttvar_s = rtt_s / 2

    def write(self, size_bytes: int, item: object) -> None:
        """Send so many bytes; `item` is delivered with the last of them."""
        self._written += size_bytes
        self._ends.append((self._written, item))
        self._push()

    def close(self) -> None:
        """Forget everything: what is under way arrives nowhere."""
        self._open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def unsent_bytes(self) -> int:
        """What was written and has not left yet."""
        return self._written - self._next
