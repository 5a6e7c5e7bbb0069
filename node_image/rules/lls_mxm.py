"""LLS-MxM: LLS that learns a better basis out of the rows of the fixed one, C x C more parameters a block."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from node_image.local_signal import pool_sizes
from node_image.parameters import parameter
from node_image.rules import lls
from node_image.rules.lls import MIXING, begin, cost
from node_image.rules.lls_m import SCALE

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Parameters", "adapt", "begin", "cost"]


@dataclass(frozen=True)
class Parameters(lls.Parameters):
    """What a scenario may set."""

    reduced: int = parameter(0, "S: rows of the fixed basis, where fewer than the classes shall do (0: C)", minimum=0)


def adapt(params: Parameters, module: "nn.Sequential", shape: tuple[int, ...], classes: int) -> None:
    """Give every block that has weights its M (S, C)."""
    import torch
    from torch import nn

    lls.require_slopes(module)
    rows = params.reduced or classes
    for number in pool_sizes(module, params.first_pool, params.pool):
        module[number].register_parameter(MIXING, nn.Parameter(SCALE * torch.randn(rows, classes)))
