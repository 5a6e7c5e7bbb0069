"""The summary: a run's figures, computed from its record files alone, after the run.

Names are metrics; a suffix says how many values became one: `_p50`, `_p95` of samples, `_mean`, `_min`, `_max` over
devices, `{kind}` parts as `sent_payload_bytes.update`. None: nothing was measured, which is not zero. `energy_joules`
is modelled; what meters measured is `measured_energy_joules.{component}_{meter}`, each by itself, and never added.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from node_image.mixing import cluster_gaps, spectral_gap
from node_image.records import METRICS, Record
from orchestrator.plan import Plan
from orchestrator.workload import figures

TARGETS = tuple(round(0.05 * step, 2) for step in range(1, 20))  # accuracies for time_to_accuracy_s
MOST_MIXED = 2000  # devices; the eigenvalues of more take too long
TOLD_OTHERWISE = {"test_accuracy", "test_top_k", "memory_bytes", "mixing_balance", "node_up", *figures.METRICS}
Summary = dict[str, float | None]


def read_records(path: Path) -> Iterator[Record]:
    """Records of one file; none if it does not exist. A torn last line (a run that was killed) is skipped."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            try:
                yield Record.from_line(line)
            except ValueError:
                continue


def summarise(plan: Plan, directory: Path) -> Summary:
    """All figures of a run directory."""
    return summarise_records(plan, *read_run(plan, directory))


def read_run(plan: Plan, directory: Path) -> tuple[dict[str, list[Record]], list[Record]]:
    """All records of a run: those of its nodes, by name, and the orchestrator's own."""
    nodes = {node.name: list(read_records(directory / "nodes" / node.name / "records.jsonl")) for node in plan.nodes}
    return nodes, list(read_records(directory / "records.jsonl"))


def summarise_records(plan: Plan, nodes: Mapping[str, list[Record]], own: list[Record]) -> Summary:
    """All figures of the records that `read_run` found."""
    summary: Summary = {}
    everything = [record for records in nodes.values() for record in records]
    _samples(everything, summary)
    _counters(everything, summary)
    _counters(own, summary)
    summary["wire_bytes"] = summary.get("sent_wire_bytes")
    coordinators = [node.name for node in plan.nodes if node.role == "coordinator"]
    devices = [node.name for node in plan.nodes if node.role == "device"]
    _accuracy(summary, [nodes[name] for name in coordinators], [nodes[name] for name in devices])
    _gauges(summary, nodes.values())
    summary |= figures.figures(nodes)
    _energy(summary, own)
    _mixing(summary, plan, {name: _last(records, "cluster") for name, records in nodes.items()})
    return summary


def _samples(records: Iterable[Record], summary: Summary) -> None:
    values: dict[str, list[float]] = defaultdict(list)
    for record in records:
        if METRICS[record.metric].kind == "sample" and record.metric not in figures.METRICS:
            values[record.metric].append(record.value)
    for metric, found in values.items():
        summary[f"{metric}_mean"] = float(np.mean(found))
        summary[f"{metric}_p50"] = float(np.percentile(found, 50))
        summary[f"{metric}_p95"] = float(np.percentile(found, 95))
        summary[metric] = summary[f"{metric}_p50"]


def _counters(records: Iterable[Record], summary: Summary) -> None:
    for record in records:
        if METRICS[record.metric].kind != "counter" or record.metric in figures.METRICS:
            continue
        if record.meter is not None:
            metric = "measured_energy_joules" if record.metric == "energy_joules" else record.metric
            name = f"{metric}.{record.labels['component']}_{record.meter}"
            summary[name] = (summary.get(name) or 0.0) + record.value
            continue
        summary[record.metric] = (summary.get(record.metric) or 0.0) + record.value
        for label in ("kind", "reason", "component"):
            if label in record.labels:
                part = f"{record.metric}.{record.labels[label]}"
                summary[part] = (summary.get(part) or 0.0) + record.value


