"""Random features: they stay as they were initialised, and only the readout learns. The control for Hebbian rules."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from node_image.rules import unsupervised
from node_image.rules.unsupervised import Readout
from node_image.runtime import Cost

if TYPE_CHECKING:
    from torch import nn

    from node_image.network import Constraint, Network, Step


@dataclass(frozen=True)
class Parameters(Readout):
    """What a scenario may set."""


def adapt(params: Parameters, module: "nn.Sequential", shape: tuple[int, ...], classes: int) -> None:
    """Nothing is needed beyond the model's own weights."""


def begin(params: Parameters, network: "Network", constraint: "Constraint") -> "Step":
    """Start a local phase; each call of the result changes the head for one minibatch and returns its loss."""
    return unsupervised.begin(params, network, constraint, {})


def cost(params: Parameters, network: "Network", constraint: "Constraint", samples: int, steps: int) -> Cost:
    """Work of so many steps: one forward pass, and the readout's update."""
    return unsupervised.cost(network, constraint, samples, steps)
