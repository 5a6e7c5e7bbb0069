"""MLP: one hidden layer of ReLU units."""

import math
from dataclasses import dataclass

from node_image.models.width import scaled
from node_image.network import Architecture
from node_image.parameters import parameter


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    hidden: int = parameter(32, "units of the hidden layer", minimum=1)


def narrower(params: Parameters, share: float) -> Parameters:
    """This model with so large a share of its width."""
    return scaled(params, share, "hidden")


def build(params: Parameters, shape: tuple[int, ...], classes: int) -> Architecture:
    """Input of this shape (without the batch) -> hidden -> classes; torch's default initial weights.

    On digits (64-32-10) it has 2,410 parameters.
    """
    from torch import nn

    hidden = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), params.hidden), nn.ReLU())
    return Architecture(nn.Sequential(hidden, nn.Linear(params.hidden, classes)), shape)
