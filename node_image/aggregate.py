"""How models become one: pure functions of flat float32 vectors."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]

PRECISION_BITS = 40
LARGEST_SUM = 2.0**62
CHUNK = 1 << 13  # elements added at a time: what is needed in between is small, and stays in the cache


class CumulativeMean:
    """Weighted mean of vectors that come one after the other, in 8 bytes an element: sum(n * w) / sum(n).

    The order in which they come changes no bit. Each term n * w is rounded once, as if w were rounded to a multiple of
    2^-40, and sums of whole numbers are exact. Where 64 bits are too few (w of 10^6 in all, or weights that differ by
    as much), the sums go on in Python's whole numbers, which take more time and memory.
    """

    def __init__(self) -> None:
        self._sum: NDArray[Any] | None = None  # flat; int64 or Python's int, in units of 2 ** _unit
        self._shape: tuple[int, ...] = ()
        self._unit = 0
        self._bound = 0.0  # no element of the sum is larger, in units
        self._weight = Fraction(0)

    def add(self, vector: Vector, weight: float) -> None:
        """Take in one vector; ValueError unless `weight` is positive and all numbers are finite."""
        if not weight > 0:
            raise ValueError(f"the weight of a vector must be positive (found {weight!r})")
        largest = max(float(vector.max(initial=0.0)), -float(vector.min(initial=0.0)))
        if not math.isfinite(largest * weight):
            raise ValueError("a vector must hold finite numbers only")
        unit = math.frexp(weight)[1] - 1 - PRECISION_BITS  # of this term
        if self._sum is None:
            self._sum, self._shape, self._unit = np.zeros(vector.size, np.int64), vector.shape, unit
        finer, coarser = max(0, self._unit - unit), max(0, unit - self._unit)
        factor = math.ldexp(weight, -unit)
        self._bound = math.ldexp(self._bound, finer) + math.ldexp(largest * factor + 1.0, coarser)
        if self._bound > LARGEST_SUM:
            self._sum = self._sum.astype(object)
        if finer:
            self._sum *= 1 << finer
            self._unit = unit
        values = vector.reshape(-1)
        for start in range(0, len(values), CHUNK):
            terms = np.multiply(values[start : start + CHUNK], factor, dtype=np.float64)
            np.rint(terms, out=terms)
            if coarser:
                np.ldexp(terms, coarser, out=terms)
            self._sum[start : start + CHUNK] += _whole(terms, self._sum.dtype)
        self._weight += Fraction(float(weight))

    def mean(self) -> Vector:
        """The mean of all vectors, in the memory of their sums: it can be had once. ValueError where there are none."""
        if self._sum is None:
            raise ValueError("no vector was added: there is no mean")
        sums, self._sum = self._sum, None
        total = float(self._weight / Fraction(2) ** self._unit)
        if sums.dtype == object:
            return (sums / total).astype(np.float32).reshape(self._shape)
        size, means = len(sums), sums.view(np.float32)  # a mean takes half the place of its sum: it never runs ahead
        for start in range(0, size, CHUNK):
            end = min(start + CHUNK, size)
            means[start:end] = sums[start:end] / total
        del means
        sums.resize(-(-size // 2), refcheck=False)  # gives the other half back
        return sums.view(np.float32)[:size].reshape(self._shape)


def _whole(numbers: NDArray[np.float64], dtype: "np.dtype[Any]") -> NDArray[Any]:
    return numbers.astype(np.int64) if dtype == np.int64 else np.array([int(each) for each in numbers], object)


def weighted_mean(vectors: Sequence[Vector], weights: Sequence[float]) -> Vector:
    """sum(n * w) / sum(n) (FedAvg, McMahan et al. 2017, algorithm 1); the order changes no bit."""
    total = CumulativeMean()
    for vector, weight in zip(vectors, weights, strict=True):
        total.add(vector, weight)
    return total.mean()


def mix(model: Vector, update: Vector, alpha: float) -> Vector:
    """(1 - alpha) * model + alpha * update (FedAsync, Xie et al. 2019, algorithm 1); alpha 0 keeps, 1 replaces."""
    return ((1.0 - alpha) * model.astype(np.float64) + alpha * update).astype(np.float32)


def constant(staleness: float) -> float:
    """Weight 1 whatever the staleness (versions)."""
    return 1.0


def hinge(staleness: float, a: float, b: float) -> float:
    """1 up to a staleness of b, then 1 / (a * (staleness - b) + 1) (FedAsync, section 5.2)."""
    return 1.0 if staleness <= b else 1.0 / (a * (staleness - b) + 1.0)


def polynomial(staleness: float, a: float) -> float:
    """(staleness + 1) ** -a (FedAsync, section 5.2)."""
    return float((staleness + 1.0) ** -a)
