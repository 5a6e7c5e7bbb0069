"""Generalised Hebbian algorithm: the units of a layer find the principal components of what it sees (Sanger 1989).

With one unit it is Oja's rule (Oja 1982).
"""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from node_image.parameters import parameter
from node_image.rules import unsupervised
from node_image.rules.unsupervised import Readout
from node_image.runtime import Cost

if TYPE_CHECKING:
    import torch
    from torch import nn

    from node_image.network import Constraint, Network, Step


@dataclass(frozen=True)
class Parameters(Readout):
    """What a scenario may set."""

    eta: float = parameter(0.1, "step size of the features, relative to the power of what they see", minimum=0.0)


def adapt(params: Parameters, module: "nn.Sequential", shape: tuple[int, ...], classes: int) -> None:
    """Nothing is needed beyond the model's own weights, but convolutions in one group: UnfitError for others."""
    unsupervised.require_one_group(module)


def begin(params: Parameters, network: "Network", constraint: "Constraint") -> "Step":
    """Start a local phase; each call of the result changes the weights for one minibatch and returns its loss.

    Works on every convolution (in one group) and linear layer before the head; their biases stay.
    """
    changes = {}
    if params.eta:
        for layer in unsupervised.weighted_layers(network, constraint).values():
            may = unsupervised.may_move(network, constraint, layer.get_parameter("weight"))
            changes[layer] = partial(learn, params, layer, may)
    return unsupervised.begin(params, network, constraint, changes)


def learn(
    params: Parameters, layer: Any, may: "torch.Tensor | None", inputs: "torch.Tensor", output: "torch.Tensor"
) -> None:
    """dw_ij = eta f_ij / max(sum ||x||^2, sum ||u||^2), with f summed over samples and positions.

    The divisor keeps a step of eta < 1 stable whatever the scale of the inputs and of the initial weights.
    """
    from node_image import hebbian

    w = layer.weight.flatten(1)
    x, u = hebbian.patches(inputs, layer).flatten(0, 1), hebbian.answers(output, layer)
    power = max(float(x.square().sum()), float(u.square().sum()))
    if power > 0:
        new = w + (params.eta / power) * hebbian.gha(x, u, w)
        unsupervised.put(layer.weight, new.view_as(layer.weight), may)


def cost(params: Parameters, network: "Network", constraint: "Constraint", samples: int, steps: int) -> Cost:
    """Work of so many steps: a layer that moves costs three forward passes."""
    return unsupervised.cost(network, constraint, samples, steps, passes=3.0 if params.eta else 1.0, ops=12)
