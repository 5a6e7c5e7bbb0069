"""Random: a device trains neurons drawn anew for every local phase, as many as its budget holds (arXiv 2312.05282)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from node_image.selection.budget import Budget, Budgeted, budget

if TYPE_CHECKING:
    import numpy as np
    import torch

    from node_image.network import Mask, Network
    from node_image.trial import Trial


@dataclass(frozen=True)
class Parameters(Budgeted):
    """What a scenario may set."""


@dataclass
class Random:
    """The selector of one learner: what it has drawn for the next local phase."""

    budget: Budget
    rng: "np.random.Generator"
    chosen: "Mask | None"
    samples: int = 0

    def mask(self) -> "Mask | None":
        """The weights that may move in the next local phase, of the flat vector; None: all."""
        return self.chosen

    def observe(self, network: "Network", inputs: "torch.Tensor") -> None:
        """Draw anew."""
        self.chosen = drawn(self.budget, self.rng)


def drawn(budget: Budget, rng: "np.random.Generator") -> "Mask | None":
    """Neurons in a random order, the longest prefix that the budget holds; None: all weights."""
    return budget.mask(rng.permutation(budget.neurons.count))


def begin(params: Parameters, network: "Network", rng: "np.random.Generator", trial: "Trial") -> Random:
    """A first draw."""
    found = budget(params, network)
    return Random(found, rng, drawn(found, rng))
