"""How long until something happens, where some runs ended before it did: Kaplan and Meier's estimate.

A mean of the runs that got there would flatter an arm that rarely does, so those that did not are part of it.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Survival:
    """How many of `count` runs got there; the time (or cost) by which half of them have, None if they never do; and
    the mean up to `horizon`, where a run that took longer counts as the horizon (the restricted mean).
    """

    reached: int
    count: int
    median: float | None
    restricted_mean: float
    horizon: float


def survival(reached: Sequence[float], ended: Sequence[float], horizon: float) -> Survival:
    """Of what was spent by the runs that got there, and by those that `ended` before (right-censored).

    The median is the least value at which at most half of the runs are still under way (Kaplan and Meier 1958). Raises
    ValueError without any run.
    """
    if not reached and not ended:
        raise ValueError("no runs: nothing to estimate")
    if not reached:
        return Survival(0, len(ended), None, horizon, horizon)
    steps = _under_way(reached, ended)
    median = next((at for at, share in steps if share <= 0.5 + 1e-12), None)
    area, share_before, before = 0.0, 1.0, 0.0
    for at, share in [*steps, (math.inf, 0.0)]:
        until = min(at, horizon)
        area += share_before * max(0.0, until - before)
        share_before, before = share, max(before, until)
    return Survival(len(reached), len(reached) + len(ended), median, area, horizon)


def _under_way(reached: Sequence[float], ended: Sequence[float]) -> list[tuple[float, float]]:
    """Kaplan and Meier: the share of runs still under way after each value at which one got there, ascending.

    Each step keeps the share of those that were still followed then; a run that ended there was followed until then.
    """
    share, steps = 1.0, []
    for at, got_there in sorted(Counter(reached).items()):
        followed = sum(value >= at for value in (*reached, *ended))
        share *= 1 - got_there / followed
        steps.append((float(at), share))
    return steps


def horizon(arms: Sequence[tuple[Sequence[float], Sequence[float]]]) -> float:
    """The largest value up to which the restricted mean of every arm (what reached, what ended) can be told.

    An arm whose largest value is that of a run which ended cannot be followed further than that. Arms of which no run
    got there have no mean to tell, and shorten nobody else's. Raises ValueError without any run.
    """
    if not any(reached or ended for reached, ended in arms):
        raise ValueError("no runs: nothing to follow")
    arms = [arm for arm in arms if arm[0]] or arms
    longest = [max((*reached, *ended)) for reached, ended in arms if reached or ended]
    open_ended = [max(ended) for reached, ended in arms if ended and max(ended) >= max(reached, default=-math.inf)]
    return min(open_ended) if open_ended else max(longest)
