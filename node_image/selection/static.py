"""A selector whose choice never changes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from node_image.network import Mask, Network

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Static:
    """The same weights in every local phase."""

    chosen: Mask | None
    samples: int = 0

    def mask(self) -> Mask | None:
        """The weights that may move in the next local phase, of the flat vector; None: all."""
        return self.chosen

    def observe(self, network: Network, inputs: "torch.Tensor") -> None:
        """What the model does changes nothing."""
