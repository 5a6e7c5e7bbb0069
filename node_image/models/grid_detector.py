"""Grid detector: a small convolutional network that gives its scores for every cell of a grid over the picture."""

from dataclasses import dataclass

from node_image.network import Architecture
from node_image.outcomes import UnfitError
from node_image.parameters import parameter


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    width: int = parameter(
        16, "channels of the first convolution; the next have twice and four times as many", minimum=1
    )
    cells: int = parameter(8, "cells in a row and in a column of the grid", minimum=1)


def build(params: Parameters, shape: tuple[int, ...], classes: int) -> Architecture:
    """conv3x3 w - pool - conv3x3 2w - pool - conv3x3 4w - largest in each cell - conv3x3 4w twice - head on each cell.

    `shape` is (rows, columns) or (channels, rows, columns), at least four pixels a cell each way: UnfitError for fewer;
    `classes` is how many numbers a cell gives. The last convolutions see the cells around.
    With the defaults, 3 channels and 7 numbers a cell it has 98,375 parameters.
    """
    from torch import nn

    from node_image.models.cells import Cells

    channels, rows, columns = (1, *shape) if len(shape) == 2 else shape
    if min(rows, columns) < 4 * params.cells:
        raise UnfitError(f"pictures of {rows} x {columns} are too small for {params.cells} x {params.cells} cells")
    w = params.width

    def block(inputs: int, outputs: int, *after: nn.Module) -> nn.Sequential:
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
        return nn.Sequential(convolution, nn.GroupNorm(1, outputs), nn.LeakyReLU(), *after)

    first = block(channels, w, nn.MaxPool2d(2))
    module = nn.Sequential(
        nn.Sequential(nn.Unflatten(1, (1, rows)), first) if len(shape) == 2 else first,
        block(w, 2 * w, nn.MaxPool2d(2)),
        block(2 * w, 4 * w, nn.AdaptiveMaxPool2d(params.cells)),
        block(4 * w, 4 * w),
        block(4 * w, 4 * w, Cells()),
        nn.Linear(4 * w, classes),
    )
    return Architecture(module, shape)
