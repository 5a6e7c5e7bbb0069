"""What a sub-model may take of a device's means, as the constraints of a knapsack."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from node_image.modules import Layout, held_layers
from node_image.spec import Limits
from node_image.submodel import Budget

if TYPE_CHECKING:
    from node_image.learner import Learner

HEADER_BYTES = 64
WEIGHT_BYTES = 4
TRAINED_BYTES = 8  # a weight that is trained, and its gradient; activations are not counted


@dataclass(frozen=True)
class Allowance:
    """What of a device's means a sub-model may take.

    `size` of the weights of all modules (0-1), at most `modules` a layer, `memory` of its memory (0-1), a local phase
    of `steps` of `batch` samples within `compute_s`, one transfer within `transfer_s` (s; 0: no matter how long).
    """

    size: float
    modules: int
    memory: float
    compute_s: float
    transfer_s: float
    steps: int
    batch: int


def budgets(learner: "Learner", where: Layout, allowance: Allowance, limits: Limits) -> tuple[Budget, ...]:
    """The constraints on a device's sub-model, after what stem, selector and head need of each."""
    sizes, head = where.sizes, where.size - where.head
    bounds = [Budget("size", sizes, math.floor(allowance.size * int(sizes.sum())))]
    if limits.memory_bytes is not None:
        fixed = WEIGHT_BYTES * int(where.frozen().sum()) + TRAINED_BYTES * head
        bounds.append(Budget("memory", TRAINED_BYTES * sizes, allowance.memory * limits.memory_bytes - fixed))
    if limits.macs_per_s is not None and allowance.compute_s:
        macs, before, after = _macs(learner, sizes.shape)
        samples = allowance.steps * allowance.batch
        amount = allowance.compute_s * limits.macs_per_s - samples * (before + 3 * after)
        bounds.append(Budget("compute", 3 * samples * macs, amount))  # backward costs twice the forward pass
    if limits.rate_bps is not None and allowance.transfer_s:
        fixed = HEADER_BYTES + WEIGHT_BYTES * head
        bounds.append(Budget("transfer", WEIGHT_BYTES * sizes, allowance.transfer_s * limits.rate_bps / 8 - fixed))
    return tuple(bounds)


def _macs(learner: "Learner", shape: tuple[int, ...]) -> tuple[NDArray[np.int64], int, int]:
    """Forward multiply-accumulates a sample: of each module, of stem and selector, of the head."""
    layers = learner.network.layers
    nothing = np.zeros(shape, np.bool_)
    *before, head = held_layers(layers, nothing)
    fixed = sum(layer.macs for layer in before) + head.macs
    macs = np.zeros(shape, np.int64)
    for place in np.ndindex(*shape):
        only = nothing.copy()
        only[place] = True
        macs[place] = sum(layer.macs for layer in held_layers(layers, only)) - fixed
    return macs, fixed - head.macs, head.macs
