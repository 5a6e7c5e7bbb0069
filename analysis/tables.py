"""Series and sums out of the records of a run: pure, no files, no drawing."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from analysis.load import Run
from node_image.records import MEASURED

MODELLED = "model"
READ_NOW_AND_THEN = ("energy_joules", "received_wire_bytes", "sent_wire_bytes")  # other counters have exact instants


@dataclass(frozen=True)
class Series:
    """Values over time, both in base units, times ascending."""

    times_s: tuple[float, ...]
    values: tuple[float, ...]

    def at(self, t: float) -> float | None:
        """The newest value at a moment; None before the first."""
        place = bisect_right(self.times_s, t)
        return self.values[place - 1] if place else None


def accuracy(run: Run) -> Series:
    """Accuracy on the global test set over time.

    The coordinator's, if it evaluates; where each device has a model of its own, the mean over devices of the newest
    value of each, from the moment all of them have one. What a device found on its own part of the test set is no part
    of it.
    """
    entries = [entry for entry in run.of("test_accuracy") if entry.record.labels.get("split") != "own"]
    coordinators = {node["name"] for node in run.plan.get("nodes", ()) if node["role"] == "coordinator"}
    entries = [entry for entry in entries if entry.node in coordinators] or entries
    nodes = {entry.node for entry in entries}
    newest: dict[str, float] = {}
    found: dict[float, float] = {}  # of several at one moment, the last
    for entry in entries:
        newest[entry.node] = entry.record.value
        if len(newest) == len(nodes):
            found[entry.record.t] = sum(newest.values()) / len(newest)
    return Series(tuple(found), tuple(found.values()))


def cumulative(run: Run, metric: str, source: str = "") -> Series:
    """Sum of a counter over all nodes, over time; of energy, that of one `source`, since two meters of one device say
    the same joules twice.
    """
    entries = [entry for entry in run.of(metric) if not source or entry.record.labels.get("source") == source]
    return Series(
        tuple(entry.record.t for entry in entries), tuple(accumulate(entry.record.value for entry in entries))
    )


def spent(
    run: Run, metric: str, times_s: Sequence[float] | NDArray[np.float64], source: str = ""
) -> NDArray[np.float64]:
    """What had been spent of a counter by each of the times, over all nodes.

    Energy and the wire's bytes are read a hundred times a run, at most once a second; between two readings they are
    taken to grow evenly, since a device that waits draws power too and nothing better is known.
    """
    known = cumulative(run, metric, source)
    at, so_far = np.array((0.0, *known.times_s)), np.array((0.0, *known.values))
    found: NDArray[np.float64]
    if metric in READ_NOW_AND_THEN:
        last = np.append(at[1:] > at[:-1], True)  # of the nodes' records of one reading
        found = np.interp(times_s, at[last], so_far[last])
    else:
        found = so_far[np.searchsorted(at, times_s, side="right") - 1]
    return found


def totals(run: Run, metric: str, by: str) -> dict[str, float]:
    """Sum of a counter for each value of a label (`node` is the node itself), largest first."""
    sums: dict[str, float] = defaultdict(float)
    for entry in run.of(metric):
        key = entry.node if by == "node" else entry.record.labels.get(by, "unknown")
        sums[key] += entry.record.value
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


def energy(run: Run, source: str) -> dict[str, float]:
    """Joules of all nodes by component, as one source (the model, or a kind of meter) tells them."""
    sums: dict[str, float] = defaultdict(float)
    for entry in run.of("energy_joules"):
        if entry.record.labels.get("source", "unknown") == source:
            sums[entry.record.labels.get("component", "unknown")] += entry.record.value
    return dict(sums)


def sources(runs: Iterable[Run]) -> list[str]:
    """Who told energy in any run, by name."""
    told = (entry.record.labels for run in runs for entry in run.of("energy_joules"))
    return sorted({labels.get("source", "unknown") for labels in told})


def told_by(source: str) -> str:
    """Energy in words, with who tells it: `modelled energy`, or `energy measured by rapl`."""
    if source == MODELLED:
        return "modelled energy"
    meter = source.removeprefix(MEASURED)
    return f"energy ({source})" if meter == source else f"energy measured by {meter}"


def components(runs: Iterable[Run], source: str) -> list[str]:
    """Components of energy that a source told of in any run, the largest first."""
    sums: dict[str, float] = defaultdict(float)
    for run in runs:
        for name, joules in energy(run, source).items():
            sums[name] += joules
    return sorted(sums, key=lambda name: (-sums[name], name))
