"""TCP's window and round-trip time, as Linux keeps them: slow start with HyStart, CUBIC, decay when idle."""

import math

INITIAL_WINDOW = 10  # segments
RTO_MIN_S = 0.2
RTO_FIRST_S = 1.0
BETA = 0.7  # of the window left after a loss
CUBIC_C = 0.4
FRIENDLY = 3 * (1 - BETA) / (1 + BETA)  # segments a round trip that make CUBIC as fast as Reno (RFC 9438, 4.3)
HYSTART_WINDOW = 16
HYSTART_DELAY_S = (0.004, 0.016)
HYSTART_GAP_S = 0.002  # answers closer than that follow each other closely


class Window:
    """How many segments one sender may have under way (`segments`), and how long it waits for an answer."""

    __slots__ = (
        "_round_s",
        "_rttvar_s",
        "_since_s",
        "_threshold",
        "_top",
        "min_rtt_s",
        "reduced_s",
        "segments",
        "srtt_s",
    )

    def __init__(self, rtt_s: float) -> None:
        """`rtt_s`: what the handshake measured."""
        self.segments = float(INITIAL_WINDOW)
        self.srtt_s = self.min_rtt_s = rtt_s
        self.reduced_s = -1.0  # when a loss last made the window smaller
        self._rttvar_s = rtt_s / 2
        self._threshold = math.inf
        self._top = 0.0  # window before the last reduction
        self._since_s = 0.0
        self._round_s = 0.0  # when the present round trip began

    @property
    def rto_s(self) -> float:
        """Retransmission time-out; Linux never lets the variance's part of it below 200 ms."""
        return self.srtt_s + max(RTO_MIN_S, 4 * self._rttvar_s)

    def measured(self, rtt_s: float, more_s: float, answers: int, now: float, begins_round: bool) -> None:
        """Take in the round-trip times of a flight: the first, and by how much each of the `answers` is later.

        Slow start ends as by HyStart: where the first answer of a round trip says that a queue builds up, or where
        answers that follow each other closely go on for more than half the least round-trip time: the way is full.
        """
        self._rttvar_s += (abs(rtt_s - self.srtt_s) - self._rttvar_s) / 4
        # RFC 6298's average with gain 1/8, over all answers at once.
        kept = (7 / 8) ** answers
        self.srtt_s = kept * self.srtt_s + (1 - kept) * rtt_s + more_s * (answers - 8 + 8 * kept)
        self.min_rtt_s = min(self.min_rtt_s, rtt_s)
        if begins_round:
            self._round_s = now
        if HYSTART_WINDOW <= self.segments < self._threshold:
            least, most = HYSTART_DELAY_S
            queued = begins_round and rtt_s > self.min_rtt_s + min(most, max(least, self.min_rtt_s / 8))
            is_train = more_s <= HYSTART_GAP_S
            if queued or (is_train and now - self._round_s > self.min_rtt_s / 2):
                self._threshold = self.segments

    def grow(self, acked: int, now: float) -> None:
        """So many segments were acknowledged while the window was in use to the full."""
        if self.segments < self._threshold:
            self.segments = min(self.segments + acked, max(self._threshold, self.segments))
            return
        if self._top == 0.0:  # slow start ended without a loss
            self._top, self._since_s = self.segments, now
        to_top_s = (self._top * (1 - BETA) / CUBIC_C) ** (1 / 3) if self.reduced_s >= 0 else 0.0
        cubic = self._top + CUBIC_C * (now - self._since_s + self.srtt_s - to_top_s) ** 3
        steps = max(FRIENDLY, min(cubic - self.segments, self.segments / 2))
        self.segments += acked * steps / self.segments

    def lost(self, now: float) -> None:
        """Segments were lost: once a round trip, the window shrinks."""
        self._top, self._since_s, self.reduced_s = self.segments, now, now
        self.segments = self._threshold = max(2.0, self.segments * BETA)

    def timed_out(self, now: float) -> None:
        """Nothing came back: start again with one segment."""
        self.lost(now)
        self.segments = 1.0

    def rest(self, idle_s: float) -> None:
        """Nothing was sent for so long: the window is halved for every time-out in it, down to the initial one."""
        rto_s = self.rto_s
        if idle_s <= rto_s or self.segments <= INITIAL_WINDOW:
            return
        self._threshold = max(self._threshold, self.segments * 0.75)
        while idle_s > rto_s and self.segments > INITIAL_WINDOW:
            self.segments = max(self.segments / 2, INITIAL_WINDOW)
            idle_s -= rto_s
