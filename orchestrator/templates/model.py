"""MINE: a model of one's own. As it stands, two hidden layers.

    edgebed test-plugin MINE.py
    edgebed run smoke --plugin MINE.py --set learning.model=MINE

A model is an `nn.Sequential`: every child but the last is a block, the last is the head: `nn.Linear` on flat features.
So rules that learn block by block and algorithms that send the head alone fit any model. Use GroupNorm, not BatchNorm:
its running means are no weights, and so would never travel between nodes.
"""

import math
from dataclasses import dataclass

from node_image.network import Architecture
from node_image.parameters import parameter


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set: `model: {name: MINE, hidden: 64}`."""

    hidden: int = parameter(48, "units of each hidden layer", minimum=1)


def build(params: Parameters, shape: tuple[int, ...], classes: int) -> Architecture:
    """A model for samples of this shape (without the batch), with fresh weights from torch's global generator."""
    from torch import nn  # torch takes seconds to load: import it inside functions

    first = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), params.hidden), nn.ReLU())
    second = nn.Sequential(nn.Linear(params.hidden, params.hidden), nn.ReLU())
    return Architecture(nn.Sequential(first, second, nn.Linear(params.hidden, classes)), shape)
