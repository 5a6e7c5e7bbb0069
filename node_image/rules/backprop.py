"""Back-propagation with plain stochastic gradient descent."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from node_image.parameters import parameter
from node_image.runtime import Cost

if TYPE_CHECKING:
    import torch

    from node_image.network import Network, Step


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    learning_rate: float = parameter(0.05, "step size", minimum=0.0)
    momentum: float = parameter(0.0, "share of the last step kept, within one local phase", minimum=0.0, maximum=1.0)
    batch_size: int = parameter(32, "samples in a minibatch", minimum=1)
    weight_decay: float = parameter(0.0, "pull of every weight towards zero", minimum=0.0)
    shuffle: bool = parameter(True, "go through the local samples in a new order each time")


def begin(params: Parameters, network: "Network", proximal: float) -> "Step":
    """Start a local phase; each call of the result changes the weights for one minibatch and returns its loss.

    Minimises cross-entropy + weight_decay/2 ||w||^2 + proximal/2 ||w - w0||^2, w0 being the weights at the start.
    """
    from torch.nn.functional import cross_entropy

    weights, gradients = network.weights, network.gradients
    start = weights.clone() if proximal else None
    velocity = weights.new_zeros(weights.shape) if params.momentum else None

    def step(x: "torch.Tensor", y: "torch.Tensor") -> "torch.Tensor":
        gradients.zero_()
        loss = cross_entropy(network.module(x), y)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        if params.weight_decay:
            gradients.add_(weights, alpha=params.weight_decay)
        if start is not None:
            gradients.add_(weights - start, alpha=proximal)
        change = gradients if velocity is None else velocity.mul_(params.momentum).add_(gradients)
        weights.add_(change, alpha=-params.learning_rate)  # one axpy: all parameters are views of one vector
        return loss.detach()

    return step


def cost(network: "Network", samples: int, steps: int) -> Cost:
    """Work of so many steps: the backward pass costs twice the forward pass, the update four operations."""
    return Cost(macs=3.0 * network.macs * samples, ops=(3.0 * network.ops + 4) * steps)
