"""How late the fabric delivers: a histogram of (instant of the write - instant due), fine enough for percentiles."""

from dataclasses import dataclass

STEP_S = 1e-5
STEPS = 10_000  # up to 0.1 s; later than that is counted in the last step


@dataclass(frozen=True)
class Lateness:
    """Deliveries since the epoch and how late they were; percentiles are rounded up to 10 microseconds."""

    packets: int
    p50_s: float
    p99_s: float
    p999_s: float
    max_s: float


class LatenessHistogram:
    """Counts that the hot loop writes into directly: `steps[min(int(late_s / STEP_S), STEPS)] += 1`."""

    __slots__ = ("max_s", "steps")

    def __init__(self) -> None:
        self.steps = [0] * (STEPS + 1)
        self.max_s = 0.0

    def summary(self) -> Lateness:
        """Percentiles of what was counted; all 0 when nothing was."""
        packets = sum(self.steps)
        p50_s, p99_s, p999_s = (self._percentile(share, packets) for share in (0.5, 0.99, 0.999))
        return Lateness(packets, p50_s, p99_s, p999_s, self.max_s)

    def _percentile(self, share: float, packets: int) -> float:
        seen = 0
        for step, count in enumerate(self.steps):
            seen += count
            if count and seen >= share * packets:
                return min(self.max_s, (step + 1) * STEP_S)
        return 0.0
