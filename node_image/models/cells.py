"""A layer without weights that makes a grid's cells a row of vectors, for a head that looks at each."""

from torch import Tensor, nn


class Cells(nn.Module):
    """Every cell's channels, row by row."""

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, channels, rows, columns) -> (batch, rows x columns, channels)."""
        return maps.flatten(2).transpose(1, 2)
