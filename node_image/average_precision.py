"""Average precision of detections as COCO's evaluation defines it (Lin et al. 2014). Pure.

Of every class, a picture's detections are taken by falling score; each is given the thing that it overlaps most and
that no earlier one has, if the overlap (intersection over union) reaches a threshold. Precision is made to fall with
recall and read at 101 recalls; the average precision is the mean over these, the thresholds and the classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node_image.data.boxes import CLASS, COLUMN, CROWD, Boxes, corners

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
RECALLS = np.linspace(0.0, 1.0, 101)
MOST = 100  # detections of a class in a picture that count

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Detections:
    """Things found, one a row: index of the picture, class, score and (left, top, right, bottom)."""

    pictures: NDArray[np.int64]
    classes: NDArray[np.int64]
    scores: NDArray[np.float32]
    corners: NDArray[np.float32]


def average_precision(found: Detections, boxes: Boxes, thresholds: Sequence[float] = THRESHOLDS) -> Floats:
    """Average precision (0-1) at each threshold, over the classes that the pictures have; NaN where they have none."""
    single = (boxes[..., CLASS] >= 0) & (boxes[..., CROWD] == 0)
    kinds = np.unique(boxes[..., CLASS][single]).astype(np.int64)
    each = [_of_class(found, boxes, kind, thresholds) for kind in kinds]
    return np.mean(each, axis=0) if each else np.full(len(thresholds), np.nan)


def overlaps(one: NDArray[np.float32], other: NDArray[np.float32], crowd: NDArray[np.bool_]) -> Floats:
    """Intersection over union of every pair of boxes (left, top, right, bottom); shape (of one, of other).

    With a crowd it is the part of the first box that lies in it.
    """
    first, second = one.astype(np.float64)[:, None], other.astype(np.float64)
    sides = np.minimum(first[..., 2:], second[:, 2:]) - np.maximum(first[..., :2], second[:, :2])
    inside = np.clip(sides, 0, None).prod(axis=-1)
    area, other_area = (np.clip(each[..., 2:] - each[..., :2], 0, None).prod(axis=-1) for each in (first, second))
    whole = np.where(crowd, area, area + other_area - inside)
    shared: Floats = np.divide(inside, whole, out=np.zeros_like(inside), where=whole > 0)
    return shared


def _of_class(found: Detections, boxes: Boxes, kind: int, thresholds: Sequence[float]) -> Floats:
    """Average precision of one class at each threshold."""
    of_kind = found.classes == kind
    scores: list[NDArray[np.float32]] = []
    right: list[NDArray[np.bool_]] = []  # of each picture (thresholds, detections)
    counted: list[NDArray[np.bool_]] = []
    things = 0
    for picture, there in enumerate(boxes):
        truth = there[there[:, CLASS] == kind]
        crowd = truth[:, CROWD] > 0
        things += int((~crowd).sum())
        mine = np.flatnonzero(of_kind & (found.pictures == picture))
        if not (len(mine) or len(truth)):
            continue
        mine = mine[np.argsort(-found.scores[mine], kind="stable")][:MOST]
        overlap = overlaps(found.corners[mine], corners(truth[:, COLUMN:CROWD]), crowd)
        matched = [_match(overlap, crowd, threshold) for threshold in thresholds]
        scores.append(found.scores[mine])
        right.append(np.stack([hit for hit, _ in matched]))
        counted.append(np.stack([counts for _, counts in matched]))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    hits, counts = np.concatenate(right, axis=1)[:, order], np.concatenate(counted, axis=1)[:, order]
    return np.array([_under_the_curve(h[c], things) for h, c in zip(hits, counts, strict=True)])


def _match(overlap: Floats, crowd: NDArray[np.bool_], threshold: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For each detection, by falling score: whether it is right, and whether it counts (not if it lies in a crowd)."""
    right, counts = np.zeros(len(overlap), np.bool_), np.ones(len(overlap), np.bool_)
    free = ~crowd
    for detection, those in enumerate(overlap):
        single = np.where(free, those, -1.0)
        if free.any() and single.max() >= threshold:
            # Of equal overlaps the last one, as COCO's own code takes it.
            free[len(single) - 1 - int(single[::-1].argmax())] = False
            right[detection] = True
        elif (those[crowd] >= threshold).any():
            counts[detection] = False
    return right, counts


def _under_the_curve(right: NDArray[np.bool_], things: int) -> float:
    """Mean precision at 101 recalls, of detections by falling score, where there are so many things to find."""
    if len(right) == 0:
        return 0.0
    hits = np.cumsum(right)
    precision, recall = hits / np.arange(1, len(right) + 1), hits / things
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, RECALLS, side="left")
    return float(np.where(at < len(falling), falling[np.minimum(at, len(falling) - 1)], 0.0).mean())
