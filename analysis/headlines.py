"""Which figures of some runs one reads first, and short names for the runs: the same at the terminal and in reports."""

import re
from collections.abc import Mapping, Sequence

Summary = Mapping[str, float | None]

BEFORE_TIME = ("test_accuracy",)
AFTER_TIME = ("sent_payload_bytes", "sent_wire_bytes", "energy_joules", "round_s", "update_age_s")
TIME_TO = re.compile(r"time_to_accuracy_(\d+)_s")


def headlines(summaries: Sequence[Summary]) -> list[str]:
    """The metrics that at least one run has: accuracy, the time it took, and what it cost, in that order.

    The times are those to the highest accuracy that every run reached, and to the highest that any of them reached.
    """

    def measured(metrics: Sequence[str]) -> list[str]:
        return [metric for metric in metrics if any(summary.get(metric) is not None for summary in summaries)]

    return [*measured(BEFORE_TIME), *_times(summaries), *measured(AFTER_TIME)]


def short_labels(labels: Sequence[str]) -> list[str]:
    """Labels of a comparison (`algorithm=fedavg seed=1`) without what all share and what goes without saying."""
    words = [label.split() for label in labels]
    if len({tuple(word.partition("=")[0] for word in each) for each in words}) != 1 or "=" not in labels[0]:
        return list(labels)
    varying = [column for column in zip(*words, strict=True) if len(set(column)) > 1]
    short = [" ".join(map(_short_word, each)) for each in zip(*varying, strict=True)]
    return short or [" ".join(map(_short_word, each)) for each in words]


def _short_word(word: str) -> str:
    key, _, value = word.partition("=")
    return value if key == "algorithm" else f"{key.rpartition('.')[2].replace('_', ' ')} {value}"


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
