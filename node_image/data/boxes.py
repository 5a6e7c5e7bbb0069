"""Boxes around the things in a picture, as a detector learns them: one padded array for all pictures.

Boxes of shape (pictures, places, 6), float32: class, column and row of the middle, width, height (all four as parts of
the picture's sides, 0-1), and 1 for a crowd, in which things are not told apart. A class of -1 is an empty place.
"""

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Boxes = NDArray[np.float32]
WIDTH = 6
NONE = -1.0
CLASS, COLUMN, ROW, ACROSS, DOWN, CROWD = range(WIDTH)


def padded(rows: list[NDArray[np.float32]]) -> Boxes:
    """Boxes of each picture (n, 6), n differing, as one array."""
    boxes = np.zeros((len(rows), max(map(len, rows), default=0), WIDTH), np.float32)
    boxes[..., CLASS] = NONE
    for picture, those in enumerate(rows):
        boxes[picture, : len(those)] = those
    return boxes


def main_classes(boxes: Boxes) -> Labels:
    """Class of the largest single thing in each picture; -1 where there is none."""
    if boxes.shape[1] == 0:
        return np.full(len(boxes), -1, np.int64)
    single = (boxes[..., CLASS] >= 0) & (boxes[..., CROWD] == 0)
    area = np.where(single, boxes[..., ACROSS] * boxes[..., DOWN], -1.0)
    largest = area.argmax(axis=1)
    picture = np.arange(len(boxes))
    return np.where(area[picture, largest] >= 0, boxes[picture, largest, CLASS], -1).astype(np.int64)


def relabelled(boxes: Boxes, names: Labels) -> Boxes:
    """The boxes with each class c called `names[c]`; places whose new name is -1 become empty."""
    there = boxes[..., CLASS] >= 0
    new = boxes.copy()
    new[..., CLASS] = np.where(there, names[boxes[..., CLASS].astype(np.int64)], NONE)
    return new


def corners(middles: NDArray[np.float32]) -> NDArray[np.float32]:
    """(..., 4) as column, row, width, height -> left, top, right, bottom."""
    half = middles[..., 2:] / 2
    return np.concatenate([middles[..., :2] - half, middles[..., :2] + half], axis=-1)
