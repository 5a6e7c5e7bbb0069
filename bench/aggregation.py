"""Aggregating 100 updates of 1 MB: `python -m bench.aggregation`. Beside it numpy's mean, which holds all at once."""

import time
import tracemalloc
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bench.figures import Figure, show
from node_image.aggregate import CumulativeMean

UPDATES = 100
ELEMENTS = 250_000
UPDATE_BYTES = 4 * ELEMENTS
TIMES = 5

Vector = NDArray[np.float32]


def cumulative(update: Vector) -> Vector:
    """The mean of updates that come one after the other."""
    mean = CumulativeMean()
    for samples in range(1, UPDATES + 1):
        mean.add(update, samples)
    return mean.mean()


def seconds(update: Vector) -> float:
    """CPU time of one mean, the best of some."""
    took = []
    for _ in range(TIMES):
        began = time.process_time()
        cumulative(update)
        took.append(time.process_time() - began)
    return min(took)


def stacked_seconds(update: Vector) -> float:
    """As `seconds`, of numpy's weighted mean of a matrix of all updates."""
    matrix = np.tile(update, (UPDATES, 1))
    began = time.process_time()
    np.average(matrix, axis=0, weights=np.arange(1, UPDATES + 1, dtype=np.float32))
    return time.process_time() - began


def peak_bytes(update: Vector) -> int:
    """Most memory held at a time beyond the update that has just come: the sums, which become the mean."""
    tracemalloc.start()
    cumulative(update)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def figures() -> Iterator[Figure]:
    """Two figures."""
    update = np.random.default_rng(0).normal(0, 0.1, ELEMENTS).astype(np.float32)
    beside = f"numpy.average of a matrix: {stacked_seconds(update):.3f} s and {UPDATES} MB"
    yield Figure("mean of 100 updates of 1 MB", seconds(update), "s", 0.2, beside=beside)
    beside = "sums in 64 bits, whose place the new model takes: it, and as much again"
    yield Figure("mean of 100 updates of 1 MB, memory", peak_bytes(update) / 1e6, "MB", 2.2, beside=beside)


if __name__ == "__main__":
    for each in figures():
        show(each)
