"""How models become one: pure functions of flat float32 vectors."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


class CumulativeMean:
    """Weighted mean of vectors that come one after the other, in the memory of one: sum(n * w) / sum(n).

    Sums in float64. The result depends on the order of the vectors in its last bit, so that a caller who wants the
    same result every time adds them in a fixed order.
    """

    def __init__(self) -> None:
        self._sum: NDArray[np.float64] | None = None
        self._weight = 0.0

    def add(self, vector: Vector, weight: float) -> None:
        """Take in one vector; `weight` must be positive."""
        if not weight > 0:
            raise ValueError(f"the weight of a vector must be positive (found {weight!r})")
        if self._sum is None:
            self._sum = np.zeros(vector.shape)
        self._sum += np.float64(weight) * vector
        self._weight += weight

    def mean(self) -> Vector:
        """The mean of all vectors so far; ValueError while there are none."""
        if self._sum is None:
            raise ValueError("no vector was added: there is no mean")
        return (self._sum / self._weight).astype(np.float32)


def weighted_mean(vectors: Sequence[Vector], weights: Sequence[float]) -> Vector:
    """sum(n * w) / sum(n), added in the order given (FedAvg, McMahan et al. 2017, algorithm 1)."""
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
