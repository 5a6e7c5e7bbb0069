"""Back-propagation with plain stochastic gradient descent."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from node_image.parameters import parameter
from node_image.runtime import Cost

if TYPE_CHECKING:
    import torch
    from torch import nn

    from node_image.network import Constraint, Network, Step


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    learning_rate: float = parameter(0.05, "step size", minimum=0.0)
    momentum: float = parameter(0.0, "share of the last step kept, within one local phase", minimum=0.0, maximum=1.0)
    batch_size: int = parameter(32, "samples in a minibatch", minimum=1)
    weight_decay: float = parameter(0.0, "pull of every weight towards zero", minimum=0.0)
    shuffle: bool = parameter(True, "go through the local samples in a new order each time")


def adapt(params: Parameters, module: "nn.Sequential", shape: tuple[int, ...], classes: int) -> None:
    """Back-propagation needs nothing beyond the model's own weights."""


def begin(params: Parameters, network: "Network", constraint: "Constraint") -> "Step":
    """Start a local phase; each call of the result changes the weights for one minibatch and returns its loss.

    Minimises the task's loss (cross-entropy, or a detector's) + weight_decay/2 ||w||^2 + proximal/2 ||w - w0||^2, w0
    being the weights at the start.
    The backward pass goes no further down than the first block with a weight that may move.
    """
    import torch

    weights, gradients, module = network.weights, network.gradients, network.module
    start = weights.clone() if constraint.proximal else None
    velocity = weights.new_zeros(weights.shape) if params.momentum else None
    frozen = None if constraint.trainable is None else ~torch.from_numpy(constraint.trainable)
    first = first_moving(network, constraint)
    still, moving = (module[:first], module[first:]) if first else (None, module)

    def step(x: "torch.Tensor", y: "torch.Tensor") -> "torch.Tensor":
        gradients.zero_()
        if still is not None:
            with torch.no_grad():
                x = still(x)
        loss = network.objective.loss(moving(x), y)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        if params.weight_decay:
            gradients.add_(weights, alpha=params.weight_decay)
        if start is not None:
            gradients.add_(weights - start, alpha=constraint.proximal)
        if frozen is not None:
            gradients.masked_fill_(frozen, 0.0)
        change = gradients if velocity is None else velocity.mul_(params.momentum).add_(gradients)
        weights.add_(change, alpha=-params.learning_rate)  # one axpy: all parameters are views of one vector
        return loss.detach()

    return step


def first_moving(network: "Network", constraint: "Constraint") -> int:
    """The first child of the module that has a weight which may move."""
    if constraint.trainable is None:
        return 0
    moving = [part.child for part in network.parts if constraint.moves(part.start, part.end)]
    return min(moving, default=len(network.module) - 1)


def cost(params: Parameters, network: "Network", constraint: "Constraint", samples: int, steps: int) -> Cost:
    """Work of so many steps: the backward pass costs twice the forward pass of the layers it goes through.

    The update is four operations.
    """
    first = first_moving(network, constraint)
    backward = sum(layer.macs for layer in network.layers if layer.child >= first)
    share = backward / network.macs if network.macs else 1.0
    macs = (network.macs + 2.0 * backward) * samples
    return Cost(macs=macs, ops=((1.0 + 2.0 * share) * network.ops + 4) * steps)
