"""Layers from which feature extractors that learn without labels are built."""

import torch
from torch import Tensor, nn

from node_image.hebbian import by_frames, spikes_of, spiking, trace, triangle


class Triangle(nn.Module):
    """What a SoftHebb layer passes on: ReLU(u_j - mean over channels)^rho."""

    def __init__(self, rho: float) -> None:
        super().__init__()
        self.rho = rho

    def forward(self, u: Tensor) -> Tensor:
        """(batch, channels, ...) -> the same shape."""
        return triangle(u, self.rho)


class AcrossFilters(nn.Module):
    """Standardises the answers of all filters at one position: divisive normalisation, of each sample by itself."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, filters, rows, columns) -> the same shape."""
        return nn.functional.layer_norm(x.movedim(1, -1), (x.shape[1],)).movedim(-1, 1)


class Motion(nn.Module):
    """Frames of a clip one by one, each with what changed: x(t) and x(t) - x~(t-1).

    Later layers see batch x frames samples, those of a clip one after another; `frames` tells a rule how many.
    """

    def __init__(self, frames: int, gamma: float) -> None:
        super().__init__()
        self.frames = frames
        self.gamma = gamma

    def forward(self, clips: Tensor) -> Tensor:
        """(batch, frames, rows, columns) -> (batch x frames, 2, rows, columns)."""
        changed = clips - trace(clips, self.gamma)
        return torch.stack([clips, changed], dim=2).flatten(0, 1)


class SpikeTrain(nn.Module):
    """Spikes of an on- and an off-cell for each pixel, at a rate that grows with the pixel's contrast.

    A cell integrates max(0, x) or max(0, -x) over `gain`, at most 1 a step, and fires whenever that reaches 1: strong
    inputs fire early and often. No chance is involved. `frames` is the number of time steps, laid out as in `Motion`.
    """

    def __init__(self, steps: int, gain: float) -> None:
        super().__init__()
        self.frames = steps
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, rows, columns) -> spikes (batch x steps, 2 channels, rows, columns)."""
        rates = (torch.cat([x, -x], dim=1) / self.gain).clamp(0, 1)
        return spikes_of(rates, self.frames).flatten(0, 1)


class SpikingConvolution(nn.Module):
    """Leaky integrate-and-fire units behind a convolution; at each position the one furthest above threshold fires.

    `threshold` (filters,) are weights like all others: they move (homeostasis) and travel with the model.
    """

    def __init__(self, convolution: nn.Conv2d, frames: int, leak: float, threshold: float) -> None:
        super().__init__()
        self.convolution = convolution
        self.threshold = nn.Parameter(torch.full((convolution.out_channels,), threshold))
        self.frames = frames
        self.leak = leak

    def forward(self, spikes: Tensor) -> Tensor:
        """Spikes (batch x steps, inputs, rows, columns) -> spikes (batch x steps, filters, rows, columns)."""
        currents = by_frames(self.convolution(spikes), self.frames)
        return spiking(currents, self.threshold[:, None, None], self.leak).flatten(0, 1)


class MeanOverFrames(nn.Module):
    """The mean of features over the frames of a clip, or of spikes over time."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames

    def forward(self, features: Tensor) -> Tensor:
        """(batch x frames, ...) -> (batch, ...)."""
        return by_frames(features, self.frames).mean(dim=1)
