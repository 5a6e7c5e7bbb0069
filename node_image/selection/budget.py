"""A budget for the neurons that a device trains, as several selections have it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node_image.network import Mask, Network
from node_image.neurons import FLOAT_BYTES, Indices, Neurons, Numbers, longest_prefix, neurons
from node_image.outcomes import UnfitError
from node_image.parameters import parameter


@dataclass(frozen=True)
class Budgeted:
    """What a scenario may set of a budget B_max. The head is trained in any case, and not counted."""

    budget: float = parameter(
        0.2, "B_max: share of what all neurons of the model cost together", unit="ratio", minimum=0.0, maximum=1.0
    )
    budget_kind: str = parameter(
        "params",
        "what a share is of: params (weights of the neurons), or bytes (these, and the activations kept for them)",
        choices=("params", "bytes"),
    )
    budget_params: int = parameter(0, "B_max in weights, instead of a share; 0: the share", minimum=0)
    memory_bytes: int = parameter(
        0, "B_max in bytes of weights and kept activations, instead of a share; 0: the share", unit="bytes", minimum=0
    )
    kept_samples: int = parameter(1, "samples whose activations are in memory at a time", minimum=1)


@dataclass(frozen=True)
class Budget:
    """What each neuron costs, what a layer costs once one of its neurons is trained, and the most that may be spent."""

    neurons: Neurons
    costs: Numbers  # shape (neurons,)
    layer_costs: Numbers  # shape (layers,)
    most: float
    in_bytes: bool  # else in weights

    def within(self, ranked: Indices) -> Mask:
        """The longest prefix of the ranked neurons that the budget holds, as a mask of the neurons."""
        return longest_prefix(ranked, self.costs, self.neurons.layer, self.layer_costs, self.most)

    def spent(self, chosen: Mask) -> float:
        """What these neurons cost together."""
        return float(self.costs[chosen].sum() + self.layer_costs[np.unique(self.neurons.layer[chosen])].sum())

    def mask(self, ranked: Indices) -> Mask | None:
        """The weights that may move. A budget for all neurons holds nothing back: None, full training.

        One too small for the first in the ranking leaves the head alone to learn.
        """
        chosen = self.within(ranked)
        return None if chosen.all() else self.neurons.mask(chosen)


def budget(params: Budgeted, network: Network) -> Budget:
    """The budget of a selection for this network."""
    if params.budget_params and params.memory_bytes:
        raise UnfitError("budget_params and memory are two budgets; give one")
    found = neurons(network)
    in_bytes = params.memory_bytes > 0 or (params.budget_kind == "bytes" and not params.budget_params)
    costs: NDArray[np.float64] = found.parameters.astype(np.float64)
    layer_costs = np.zeros(len(found.rows))
    if in_bytes:
        costs *= FLOAT_BYTES
        layer_costs += FLOAT_BYTES * params.kept_samples * found.saved
    absolute = params.memory_bytes or params.budget_params
    most = float(absolute) if absolute else params.budget * float(costs.sum() + layer_costs.sum())
    return Budget(found, costs, layer_costs, most, in_bytes)
