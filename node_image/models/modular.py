"""Modular: a stem, layers of modules that stand in for each other, a head. Sub-models of it have fewer modules."""

import math
from dataclasses import dataclass

from node_image.network import Architecture
from node_image.outcomes import UnfitError
from node_image.parameters import parameter


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    width: int = parameter(128, "features between stem, modules and head", minimum=1)
    hidden: int = parameter(32, "units inside a module", minimum=1)
    layers: int = parameter(2, "L: layers of modules", minimum=1, maximum=16)
    modules: int = parameter(8, "M: modules of a layer", minimum=1, maximum=16)
    top_k: int = parameter(3, "k: modules of a layer that work on a sample", minimum=1)
    pool: int = parameter(1, "pictures are made so many times smaller first, by averaging", minimum=1)


def build(params: Parameters, shape: tuple[int, ...], classes: int) -> Architecture:
    """linear + relu - L layers of M modules (linear - relu - linear) - head; torch's default initial weights.

    On pictures of 14x14 the stem is 196-128, a module 128-32-128 with 8,352 weights, and the whole model has 162,218.
    UnfitError where samples of this shape have no rows and columns to average.
    """
    from torch import nn

    from node_image.models.modular_block import ModularBlock

    inputs = math.prod(shape)
    smaller: nn.Module = nn.Identity()
    if params.pool > 1:
        if len(shape) not in (2, 3) or min(shape[-2:]) < params.pool:
            raise UnfitError(f"samples of shape {shape} are not pictures that can be made {params.pool} times smaller")
        rows, columns = shape[-2] // params.pool, shape[-1] // params.pool
        inputs, smaller = math.prod(shape[:-2]) * rows * columns, nn.AvgPool2d(params.pool)
    stem = nn.Sequential(smaller, nn.Flatten(), nn.Linear(inputs, params.width), nn.ReLU())
    block = ModularBlock(params.width, params.hidden, params.layers, params.modules, params.top_k)
    return Architecture(nn.Sequential(stem, block, nn.Linear(params.width, classes)), shape)
