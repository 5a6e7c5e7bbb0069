"""Means with their intervals, and the correction for many tests."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Mean:
    """A mean with its confidence interval (Student's t) and the sample's standard deviation (n - 1).

    `low`, `high` and `sd` are None for a single value.
    """

    mean: float
    low: float | None
    high: float | None
    count: int
    sd: float | None = None


def mean(values: Sequence[float], confidence: float = CONFIDENCE) -> Mean:
    """Mean and its confidence interval. Raises ValueError without any value."""
    if not values:
        raise ValueError("no values: nothing to average")
    found = np.asarray(values, float)
    middle = float(found.mean())
    if len(found) < 2:
        return Mean(middle, None, None, len(found))
    sd = float(found.std(ddof=1))
    half = float(special.stdtrit(len(found) - 1, (1 + confidence) / 2) * sd / np.sqrt(len(found)))
    return Mean(middle, middle - half, middle + half, len(found), sd)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for being many (Holm 1979), in the order given."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, (len(p_values) - rank) * p_values[place])
        adjusted[place] = min(1.0, highest)
    return [float(each) for each in adjusted]
