"""MINE: a selection of one's own, which says which neurons a device trains. As it stands, they take turns.

    edgebed test-plugin MINE.py
    edgebed run smoke --plugin MINE.py --set learning.selection.name=MINE

A device that cannot train a whole model trains some of its neurons in each local phase: as many as its budget holds.
A neuron is an output channel of a convolution, or a unit of a linear layer; the head is trained in any case. They are
numbered layer by layer from the input on. `Budgeted` and `budget` do the accounting; what is yours is the ranking.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from node_image.parameters import parameter
from node_image.selection.budget import Budget, Budgeted, budget

if TYPE_CHECKING:  # torch takes seconds to load: import it inside functions
    import torch
    from numpy.typing import NDArray

    from node_image.network import Mask, Network
    from node_image.trial import Trial


@dataclass(frozen=True)
class Parameters(Budgeted):
    """What a scenario may set: `selection: {name: MINE, budget: 20 %, shuffled: false}`; `budget` is Budgeted's."""

    shuffled: bool = parameter(True, "of neurons trained equally often, take any; else the first of the network")


class Turns:
    """The selector of one device: what it has chosen for the next local phase, and how often each neuron was."""

    samples = 0  # how many of the device's own samples `observe` wants to see; velocity, for one, needs some

    def __init__(self, params: Parameters, budget: Budget, rng: np.random.Generator) -> None:
        self.params = params
        self.budget = budget
        self.rng = rng  # the device's own, from the run's seed: draw from no other
        self.times = np.zeros(budget.neurons.count)
        self.chosen = self.choose()

    def mask(self) -> "Mask | None":
        """The weights that may move in the next local phase, True in the flat vector; None: all of them."""
        return None if self.chosen.all() else self.budget.neurons.mask(self.chosen)

    def observe(self, network: "Network", inputs: "torch.Tensor") -> None:
        """After each local phase: the model as it is now, and `samples` of the device's own inputs. Choose anew.

        `network.weights` is what was learned; `node_image.selection.velocity` shows how to look at neurons' outputs.
        """
        self.times += self.chosen
        self.chosen = self.choose()

    def choose(self) -> "NDArray[np.bool_]":
        """Which neurons: rank all of them, the best first, and take the longest prefix that the budget holds."""
        order = self.rng.permutation(len(self.times)) if self.params.shuffled else np.arange(len(self.times))
        ranked = order[np.argsort(self.times[order], kind="stable")]  # those that were trained least often come first
        return self.budget.within(ranked)


def begin(params: Parameters, network: "Network", rng: np.random.Generator, trial: "Trial") -> Turns:
    """The selector of one device. `trial` tells what training some weights would bring (see sparse_update)."""
    return Turns(params, budget(params, network), rng)
