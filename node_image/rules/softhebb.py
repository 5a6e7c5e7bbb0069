"""SoftHebb: filters compete softly for what they see, and learn it without labels (Moraitis et al. 2022).

Where a model shows its layers frames in time, a term of spike-timing-dependent plasticity joins in, in the rate form.
With that term features do not come to rest: they are as good after 80 steps as after 320 (98-99 % on hard moving
digits, by a readout fitted afterwards), but others. A readout that learns meanwhile runs after them (69 % after four
epochs, where it has 99 % on features left alone after 200 steps), so let them learn in a critical period, as ELABiP
does, and then hold them.
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

    eta_0: float = parameter(0.08, "step size of the features while their norms are far from 1", minimum=0.0)
    eta_h: float = parameter(1.0, "eta_H: weight of the Hebbian term f", minimum=0.0)
    eta_t: float = parameter(2.0, "eta_T: weight of the STDP term g, where layers see frames in time")
    gamma: float = parameter(0.5, "share of a trace kept from frame to frame", minimum=0.0, maximum=1.0)
    kappa: float = parameter(1.0, "sharpness of the competition between filters", minimum=0.0)
    batch_size: int = parameter(10, "samples in a minibatch; features learn best from few at a time", minimum=1)


def adapt(params: Parameters, module: "nn.Sequential", shape: tuple[int, ...], classes: int) -> None:
    """SoftHebb needs nothing beyond the model's own weights, but convolutions in one group: UnfitError for others."""
    unsupervised.require_one_group(module)


def begin(params: Parameters, network: "Network", constraint: "Constraint") -> "Step":
    """Start a local phase; each call of the result changes the weights for one minibatch and returns its loss.

    Works on every convolution (in one group) and linear layer before the head; their biases and the weights of norm
    layers stay. Features do not decay (f has its own normaliser), the readout does.
    """
    frames, changes = unsupervised.frames_of(network.module), {}
    if params.eta_0:
        for layer in unsupervised.weighted_layers(network, constraint).values():
            may = unsupervised.may_move(network, constraint, layer.get_parameter("weight"))
            changes[layer] = partial(learn, params, frames, layer, may)
    return unsupervised.begin(params, network, constraint, changes)


def learn(
    params: Parameters,
    frames: int,
    layer: Any,
    may: "torch.Tensor | None",
    inputs: "torch.Tensor",
    output: "torch.Tensor",
) -> None:
    """dw_ij = eta_j (eta_H f_ij / max |f| + eta_T g_ij / max |g|), with f and g summed over samples and positions."""
    import torch

    from node_image import hebbian

    w, u = layer.weight.flatten(1), hebbian.without_bias(output, layer)
    a = hebbian.activity(u, params.kappa)
    order = hebbian.order(a, frames, params.gamma) if params.eta_t and frames > 1 else None
    s = hebbian.signed(a) if params.eta_h else None
    together = iter(hebbian.coincidence(layer, inputs, *(each for each in (s, order) if each is not None)))
    change = torch.zeros_like(w)
    if s is not None:
        change += params.eta_h * hebbian.scaled(hebbian.normalised(next(together), u, w, s))
    if order is not None:
        change += params.eta_t * hebbian.scaled(next(together))
    new = w + hebbian.rate(w, params.eta_0) * change
    unsupervised.put(layer.weight, new.view_as(layer.weight), may)


def cost(params: Parameters, network: "Network", constraint: "Constraint", samples: int, steps: int) -> Cost:
    """Work of so many steps: f costs as much as another forward pass of a layer that moves, and g as much as two."""
    with_g = params.eta_t and unsupervised.frames_of(network.module) > 1
    passes = 1.0 + (1.0 if params.eta_h else 0.0) + (2.0 if with_g else 0.0)
    return unsupervised.cost(network, constraint, samples, steps, passes if params.eta_0 else 1.0, ops=25)
