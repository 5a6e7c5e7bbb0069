"""Velocity: a device trains the neurons whose behaviour changes fastest, as many as its budget holds.

Bragagnolo et al. 2022 (NEq, arXiv 2207.09455) measure how fast; arXiv 2312.05282 ranks by it under a budget. Neurons
are looked at on a few samples before the first local phase and after each.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from node_image.network import Mask, Network
from node_image.neurons import Neurons, Numbers, similarity, velocity
from node_image.parameters import parameter
from node_image.selection.budget import Budget, Budgeted, budget
from node_image.selection.random import drawn

if TYPE_CHECKING:
    import torch
    from torch import nn

    from node_image.trial import Trial

Outputs = tuple[NDArray[np.float32], ...]  # of each layer; shape (samples, neurons, positions)


@dataclass(frozen=True)
class Parameters(Budgeted):
    """What a scenario may set."""

    mu: float = parameter(0.5, "mu: share of the last velocity that a new one contains", minimum=0.0, maximum=1.0)
    rank: str = parameter(
        "velocity",
        "what the fastest are: those with the largest |v|, or with the largest |v| for what they cost in weights",
        choices=("velocity", "velocity_per_param"),
    )
    velocity_form: str = parameter(
        "paper",
        "v = dphi - mu v' (paper), or v = dphi - dphi' + mu v' (code: as the authors' program computes it)",
        choices=("paper", "code"),
    )
    validation_samples: int = parameter(16, "own samples on which neurons are looked at", minimum=1)


@dataclass
class Velocity:
    """The selector of one learner: what its neurons did last, and how fast that was changing."""

    params: Parameters
    budget: Budget
    chosen: Mask | None
    phi: Numbers  # phi^(t-1), 1 at the start; shape (neurons,) as the next two
    change: Numbers  # dphi^(t-1)
    velocity: Numbers  # v^(t-1)
    outputs: Outputs = field(default=())

    @property
    def samples(self) -> int:
        """How many samples it looks at."""
        return self.params.validation_samples

    def mask(self) -> Mask | None:
        """The weights that may move in the next local phase, of the flat vector; None: all."""
        return self.chosen

    def observe(self, network: Network, inputs: "torch.Tensor") -> None:
        """Compare the neurons' outputs with those of last time, and choose the fastest; the first time, only look."""
        before, self.outputs = self.outputs, outputs(network, self.budget.neurons, inputs)
        if not before:
            return
        # A stream may have brought more samples since: what was not looked at last time cannot be compared.
        pairs = zip(before, self.outputs, strict=True)
        phi = np.concatenate([similarity(old, new[: len(old), :, : old.shape[2]]) for old, new in pairs])
        change = phi - self.phi
        self.velocity = velocity(self.params.velocity_form, change, self.change, self.velocity, self.params.mu)
        self.phi, self.change = phi, change
        self.chosen = self.budget.mask(self.ranked())

    def ranked(self) -> NDArray[np.int64]:
        """The neurons from the fastest to the slowest; those that are equally fast in the order of the network."""
        speed = np.abs(self.velocity)
        if self.params.rank == "velocity_per_param":
            speed = speed / self.budget.neurons.parameters
        return np.argsort(-speed, kind="stable")


def outputs(network: Network, neurons: Neurons, inputs: "torch.Tensor") -> Outputs:
    """What every neuron gives for each of the inputs, before normalisation and non-linearity.

    A linear unit gives one number a sample; its output is taken as one map over all samples.
    """
    import torch

    found: dict[str, NDArray[np.float32]] = {}

    def watch(name: str) -> "torch.utils.hooks.RemovableHandle":
        def keep(layer: "nn.Module", inputs: object, output: "torch.Tensor") -> None:
            maps = output.flatten(2) if output.dim() > 2 else output.T[None]
            found[name] = maps.numpy().copy()

        return network.module.get_submodule(name).register_forward_hook(keep)

    handles = [watch(each.name) for each in neurons.rows]
    try:
        with torch.inference_mode():
            network.module(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return tuple(found[each.name] for each in neurons.rows)


def begin(params: Parameters, network: Network, rng: np.random.Generator, trial: "Trial") -> Velocity:
    """Nothing is known yet: the first local phase trains neurons drawn at random."""
    found = budget(params, network)
    still = np.zeros(found.neurons.count)
    return Velocity(params, found, drawn(found, rng), still + 1, still, still)
