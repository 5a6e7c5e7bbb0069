"""SoftHebb's first layer: one convolution whose filters compete, and a linear readout (Moraitis et al. 2022)."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node_image.models.width import scaled
from node_image.network import Architecture
from node_image.parameters import parameter

if TYPE_CHECKING:
    from torch import nn

GRID = 4  # rows and columns of features for each filter


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    filters: int = parameter(64, "filters of the convolution", minimum=1)
    kernel: int = parameter(5, "rows and columns a filter sees, at most half the shorter side", unit="px", minimum=1)
    rho: float = parameter(0.7, "power of the triangle activation", minimum=0.0)
    initial: float = parameter(25.0, "standard deviation of initial weights x sqrt(inputs of a filter)", minimum=0.0)


def narrower(params: Parameters, share: float) -> Parameters:
    """This model with so large a share of its width."""
    return scaled(params, share, "filters")


def build(params: Parameters, shape: tuple[int, ...], classes: int) -> Architecture:
    """conv5x5 - triangle - maxpool(4, 2) - average to 4x4 - head; `shape` is (rows, columns) or with channels first.

    Images and features are standardised one sample at a time: an image as a whole, its features at each of the 4x4
    positions across filters. So there are no statistics that devices would have to agree on, which skewed samples
    would bias. Nor are they missed: on 8,000 CIFAR-10 images a plain readout (p = 0.01, 5 epochs, one seed) of
    SoftHebb features so standardised reaches 59.7 %, standardised by the mean and deviation of all training samples
    58.0 %, per sample across all features 58.3 %. With images that are not standardised most filters never win: 42.6,
    53.7 and 43.0 %.
    With the defaults and 10 classes there are 4,800 weights of filters (3 channels) and 10,250 of the head.
    """
    from torch import nn

    from node_image.models.feature_layers import AcrossFilters, Triangle

    channels, rows, columns = (1, *shape) if len(shape) == 2 else shape
    block = nn.Sequential(
        nn.Unflatten(1, (1, shape[0])) if len(shape) == 2 else nn.Identity(),
        nn.GroupNorm(1, channels, affine=False),
        competing(channels, params.filters, fitting(params.kernel, min(rows, columns)), params.initial),
        Triangle(params.rho),
        nn.MaxPool2d(4, 2, 1),
        nn.AdaptiveAvgPool2d(GRID),
        AcrossFilters(),
        nn.Flatten(),
    )
    return Architecture(nn.Sequential(block, nn.Linear(params.filters * GRID * GRID, classes)), shape)


def competing(channels: int, filters: int, kernel: int, initial: float) -> "nn.Conv2d":
    """A convolution without biases that keeps the size of an image; weights of deviation initial / sqrt(inputs)."""
    from torch import nn

    layer = nn.Conv2d(channels, filters, kernel, padding=kernel // 2, padding_mode="reflect", bias=False)
    nn.init.normal_(layer.weight, std=initial / math.sqrt(layer.weight[0].numel()))
    return layer


def fitting(kernel: int, side: int) -> int:
    """The greatest odd size of a filter up to `kernel` and half of `side`: 5 from 10 pixels, 3 on 8x8 digits."""
    fits = max(1, min(kernel, side // 2))
    return fits - (fits + 1) % 2
