"""Tables and series out of runs: pure, no files, no drawing."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from analysis.load import Run


@dataclass(frozen=True)
class Series:
    """Values over time, both in base units, times ascending."""

    times_s: tuple[float, ...]
    values: tuple[float, ...]

    def at(self, t: float) -> float | None:
        """The newest value at a moment; None before the first."""
        found = None
        for time, value in zip(self.times_s, self.values, strict=True):
            if time > t:
                break
            found = value
        return found


def accuracy(run: Run) -> Series:
    """Accuracy on the global test set over time.

    The coordinator's, if it evaluates; where each device has a model of its own, the mean over devices of the newest
    value of each, from the moment all of them have one.
    """
    entries = [entry for entry in run.of("test_accuracy") if entry.record.labels.get("split", "global") == "global"]
    coordinators = {node["name"] for node in run.plan.get("nodes", ()) if node["role"] == "coordinator"}
    entries = [entry for entry in entries if entry.node in coordinators] or entries
    nodes = {entry.node for entry in entries}
    newest: dict[str, float] = {}
    times, values = [], []
    for entry in entries:
        newest[entry.node] = entry.record.value
        if len(newest) == len(nodes):
            times.append(entry.record.t)
            values.append(sum(newest.values()) / len(newest))
    return Series(tuple(times), tuple(values))


def cumulative(run: Run, metric: str) -> Series:
    """Sum of a counter over all nodes, over time."""
    entries = list(run.of(metric))
    return Series(
        tuple(entry.record.t for entry in entries), tuple(accumulate(entry.record.value for entry in entries))
    )


def totals(run: Run, metric: str, by: str) -> dict[str, float]:
    """Sum of a counter for each value of a label (`node` is the node itself), largest first."""
    sums: dict[str, float] = defaultdict(float)
    for entry in run.of(metric):
        key = entry.node if by == "node" else entry.record.labels.get(by, "unknown")
        sums[key] += entry.record.value
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


def against(accuracy_over_time: Series, cost_over_time: Series) -> Series:
    """Accuracy against a cost: the cost spent by the time of each accuracy takes the place of its time."""
    pairs = [
        (cost_over_time.at(t) or 0.0, value)
        for t, value in zip(accuracy_over_time.times_s, accuracy_over_time.values, strict=True)
    ]
    return Series(tuple(cost for cost, _ in pairs), tuple(value for _, value in pairs))


def components(runs: Iterable[Run]) -> list[str]:
    """Components of energy that appear in any run, the largest first."""
    sums: dict[str, float] = defaultdict(float)
    for run in runs:
        for name, joules in totals(run, "energy_joules", "component").items():
            sums[name] += joules
    return sorted(sums, key=lambda name: (-sums[name], name))
