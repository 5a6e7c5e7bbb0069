"""STDP alone: features learn from what follows what in time, and the Hebbian term f is left out (eta_H = 0)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from node_image.outcomes import UnfitError
from node_image.parameters import parameter
from node_image.rules import softhebb, unsupervised
from node_image.rules.unsupervised import Readout
from node_image.runtime import Cost

if TYPE_CHECKING:
    from torch import nn

    from node_image.network import Constraint, Network, Step


@dataclass(frozen=True)
class Parameters(Readout):
    """What a scenario may set."""

    eta_0: float = parameter(0.08, "step size of the features while their norms are far from 1", minimum=0.0)
    eta_t: float = parameter(1.0, "eta_T: weight of the STDP term g")
    gamma: float = parameter(0.5, "share of a trace kept from frame to frame", minimum=0.0, maximum=1.0)
    kappa: float = parameter(1.0, "sharpness of the competition between filters", minimum=0.0)


def adapt(params: Parameters, module: "nn.Sequential", shape: tuple[int, ...], classes: int) -> None:
    """STDP needs no weights of its own, but frames in time: UnfitError where the model shows its layers none."""
    if unsupervised.frames_of(module) == 1:
        raise UnfitError(
            "stdp learns from frames in time, which this model does not show its layers; try the model softhebb_stream"
        )


def begin(params: Parameters, network: "Network", constraint: "Constraint") -> "Step":
    """Start a local phase; each call of the result changes the weights for one minibatch and returns its loss."""
    return softhebb.begin(_with_f_left_out(params), network, constraint)


def cost(params: Parameters, network: "Network", constraint: "Constraint", samples: int, steps: int) -> Cost:
    """Work of so many steps: a layer that moves costs three forward passes."""
    return softhebb.cost(_with_f_left_out(params), network, constraint, samples, steps)


def _with_f_left_out(params: Parameters) -> softhebb.Parameters:
    return softhebb.Parameters(**vars(params), eta_h=0.0)
