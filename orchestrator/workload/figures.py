"""Figures of a run that programs of one's own have told: `program.<metric>` in the summary."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np

from node_image.records import Record
from node_image.workload.readings import KINDS

METRICS = frozenset(KINDS.values())


def figures(nodes: Mapping[str, Iterable[Record]]) -> dict[str, float]:
    """Counters are summed over nodes; of gauges, the mean of each node's last; of samples, median, mean and p95."""
    counted: dict[str, float] = defaultdict(float)
    last: dict[str, dict[str, float]] = defaultdict(dict)
    samples: dict[str, list[float]] = defaultdict(list)
    for node, records in nodes.items():
        for record in records:
            if record.metric not in METRICS:
                continue
            name = f"program.{record.labels['name']}"
            if record.metric == KINDS["counter"]:
                counted[name] += record.value
            elif record.metric == KINDS["gauge"]:
                last[name][node] = record.value
            else:
                samples[name].append(record.value)
    found = dict(counted) | {name: float(np.mean(list(values.values()))) for name, values in last.items()}
    for name, values in samples.items():
        found[name] = float(np.percentile(values, 50))
        found[f"{name}_mean"] = float(np.mean(values))
        found[f"{name}_p95"] = float(np.percentile(values, 95))
    return found
