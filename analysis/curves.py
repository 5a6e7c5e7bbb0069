"""Accuracy of an arm over its seeds, against time or against what it had cost by then. Pure, no drawing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis import tables
from analysis.groups import Group

TIME = "t_s"


@dataclass(frozen=True)
class Curve:
    """Mean, lowest and highest accuracy of the seeds (ratio) where `at` seconds, bytes or joules were spent."""

    arm: str
    setting: str
    seeds: int
    at: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def curve(group: Group, against: str = TIME, source: str = "") -> Curve:
    """The curve of a group; empty if no accuracy was recorded.

    Between two evaluations of a run its accuracy is taken to lie on the straight line between them. The curve covers
    the time in which every seed (but those without any evaluation) has been evaluated. Against a cost, each of its
    points is a moment: there the accuracies of the seeds and what they had spent by then are averaged; joules are those
    that one `source` tells.
    """
    evaluated = [(run, line) for run in group.runs if (line := tables.accuracy(run)).values]
    if not evaluated:
        return Curve(group.arm, group.setting, 0, (), (), (), ())
    lines = [line for _, line in evaluated]
    times = _grid([line.times_s for line in lines])
    values = np.array([np.interp(times, line.times_s, line.values) for line in lines])
    at = times
    if against != TIME:
        at = np.mean([tables.spent(run, against, times, source) for run, _ in evaluated], axis=0)
    numbers = (at, values.mean(axis=0), values.min(axis=0), values.max(axis=0))
    return Curve(group.arm, group.setting, len(lines), *(tuple(map(float, each)) for each in numbers))


def bytes_spent(groups: Sequence[Group]) -> str:
    """The bytes that accuracy is held against: the payload, or of programs, whose payload nobody knows, the wire."""
    of_programs = all(run.is_workload for group in groups for run in group.runs)
    return "sent_wire_bytes" if of_programs else "sent_payload_bytes"


def _grid(times_s: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Every moment of an evaluation at which all seeds have been evaluated once and none for the last time."""
    begin, end = max(each[0] for each in times_s), min(each[-1] for each in times_s)
    every = np.unique(np.concatenate(times_s))
    inside = every[(every >= begin) & (every <= end)]
    return inside if len(inside) else np.array([begin])
