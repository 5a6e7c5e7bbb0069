"""Pair-based STDP on spikes: units that fire together with, and just after, their inputs come to expect them.

For models of spiking layers. Competition is in the layer (one unit a position fires at a time); norms of weights and
thresholds are kept in balance (homeostasis). The readout is that of the other rules.
"""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from node_image.outcomes import UnfitError
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

    eta: float = parameter(0.1, "step size of the features", minimum=0.0)
    potentiate: float = parameter(1.0, "A+: weight of an input that fires before the unit", minimum=0.0)
    depress: float = parameter(0.5, "A-: weight of an input that fires after the unit", minimum=0.0)
    gamma: float = parameter(0.5, "share of a trace of spikes kept from step to step", minimum=0.0, maximum=1.0)
    homeostasis: float = parameter(0.02, "step size of thresholds towards equal rates", minimum=0.0)


def adapt(params: Parameters, module: "nn.Sequential", shape: tuple[int, ...], classes: int) -> None:
    """The thresholds are the model's own; UnfitError where it has no spiking layers."""
    if not _spiking_layers(module):
        raise UnfitError("spiking learns from spikes, and this model has none; try the model spiking_conv")


def begin(params: Parameters, network: "Network", constraint: "Constraint") -> "Step":
    """Start a local phase; each call of the result changes the weights for one minibatch and returns its loss."""
    changes = {}
    moving = unsupervised.weighted_layers(network, constraint).values() if params.eta else ()
    for layer in _spiking_layers(network.module):
        if layer.convolution in moving:
            of_weight = unsupervised.may_move(network, constraint, layer.convolution.weight)
            of_threshold = unsupervised.may_move(network, constraint, layer.threshold)
            changes[layer] = partial(learn, params, layer, of_weight, of_threshold)
    return unsupervised.begin(params, network, constraint, changes)


def learn(
    params: Parameters,
    layer: Any,
    of_weight: "torch.Tensor | None",
    of_threshold: "torch.Tensor | None",
    before: "torch.Tensor",
    after: "torch.Tensor",
) -> None:
    """Change the weights and thresholds of the units that fired, from spikes `before` and `after` the layer.

    dw_j = eta g_j / spikes of j, less its mean over the inputs; then w_j gets back the norm it had.
    dtheta_j = homeostasis (spikes of j / mean spikes of a unit - 1).
    """
    from node_image import hebbian

    w = layer.convolution.weight.flatten(1)
    x = hebbian.patches(before, layer.convolution)
    s = hebbian.answers(after, layer.convolution)
    fired = s.sum(dim=0)
    if not fired.any():
        return
    x = hebbian.by_frames(x, layer.frames)
    s = s.view(*x.shape[:3], len(w))
    g = hebbian.stdp(x, s, params.gamma, params.potentiate, params.depress) / fired.clamp(min=1)[:, None]
    new = w + params.eta * (g - g.mean(dim=1, keepdim=True))
    new = new * (w.norm(dim=1) / new.norm(dim=1).clamp(min=1e-12))[:, None]
    new = new.where(fired[:, None] > 0, w)
    unsupervised.put(layer.convolution.weight, new.view_as(layer.convolution.weight), of_weight)
    theta = layer.threshold + params.homeostasis * (fired / fired.mean() - 1)
    unsupervised.put(layer.threshold, theta, of_threshold)


def cost(params: Parameters, network: "Network", constraint: "Constraint", samples: int, steps: int) -> Cost:
    """Work of so many steps: a layer that moves costs three forward passes, each of all time steps."""
    return unsupervised.cost(network, constraint, samples, steps, passes=3.0 if params.eta else 1.0, ops=25)


def _spiking_layers(module: "nn.Module") -> list[Any]:
    """The model's layers of spiking units: whatever has a convolution and thresholds."""
    return [each for each in module.modules() if hasattr(each, "threshold") and hasattr(each, "convolution")]
