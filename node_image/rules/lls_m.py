"""LLS-M: LLS that learns how much each class's row of the basis counts, C more parameters a block."""

from typing import TYPE_CHECKING

from node_image.local_signal import pool_sizes
from node_image.rules.lls import MIXING, Parameters, begin, cost, require_slopes

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Parameters", "adapt", "begin", "cost"]

SCALE = 0.01  # of the initial values, as in the authors' code


def adapt(params: Parameters, module: "nn.Sequential", shape: tuple[int, ...], classes: int) -> None:
    """Give every block that has weights its m (C)."""
    import torch
    from torch import nn

    require_slopes(module)
    for number in pool_sizes(module, params.first_pool, params.pool):
        module[number].register_parameter(MIXING, nn.Parameter(SCALE * torch.randn(classes)))
