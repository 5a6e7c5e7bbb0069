"""MINE: a rule of one's own, which says how weights change. As it stands, stochastic gradient descent.

    edgebed test-plugin MINE.py
    edgebed run smoke --plugin MINE.py --set learning.rule.name=MINE

A model's weights are one flat float32 vector, `network.weights`; all its parameters are views of it, and
`network.gradients` is laid out alike. `network.parts` names the tensors in it, with where each begins and ends.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from node_image.parameters import parameter
from node_image.runtime import Cost

if TYPE_CHECKING:  # torch takes seconds to load: import it inside functions
    import torch
    from torch import nn

    from node_image.network import Constraint, Network, Step


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set. The learner reads `batch_size` and `shuffle`: every rule has them."""

    learning_rate: float = parameter(0.05, "step size", minimum=0.0)
    batch_size: int = parameter(32, "samples in a minibatch", minimum=1)
    shuffle: bool = parameter(True, "go through the local samples in a new order each time")


def adapt(params: Parameters, module: "nn.Sequential", shape: tuple[int, ...], classes: int) -> None:
    """Before the first step: give the model's blocks what the rule needs beyond their weights (here, nothing)."""


def begin(params: Parameters, network: "Network", constraint: "Constraint") -> "Step":
    """Start a local phase. The result is called with each minibatch, changes the weights and returns the loss.

    Weights outside `constraint.trainable` must stay as they are to the bit; `constraint.proximal` pulls the others
    towards where they began: FedProx and device selection work with every rule that keeps to this.
    """
    import torch

    weights, gradients = network.weights, network.gradients
    start = weights.clone()
    frozen = None if constraint.trainable is None else ~torch.from_numpy(constraint.trainable)

    def step(x: "torch.Tensor", y: "torch.Tensor") -> "torch.Tensor":
        gradients.zero_()
        loss = network.objective.loss(network.module(x), y)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        gradients.add_(weights - start, alpha=constraint.proximal)
        if frozen is not None:
            gradients.masked_fill_(frozen, 0.0)
        weights.add_(gradients, alpha=-params.learning_rate)
        return loss.detach()

    return step


def cost(params: Parameters, network: "Network", constraint: "Constraint", samples: int, steps: int) -> Cost:
    """What so many steps on so many samples take of a device, in multiply-accumulates and tensor operations.

    In simulation this is what time and energy come from. A backward pass costs about twice a forward pass.
    """
    return Cost(macs=3.0 * network.macs * samples, ops=(3.0 * network.ops + 4) * steps)
