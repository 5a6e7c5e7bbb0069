"""A detector on a grid: every cell of a picture says whether a thing's middle lies in it, where, how large, and what.

This is YOLO's single stage (Redmon et al. 2016, arXiv 1506.02640) with one box a cell. A model gives `5 + classes`
numbers a cell, row by row: objectness, column and row of the middle within the cell, width and height as parts of the
picture (a sigmoid makes 0-1 of each), then the scores of the classes. A model that gives one set of numbers for the
whole picture is a grid of one cell.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from node_image.average_precision import Detections, overlaps
from node_image.data.boxes import ACROSS, CLASS, COLUMN, CROWD, DOWN, ROW, Boxes, corners

if TYPE_CHECKING:
    import torch

BOX_NUMBERS = 5  # objectness, column, row, width, height
PLACE_WEIGHT = 5.0  # of errors of place and size, in the loss (the paper's lambda_coord)
EMPTY_WEIGHT = 0.5  # of cells without a thing (the paper's lambda_noobj)
LEAST_SCORE = 0.01  # detections below are left out
MOST_OVERLAP = 0.5  # with a better detection of the same class

Array = NDArray[np.float32]


def grid_of(boxes: Boxes, side: int) -> Array:
    """What each cell should say: (pictures, side * side, 6) of 1 if responsible, column, row, width, height, class.

    The cell in which a box's middle lies is responsible; for the largest box, where there are several. A crowd teaches
    nothing.
    """
    grid = np.zeros((len(boxes), side * side, 6), np.float32)
    picture, place = np.nonzero((boxes[..., CLASS] >= 0) & (boxes[..., CROWD] == 0))
    chosen = boxes[picture, place]
    smallest_first = np.argsort(chosen[:, ACROSS] * chosen[:, DOWN], kind="stable")  # the last one written stays
    picture, chosen = picture[smallest_first], chosen[smallest_first]
    middle = chosen[:, [COLUMN, ROW]] * side
    cell = np.clip(middle.astype(np.int64), 0, side - 1)
    grid[picture, cell[:, 1] * side + cell[:, 0]] = np.column_stack(
        [np.ones(len(chosen)), middle - cell, chosen[:, [ACROSS, DOWN, CLASS]]]
    )
    return grid


def grid_loss(scores: "torch.Tensor", boxes: "torch.Tensor", classes: int) -> "torch.Tensor":
    """Mean loss of a picture: objectness and class by cross-entropy, place and square root of size by squared error."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

    cells = scores.reshape(len(scores), -1, BOX_NUMBERS + classes)
    wanted = torch.from_numpy(grid_of(boxes.numpy(), _side(cells.shape[1])))
    full = wanted[..., 0] > 0
    weight = torch.where(full, 1.0, EMPTY_WEIGHT)
    objectness = binary_cross_entropy_with_logits(cells[..., 0], wanted[..., 0], weight, reduction="sum")
    said, true = cells[full], wanted[full]
    place = torch.sigmoid(said[:, 1:BOX_NUMBERS])
    error = ((place[:, :2] - true[:, 1:3]) ** 2).sum() + ((place[:, 2:].sqrt() - true[:, 3:5].sqrt()) ** 2).sum()
    kind = cross_entropy(said[:, BOX_NUMBERS:], true[:, 5].long(), reduction="sum")
    return (objectness + PLACE_WEIGHT * error + kind) / len(scores)


def detections(scores: Array, classes: int) -> Detections:
    """What a model's scores say is there: of each cell its likeliest class, without worse ones in the same place."""
    cells = scores.reshape(len(scores), -1, BOX_NUMBERS + classes).astype(np.float64)
    side = _side(cells.shape[1])
    chance = _sigmoid(cells[..., :BOX_NUMBERS])
    odds = np.exp(cells[..., BOX_NUMBERS:] - cells[..., BOX_NUMBERS:].max(axis=-1, keepdims=True))
    likely = (odds / odds.sum(axis=-1, keepdims=True)).max(axis=-1)
    score, kind = chance[..., 0] * likely, odds.argmax(axis=-1)
    row, column = np.divmod(np.arange(side * side), side)
    middle = (chance[..., 1:3] + np.stack([column, row], axis=-1)) / side
    place = corners(np.concatenate([middle, chance[..., 3:5]], axis=-1).astype(np.float32))
    kept = score >= LEAST_SCORE  # a NaN is not kept
    for picture in range(len(scores)):
        kept[picture, kept[picture]] = best_of_each_place(
            place[picture][kept[picture]], score[picture][kept[picture]], kind[picture][kept[picture]]
        )
    pictures, cell = np.nonzero(kept)
    there = (pictures, cell)
    return Detections(pictures, kind[there].astype(np.int64), score[there].astype(np.float32), place[there])


def best_of_each_place(places: Array, scores: NDArray[np.float64], kinds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which detections of a picture stay: no better one of their class overlaps them by more than half."""
    rival = overlaps(places, places, np.zeros(len(places), np.bool_)) > MOST_OVERLAP
    rival &= kinds[:, None] == kinds
    stays = np.ones(len(places), np.bool_)
    for each in np.argsort(-scores, kind="stable"):
        if stays[each]:
            stays[rival[each]] = False
            stays[each] = True
    return stays


def _side(cells: int) -> int:
    side = math.isqrt(cells)
    if side * side != cells:
        raise ValueError(f"a grid has as many rows as columns (found {cells} cells)")
    return side


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.5 * (1 + np.tanh(x / 2))  # overflows for no x
