"""What it took to reach an accuracy: seconds, bytes or joules. Runs that never did are told apart, not left out."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis import tables
from analysis.curves import TIME
from analysis.groups import Group
from analysis.load import Run
from analysis.statistics.survival import Survival, horizon, survival

STEP = 0.05


@dataclass(frozen=True)
class Reached:
    """What a run had spent when it was first seen at an accuracy, or, if it never was, at its last evaluation."""

    spent: float
    got_there: bool


def reached(run: Run, target: float, cost: str = TIME, source: str = "") -> Reached | None:
    """Of one run: at its first evaluation at or above the target. None if it was never evaluated."""
    accuracy = tables.accuracy(run)
    if not accuracy.values:
        return None
    at = next((t for t, value in zip(accuracy.times_s, accuracy.values, strict=True) if value >= target), None)
    t = accuracy.times_s[-1] if at is None else at
    spent = t if cost == TIME else float(tables.spent(run, cost, (t,), source)[0])
    return Reached(spent, at is not None)


def to_accuracy(groups: Sequence[Group], target: float, cost: str = TIME, source: str = "") -> list[Survival | None]:
    """For each group; None where no run was evaluated. Restricted means share one horizon, so they can be compared."""
    split: list[tuple[list[float], list[float]]] = []
    for group in groups:
        found = [each for run in group.runs if (each := reached(run, target, cost, source)) is not None]
        split.append(([r.spent for r in found if r.got_there], [r.spent for r in found if not r.got_there]))
    if not any(got or ended for got, ended in split):
        return [None] * len(groups)
    shared = horizon(split)
    return [survival(got, ended, shared) if got or ended else None for got, ended in split]


def targets(groups: Sequence[Group]) -> list[float]:
    """The accuracies (multiples of 5 %) worth a table: the highest that every run reached, that a run of every arm
    reached, and that any run reached.
    """
    best = [[max(values) for run in group.runs if (values := tables.accuracy(run).values)] for group in groups]
    best = [each for each in best if each]
    if not best:
        return []
    wanted = (min(map(min, best)), min(map(max, best)), max(map(max, best)))
    steps = {int(value / STEP + 1e-9) for value in wanted}
    return [round(step * STEP, 2) for step in sorted(steps) if step]
