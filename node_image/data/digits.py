"""Digits: 1,797 real handwritten digits of 8x8 pixels, as scikit-learn ships them (from the UCI repository)."""

import gzip
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from node_image.data.folder import DataNotFoundError
from node_image.data.task import Labels, Task

TRAIN_SAMPLES = 1500


@dataclass(frozen=True)
class Parameters:
    """Nothing to set."""


@cache
def images() -> tuple[NDArray[np.uint8], Labels]:
    """All digits in their published order: (1797, 8, 8) with values 0-16, and their labels.

    Reads the file inside scikit-learn without importing it, which would cost a node a second and 60 MB.
    """
    found = importlib.util.find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise DataNotFoundError("the digits are part of scikit-learn, which is not installed here; install it")
    path = Path(found.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    if not path.is_file():
        raise DataNotFoundError(f"there is no file {path}; install a scikit-learn that has it (1.0 or later)")
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)


def load(params: Parameters, data_seed: int, data_dir: str | None) -> Task:
    """1,500 digits for training and 297 for testing, shuffled by the seed; a model sees pixels from 0 to 1."""
    x, y = images()
    order = np.random.default_rng(data_seed).permutation(len(y))
    train, test = order[:TRAIN_SAMPLES], order[TRAIN_SAMPLES:]
    return Task(x[train], y[train], x[test], y[test], classes=10, scale=1 / 16)
