"""Head only: a device trains the last layer, on features that stay as they are. The least that learns."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from node_image.selection.static import Static

if TYPE_CHECKING:
    from node_image.network import Network
    from node_image.trial import Trial


@dataclass(frozen=True)
class Parameters:
    """Nothing to set."""


def begin(params: Parameters, network: "Network", rng: np.random.Generator, trial: "Trial") -> Static:
    """The selector of one learner: all weights before the head are held back."""
    return Static(np.arange(network.parts[-1].end) >= network.head_start)
