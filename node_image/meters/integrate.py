"""From what meters say to joules: power is integrated, counters are followed over wraps and resets. Pure.

Neither ever invents a joule: where it is not known what was used, the seconds are counted as missing instead.
"""

from collections.abc import Mapping


def trapezoid_joules(before_w: float, after_w: float, seconds: float) -> float:
    """Energy between two samples of a power that went in a straight line from one to the other."""
    return (before_w + after_w) / 2 * seconds


def counter_growth(before: float, now: float, wraps_at: float | None, most: float) -> float | None:
    """How much a counter grew, wrapping at most once; None where that cannot be told.

    A counter that fell has wrapped or was reset. It cannot grow by more than `most`: more is a reset (or somebody has
    set it), and where that would do for a whole turn, nobody knows how many turns there were.
    """
    if wraps_at is not None and most >= wraps_at:
        return None
    grown = now - before
    if grown < 0 and wraps_at is not None:
        grown += wraps_at
    return grown if 0 <= grown <= most else None


class Integrator:
    """Joules of a power that is sampled: trapezoids between samples that are not too far apart."""

    def __init__(self, longest_gap_s: float) -> None:
        self.longest_gap_s = longest_gap_s
        self.joules = 0.0
        self.missing_s = 0.0
        self._last: tuple[float, float] | None = None

    def take(self, t_s: float, watts: float) -> None:
        """One more sample; one that is not newer than the last adds nothing."""
        if self._last is None:
            self._last = (t_s, watts)
            return
        before_s, before_w = self._last
        gap_s = t_s - before_s
        if gap_s <= 0:
            return
        if gap_s > self.longest_gap_s:
            self.missing_s += gap_s
        else:
            self.joules += trapezoid_joules(before_w, watts, gap_s)
        self._last = (t_s, watts)

    def restart(self, missing_s: float) -> None:
        """The clock of the samples begins anew; so long is not known."""
        self.missing_s += missing_s
        self._last = None


class Counters:
    """Joules of several counters together, such as the packages of a machine.

    No load takes more than `most_w`, reckoned from when a counter last moved: some move once a minute only. Where one
    of them cannot be told, nothing is added: half of a sum would look like a saving.
    """

    def __init__(self, wraps_at: Mapping[str, float | None], most_w: float, step_joules: float = 0.0) -> None:
        self.joules = 0.0
        self.missing_s = 0.0
        self.watts: float | None = None  # mean over the last interval that is known
        self.rails_watts: dict[str, float] = {}
        self._wraps_at = wraps_at
        self._most_w = most_w
        self._step_joules = step_joules
        self._last_s: float | None = None
        self._counts: dict[str, float] = {}
        self._moved_s: dict[str, float] = {}

    def take(self, t_s: float, counts: Mapping[str, float]) -> None:
        """The values of all counters at once, in joules; at a time that is not newer than the last, nothing."""
        if self._last_s is not None and t_s <= self._last_s:
            return
        before_s, self._last_s = self._last_s, t_s
        moved_s = dict(self._moved_s)
        grown = {name: self._growth(name, now, t_s) for name, now in counts.items()} if before_s is not None else {}
        for name, now in counts.items():
            if self._counts.get(name) != now or grown.get(name, 0.0) is None:
                self._counts[name], self._moved_s[name] = now, t_s
        if before_s is None:
            return
        known = {name: joules for name, joules in grown.items() if joules is not None}
        if len(known) < len(grown):
            self.missing_s += max(t_s - moved_s[name] for name in grown.keys() - known.keys())
            self.watts, self.rails_watts = None, {}
            return
        self.joules += sum(known.values())
        self.rails_watts = {name: joules / (t_s - before_s) for name, joules in known.items()}
        self.watts = sum(self.rails_watts.values())

    def _growth(self, name: str, now: float, t_s: float) -> float | None:
        most = self._most_w * (t_s - self._moved_s[name]) + self._step_joules
        return counter_growth(self._counts[name], now, self._wraps_at[name], most)
