"""Which figures of some runs one reads first, and short names for the runs: the same at the terminal and in reports."""

import re
from collections.abc import Mapping, Sequence

from orchestrator import quantities

Summary = Mapping[str, float | None]

BEFORE_TIME = ("test_accuracy",)
AFTER_TIME = ("sent_payload_bytes", "sent_wire_bytes", "energy_joules", "round_s", "update_age_s")
MEASURED = "measured_energy_joules."
OWN = re.compile(r"program\.(?!.*_(mean|p50|p95)$).*")  # what the programs of a workload have told
TIME_TO = re.compile(r"time_to_accuracy_(\d+)_s")


def headlines(summaries: Sequence[Summary]) -> list[str]:
    """The metrics that at least one run has: accuracy, the time it took, and what it cost, in that order.

    The times are those to the highest accuracy that every run reached, and to the highest that any of them reached.
    """

    def measured(metrics: Sequence[str]) -> list[str]:
        return [metric for metric in metrics if any(summary.get(metric) is not None for summary in summaries)]

    meters = sorted({metric for summary in summaries for metric in summary if metric.startswith(MEASURED)})
    own = sorted({metric for summary in summaries for metric in summary if OWN.fullmatch(metric)})
    return [*measured(BEFORE_TIME), *_times(summaries), *measured(AFTER_TIME), *measured(meters), *measured(own)]


def short_labels(labels: Sequence[str]) -> list[str]:
    """Labels of a comparison (`algorithm=fedavg seed=1`) without what all share and what goes without saying."""
    words = [label.split() for label in labels]
    if len({tuple(word.partition("=")[0] for word in each) for each in words}) != 1 or "=" not in labels[0]:
        return list(labels)
    varying = [column for column in zip(*words, strict=True) if len(set(column)) > 1]
    short = [" ".join(map(short_word, each)) for each in zip(*varying, strict=True)]
    return short or [" ".join(map(short_word, each)) for each in words]


def mean_with_interval(metric: str, values: Sequence[float | None]) -> str:
    """A figure over the seeds: the mean and half of its 95 % confidence interval; `-` where a seed lacks it."""
    from analysis.statistics import mean  # scipy takes half a second to import, and a single run needs none

    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return "-"
    found = mean(known)
    half = "" if found.high is None else f" ± {quantities.of_metric(metric, found.high - found.mean)}"
    return quantities.of_metric(metric, found.mean) + half


def family(label: str) -> str:
    """A run's label without its seed: runs that differ by the seed alone share a colour."""
    return re.sub(r"[\s,;]*\bseed=\d+\b", "", label).strip() or label


def short_word(word: str) -> str:
    """A word of a label without what goes without saying: `arm=elabip` is `elabip`, `seed=1` is `seed 1`."""
    key, _, value = word.partition("=")
    return value if key in ("algorithm", "arm", "setting") else f"{key.rpartition('.')[2].replace('_', ' ')} {value}"


def _times(summaries: Sequence[Summary]) -> list[str]:
    reached = [
        {int(match[1]) for name, value in summary.items() if value is not None and (match := TIME_TO.fullmatch(name))}
        for summary in summaries
    ]
    learned = [targets for targets in reached if targets]
    by_any = set().union(*learned)
    by_all = set.intersection(*learned) if learned and len(learned) == len(reached) else set()
    targets = sorted({max(found) for found in (by_all, by_any) if found})
    return [f"time_to_accuracy_{target}_s" for target in targets]
