"""Linear: softmax regression on the raw input."""

import math
from dataclasses import dataclass

from node_image.network import Architecture


@dataclass(frozen=True)
class Parameters:
    """Nothing to set."""


def build(params: Parameters, shape: tuple[int, ...], classes: int) -> Architecture:
    """One layer from an input of this shape (without the batch) to the classes; torch's default initial weights."""
    from torch import nn

    inputs = math.prod(shape)
    return Architecture(nn.Sequential(nn.Flatten(), nn.Linear(inputs, classes)), shape)
