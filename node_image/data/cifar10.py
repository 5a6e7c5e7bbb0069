"""CIFAR-10 (a JPEG copy, so pixels differ slightly from the original): 60,000 colour images of 32x32 pixels.

The data folder holds `cifar10/train_1.npz` .. `train_5.npz` and `test.npz` of 10,000 images each, all balanced over
the classes and in random order. A file has the labels `y` and three xz streams: the planes green, red - green and
blue - green, each as residuals (modulo 256) of the median edge predictor of JPEG-LS.
"""

import lzma
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from node_image.data.folder import locate
from node_image.data.task import Labels, Task
from node_image.parameters import parameter

SIDE = 32
PART_SAMPLES = 10_000
PARTS = 5
DECODER_MEMORY_BYTES = 1 << 28

Plane = NDArray[np.int16]  # (rows, columns, images)


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    train_samples: int = parameter(0, "training samples drawn by the data seed; 0: all 50,000", minimum=0)
    test_samples: int = parameter(0, "test samples drawn by the data seed; 0: all 10,000", minimum=0)


def load(params: Parameters, data_seed: int, data_dir: str | None) -> Task:
    """Images of shape (3, 32, 32); a model sees pixels from 0 to 1. A part takes 1-3 s: only those needed are read."""
    parts = min(PARTS, math.ceil((params.train_samples or PARTS * PART_SAMPLES) / PART_SAMPLES))
    train = [read_part(locate(data_dir, "cifar10", f"train_{part}.npz")) for part in range(1, parts + 1)]
    test_x, test_y = read_part(locate(data_dir, "cifar10", "test.npz"))
    train_x = np.concatenate([x for x, _ in train])
    train_y = np.concatenate([y for _, y in train])
    task = Task(train_x, train_y, test_x, test_y, classes=10, scale=1 / 255)
    return task.subset(params.train_samples, params.test_samples, data_seed)


def read_part(path: Path) -> tuple[NDArray[np.uint8], Labels]:
    """Images (n, 3, 32, 32) and labels of one file; ValueError where a stream is not as long as it must be."""
    with np.load(path, allow_pickle=False) as file:
        labels = file["y"].astype(np.int64)
        streams = [file[name].tobytes() for name in ("p0", "p1", "p2")]
    green_residuals, red_residuals, blue_residuals = (_unpack(each, len(labels), path) for each in streams)
    green = restore(green_residuals, np.zeros_like(green_residuals, np.int16))
    red, blue = restore(red_residuals, green), restore(blue_residuals, green)
    images = np.stack([red, green, blue]).astype(np.uint8)  # (3, rows, columns, images)
    return np.ascontiguousarray(np.moveaxis(images, -1, 0)), labels


def restore(residuals: NDArray[np.uint8], base: Plane) -> Plane:
    """Pixels (0-255) of a plane whose differences from `base` were predicted; inverse of the predictor.

    All images of a part are restored together, pixel after pixel, because each pixel is predicted from its
    neighbours above and to the left.
    """
    pixels = np.empty(residuals.shape, np.int16)
    difference = np.empty(residuals.shape, np.int16)
    for row in range(residuals.shape[0]):
        for column in range(residuals.shape[1]):
            predicted = _predict(difference, row, column)
            pixels[row, column] = (residuals[row, column] + predicted + base[row, column]) & 255
            difference[row, column] = pixels[row, column] - base[row, column]
    return pixels


def _predict(plane: Plane, row: int, column: int) -> Plane:
    if row == 0 and column == 0:
        return np.zeros_like(plane[0, 0])
    above: Plane = plane[row - 1, column]
    left: Plane = plane[row, column - 1]
    if row == 0:
        return left
    if column == 0:
        return above
    corner = plane[row - 1, column - 1]
    # The middle one of left, above and the plane through all three: an edge on either side is followed.
    predicted: Plane = np.clip(left + above - corner, np.minimum(left, above), np.maximum(left, above))
    return predicted


def _unpack(stream: bytes, images: int, path: Path) -> NDArray[np.uint8]:
    size = images * SIDE * SIDE
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=DECODER_MEMORY_BYTES)
    data = decoder.decompress(stream, size)
    if len(data) != size:
        raise ValueError(f"{path}: a plane has {len(data)} bytes, not {size}; is the file cut short?")
    return np.ascontiguousarray(np.frombuffer(data, np.uint8).reshape(images, SIDE, SIDE).transpose(1, 2, 0))
