"""One convolution of leaky integrate-and-fire units that compete, and a linear readout of their rates."""

from dataclasses import dataclass

from node_image.models.softhebb1 import GRID, competing, fitting
from node_image.models.width import scaled
from node_image.network import Architecture
from node_image.parameters import parameter


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    filters: int = parameter(64, "filters of the convolution", minimum=1)
    kernel: int = parameter(5, "rows and columns a filter sees, at most half the shorter side", unit="px", minimum=1)
    steps: int = parameter(8, "time steps that a sample is shown", minimum=2)
    gain: float = parameter(2.0, "contrast (standard deviations of the image) at which an input fires at every step")
    leak: float = parameter(0.9, "share of the potential kept from step to step", minimum=0.0, maximum=1.0)
    threshold: float = parameter(1.0, "initial threshold of all units", minimum=0.0)


def narrower(params: Parameters, share: float) -> Parameters:
    """This model with so large a share of its width."""
    return scaled(params, share, "filters")


def build(params: Parameters, shape: tuple[int, ...], classes: int) -> Architecture:
    """on/off spikes - conv5x5 - fire, one unit a position - rates - average to 4x4 - head.

    `shape` is (rows, columns) or (channels, rows, columns). Initial filters have norm 1, as the rule keeps them.
    """
    from torch import nn

    from node_image.models.feature_layers import AcrossFilters, MeanOverFrames, SpikeTrain, SpikingConvolution

    channels, rows, columns = (1, *shape) if len(shape) == 2 else shape
    layer = competing(2 * channels, params.filters, fitting(params.kernel, min(rows, columns)), 1.0)
    layer.weight.data /= layer.weight.data.flatten(1).norm(dim=1)[:, None, None, None]
    block = nn.Sequential(
        nn.Unflatten(1, (1, shape[0])) if len(shape) == 2 else nn.Identity(),
        nn.GroupNorm(1, channels, affine=False),
        SpikeTrain(params.steps, params.gain),
        SpikingConvolution(layer, params.steps, params.leak, params.threshold),
        MeanOverFrames(params.steps),
        nn.AdaptiveAvgPool2d(GRID),
        AcrossFilters(),
        nn.Flatten(),
    )
    return Architecture(nn.Sequential(block, nn.Linear(params.filters * GRID * GRID, classes)), shape)
