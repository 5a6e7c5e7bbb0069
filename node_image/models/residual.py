"""A block whose output is added to its input. Imports torch: models load it when they build."""

import torch
from torch import nn


class Residual(nn.Module):
    """`path(x) + shortcut(x)`, then `after`; the shortcut and `after` leave things as they are unless given."""

    def __init__(self, path: nn.Module, shortcut: nn.Module | None = None, after: nn.Module | None = None) -> None:
        super().__init__()
        self.path = path
        self.shortcut = shortcut if shortcut is not None else nn.Identity()
        self.after = after if after is not None else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The sum of both ways."""
        after: torch.Tensor = self.after(self.path(x) + self.shortcut(x))
        return after
