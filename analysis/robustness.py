"""What a fault cost: against the same seeds without it, and how long a run took to come back to where it was."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis import tables
from analysis.groups import Group, by_seed
from analysis.load import FaultWindow, Run
from analysis.statistics import Paired, paired

MARGIN = 0.01  # accuracy; one percentage point is within what evaluations differ by anyway


@dataclass(frozen=True)
class Loss:
    """Accuracy at the end without the fault minus that with it, by seed; `without` names the setting held against."""

    group: Group
    without: str
    found: Paired
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Recovery:
    """How a run came through one fault, by its evaluations. `back_s` is counted from the fault's begin.

    `before` is the last accuracy before the fault, `lowest` the least one after it began. `back_s` is None if accuracy
    had not come back to within a percentage point of `before` when it was last seen, `seen_s` after the begin; 0 if it
    never fell further than that.
    """

    before: float
    lowest: float
    back_s: float | None
    seen_s: float


def losses(groups: Sequence[Group], metric: str = "test_accuracy") -> list[Loss]:
    """For each arm in a setting with faults, if exactly one other setting of the arm has none."""
    found = []
    for group in groups:
        calm = [each for each in groups if each.arm == group.arm and each is not group and not faulty(each)]
        if not faulty(group) or len(calm) != 1:
            continue
        without, with_fault = by_seed(calm[0], metric), by_seed(group, metric)
        seeds = tuple(sorted(without.keys() & with_fault.keys()))
        if seeds:
            pairs = paired([without[seed] for seed in seeds], [with_fault[seed] for seed in seeds])
            found.append(Loss(group, calm[0].setting, pairs, seeds))
    return found


def faulty(group: Group) -> bool:
    """Whether anything was made to go wrong in its runs."""
    return any(run.faults for run in group.runs)


def recovery(run: Run, fault: FaultWindow) -> Recovery | None:
    """Of one run from one fault; None without an evaluation on both sides of its begin."""
    accuracy = tables.accuracy(run)
    before = accuracy.at(fault.at_s)
    after = [(t, v) for t, v in zip(accuracy.times_s, accuracy.values, strict=True) if t > fault.at_s]
    if before is None or not after:
        return None
    wanted = before - MARGIN
    fallen = next((t for t, value in after if value < wanted), None)
    back = 0.0 if fallen is None else next((t - fault.at_s for t, v in after if t > fallen and v >= wanted), None)
    return Recovery(before, min(value for _, value in after), back, after[-1][0] - fault.at_s)
