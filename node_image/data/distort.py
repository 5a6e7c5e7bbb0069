"""Distortions of samples: moved, turned, noisy. Pure; the last two axes of an array are its rows and columns."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def shifted(x: Array, dx: int, dy: int) -> Array:
    """Everything `dx` columns to the right and `dy` rows down; 0 where nothing comes from."""
    rows, columns = _sides(x)
    moved = np.zeros_like(x)
    if abs(dx) < columns and abs(dy) < rows:
        to_rows, from_rows = slice(max(0, dy), rows + min(0, dy)), slice(max(0, -dy), rows + min(0, -dy))
        to_columns, from_columns = slice(max(0, dx), columns + min(0, dx)), slice(max(0, -dx), columns + min(0, -dx))
        moved[..., to_rows, to_columns] = x[..., from_rows, from_columns]
    return moved


def rotated(x: Array, degrees: float) -> Array:
    """Turned counter-clockwise about the middle, bilinearly; 0 where nothing comes from."""
    rows, columns = _sides(x)
    down, across = np.mgrid[0:rows, 0:columns].astype(np.float64)
    down, across = down - (rows - 1) / 2, across - (columns - 1) / 2
    angle = np.deg2rad(degrees)
    # Where each pixel comes from: the picture is looked up at the coordinates turned back.
    from_row = np.cos(angle) * down + np.sin(angle) * across + (rows - 1) / 2
    from_column = np.cos(angle) * across - np.sin(angle) * down + (columns - 1) / 2
    padded = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(1, 1), (1, 1)])
    row, column = (np.clip(each + 1, 0, side) for each, side in ((from_row, rows + 1), (from_column, columns + 1)))
    top, left = np.minimum(row.astype(np.int64), rows), np.minimum(column.astype(np.int64), columns)
    below, right = (row - top).astype(np.float32), (column - left).astype(np.float32)
    upper = padded[..., top, left] * (1 - right) + padded[..., top, left + 1] * right
    lower = padded[..., top + 1, left] * (1 - right) + padded[..., top + 1, left + 1] * right
    turned: Array = upper * (1 - below) + lower * below
    return turned


def noise(shape: tuple[int, ...], ids: NDArray[np.int64], seed: Sequence[int]) -> Array:
    """Standard normal noise (n, *shape) that depends on a sample's id and the seed alone."""
    drawn = np.empty((len(ids), *shape), np.float32)
    for place, each in enumerate(ids):
        np.random.default_rng([*seed, int(each)]).standard_normal(dtype=np.float32, out=drawn[place])
    return drawn


def chances(ids: NDArray[np.int64], seed: Sequence[int]) -> NDArray[np.float64]:
    """A number from 0 to below 1 for each sample, evenly spread, that depends on its id and the seed alone.

    SplitMix64's output function (Steele, Lea and Flood 2014) on a sequence that starts at a random place.
    """
    start = np.random.default_rng(seed).integers(2**63, dtype=np.uint64)
    z = ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + start
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))).astype(np.float64) / 2.0**64


def _sides(x: Array) -> tuple[int, int]:
    if x.ndim < 3:
        raise ValueError(f"only pictures can be moved or turned (found samples of shape {x.shape[1:]})")
    return x.shape[-2], x.shape[-1]
