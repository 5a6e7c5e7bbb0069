"""What the selector of a modular model makes of a device's own samples: how important each module is to it."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from node_image.modules import held_layers
from node_image.outcomes import UnfitError
from node_image.runtime import Cost
from node_image.submodel import Chosen, Vector, importance

if TYPE_CHECKING:
    from node_image.learner import Learner
    from node_image.models.modular_block import ModularBlock
    from node_image.network import Network

PROFILED_SAMPLES = 256  # at most: the mean of a gate needs no more


def modular_block(network: "Network") -> "ModularBlock":
    """The block of modules, which stands between stem and head; UnfitError in a model that has none."""
    from node_image.models.modular_block import ModularBlock

    block = network.module[1]
    if not isinstance(block, ModularBlock):
        raise UnfitError(f"the model has no modules (found {type(block).__name__})")
    return block


def own_importance(learner: "Learner", now: float) -> Vector:
    """Mean gate of every module (L, M) over the newest own samples, as they are sensed at `now` (s)."""
    import torch

    network, task, there = learner.network, learner.task, learner.samples(now)
    raw, _ = learner.raw(max(0, there - PROFILED_SAMPLES), min(there, PROFILED_SAMPLES), now)
    x = network.tensor(raw.astype(np.float32) * np.float32(task.scale) + np.float32(task.offset))
    with network.lock, torch.inference_mode():
        np.copyto(network.buffer, learner.weights())
        return importance(modular_block(network).gates(network.module[0](x)).numpy())


def own_importance_cost(learner: "Learner", now: float) -> Cost:
    """Work of `own_importance`: stem and selector, on each sample."""
    block = modular_block(learner.network)
    stem = held_layers(learner.network.layers, np.zeros(tuple(block.active.shape), np.bool_))[:-1]  # the head is last
    macs = sum(layer.macs for layer in stem)
    return Cost(float(macs * min(PROFILED_SAMPLES, learner.samples(now))), ops=6.0)


def holding(learner: "Learner", chosen: Chosen, weights: Vector) -> "Learner":
    """The learner with these weights, of a model that has the chosen modules alone: its costs are those of the rest."""
    network = learner.network
    layers = held_layers(network.layers, chosen)
    spared = len(network.layers) - len(layers)  # a module has two linear layers and, between them, an activation
    view = replace(learner, network=replace(network, layers=layers, ops=network.ops - spared - spared // 2))
    view.load(weights)
    return view