def _accuracy(summary: Summary, coordinators: list[list[Record]], devices: list[list[Record]]) -> None:
    """`test_accuracy`: the coordinator's model, last; without one, the mean of the devices' own models.

    `test_accuracy_own_mean` is that of devices on what they themselves sense (split `own`), where they were tested so.
    """
    sensed = [value for value in (_last(records, "test_accuracy", "own") for records in devices) if value is not None]
    if sensed:
        summary["test_accuracy_own_mean"] = float(np.mean(sensed))
        summary["test_accuracy_own_min"] = min(sensed)
    coordinators, devices = ([_globally(records) for records in group] for group in (coordinators, devices))
    last = [_last(records, "test_accuracy") for records in devices]
    own = [value for value in last if value is not None]
    if own:
        summary["test_accuracy_device_mean"] = float(np.mean(own))
        summary["test_accuracy_device_min"] = min(own)
        summary["test_accuracy_device_max"] = max(own)
    globally = [value for value in (_last(records, "test_accuracy") for records in coordinators) if value is not None]
    summary["test_accuracy"] = globally[0] if globally else summary.get("test_accuracy_device_mean")
    curve = _curve(coordinators[0]) if globally else _mean_curve([_curve(records) for records in devices])
    for target in TARGETS:
        reached = [t for t, accuracy in curve if accuracy >= target]
        summary[f"time_to_accuracy_{round(target * 100)}_s"] = reached[0] if reached else None
    if curve:
        tail = [accuracy for _, accuracy in curve[-max(1, len(curve) // 5) :]]
        summary["test_accuracy_last_fifth_mean"] = float(np.mean(tail))
    for records in coordinators or devices:
        for record in records:
            if record.metric == "test_top_k":
                summary[f"test_top_{record.labels['k']}"] = record.value


def _gauges(summary: Summary, nodes: Iterable[list[Record]]) -> None:
    """The last value of each gauge, as the mean over the nodes that recorded it."""
    found: dict[str, list[float]] = defaultdict(list)
    for records in nodes:
        last = {record.metric: record.value for record in records if METRICS[record.metric].kind == "gauge"}
        for metric, value in last.items():
            found[metric].append(value)
    for metric in found.keys() - TOLD_OTHERWISE:
        summary[metric] = float(np.mean(found[metric]))


def _energy(summary: Summary, own: list[Record]) -> None:
    by_node: dict[str, float] = defaultdict(float)
    for record in own:
        if record.metric == "energy_joules" and record.meter is None:
            by_node[record.labels["node"]] += record.value
    if by_node:
        summary["energy_joules_device_max"] = max(by_node.values())
    peaks: dict[str, float] = defaultdict(float)
    for record in own:
        if record.metric == "memory_bytes":
            peaks[record.labels["node"]] = max(peaks[record.labels["node"]], record.value)
    if peaks:
        summary["memory_bytes_max"] = max(peaks.values())


def _mixing(summary: Summary, plan: Plan, clusters: Mapping[str, float | None]) -> None:
    """How fast the devices' graph mixes what they know: its spectral gap, at the begin of the run where they move.

    `spectral_gap_in_clusters` is the mean over the clusters that the devices were in at the end.
    """
    devices = [node.name for node in plan.nodes if node.role == "device"]
    place = {name: index for index, name in enumerate(devices)}
    adjacency = np.zeros((len(devices), len(devices)), np.bool_)
    for link in plan.links:
        away = any(from_s <= 0.0 for from_s, _ in link.away)
        if link.source in place and link.target in place and not away:
            adjacency[place[link.source], place[link.target]] = True
    if not adjacency.any() or len(devices) > MOST_MIXED:
        return
    summary["spectral_gap"] = spectral_gap(adjacency | adjacency.T)
    of = [clusters.get(name) for name in devices]
    if None not in of:
        gaps = cluster_gaps(adjacency | adjacency.T, [int(each or 0) for each in of])
        summary["spectral_gap_in_clusters"] = float(np.mean(list(gaps.values())))


def _last(records: Iterable[Record], metric: str, split: str | None = None) -> float | None:
    found = None
    for record in records:
        if record.metric == metric and (split is None or record.labels.get("split") == split):
            found = record.value
    return found


def _globally(records: Iterable[Record]) -> list[Record]:
    """Without what was found on a device's own part of the test set."""
    return [record for record in records if record.labels.get("split") != "own"]


def _curve(records: Iterable[Record]) -> list[tuple[float, float]]:
    return [(record.t, record.value) for record in records if record.metric == "test_accuracy"]


def _mean_curve(curves: list[list[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Mean over devices at every instant at which one of them was evaluated, each holding its last value."""
    points = sorted((t, index, accuracy) for index, curve in enumerate(curves) for t, accuracy in curve)
    held: dict[int, float] = {}
    mean = []
    for t, index, accuracy in points:
        held[index] = accuracy
        if len(held) == len(curves):
            mean.append((t, float(np.mean(list(held.values())))))
    return mean
