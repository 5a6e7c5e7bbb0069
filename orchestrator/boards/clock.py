"""How far a board's monotonic clock is from ours, by exchanges over its link: of several, the shortest counts (NTP)."""

import time
from dataclasses import dataclass

from orchestrator.boards.link import BoardLink

EXCHANGES = 8


@dataclass(frozen=True)
class Offset:
    """At our time `at_s`, theirs minus ours (s, monotonic clocks), true to half of `rtt_s`; and how far ahead their
    wall clock is, which nothing is computed from.
    """

    at_s: float
    ahead_s: float
    rtt_s: float
    wall_ahead_s: float


async def measure(link: BoardLink, exchanges: int = EXCHANGES, within_s: float = 10.0) -> Offset:
    """Ask for the board's clocks some times over; the answer that took least is the best."""
    best: Offset | None = None
    for _ in range(exchanges):
        asked_s, asked_wall_s = time.monotonic(), time.time()
        found = await link.ask("clock", within_s)
        answered_s = time.monotonic()
        rtt_s, middle_s = answered_s - asked_s, (asked_s + answered_s) / 2
        wall_ahead_s = found["wall_s"] - (asked_wall_s + rtt_s / 2)
        if best is None or rtt_s < best.rtt_s:
            best = Offset(middle_s, found["monotonic_s"] - middle_s, rtt_s, wall_ahead_s)
    assert best is not None, "exchanges is at least 1"
    return best
