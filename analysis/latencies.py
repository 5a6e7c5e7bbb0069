"""How long things took: message delays, rounds, local phases, ages of updates; as samples, over all seeds of an arm."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.groups import Group
from analysis.messages import messages

DELAY = "message_delay_s"
SAMPLED = ("round_s", "local_phase_s", "update_age_s", "staleness")
TITLES = {
    DELAY: "message delay",
    "round_s": "round",
    "local_phase_s": "local phase",
    "update_age_s": "age of updates",
    "staleness": "staleness",
}


@dataclass(frozen=True)
class Observed:
    """What the runs of a group recorded: samples by metric, delays by kind of message, and how many of all messages
    have no known arrival.
    """

    group: Group
    samples: Mapping[str, Sequence[float]]
    delays: Mapping[str, Sequence[float]]
    unmatched: int
    messages: int


@dataclass(frozen=True)
class Quantiles:
    """Of so many samples: the median, the 95th and 99th percentile, and the largest, in the metric's base unit."""

    count: int
    p50: float
    p95: float
    p99: float
    largest: float


def observe(group: Group) -> Observed:
    """All samples of a group's runs. A delay lasts from the hand-over to the transport to the arrival."""
    delays: dict[str, list[float]] = defaultdict(list)
    samples: dict[str, list[float]] = {}
    unmatched = count = 0
    for run in group.runs:
        found = messages(run)
        unmatched += found.unmatched
        count += len(found.all)
        for each in found.all:
            if each.arrived_s is not None:
                delays[each.kind].append(max(0.0, each.arrived_s - each.sent_s))
    if delays:
        samples[DELAY] = [delay for of_kind in delays.values() for delay in of_kind]
    for metric in SAMPLED:
        if values := [entry.record.value for run in group.runs for entry in run.of(metric)]:
            samples[metric] = values
    return Observed(group, samples, delays, unmatched, count)


def quantiles(values: Sequence[float]) -> Quantiles:
    """Of at least one value; between two samples, on the straight line."""
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    return Quantiles(len(values), float(p50), float(p95), float(p99), float(max(values)))
