"""Small convolutional network for small images and short clips."""

from dataclasses import dataclass

from node_image.models.width import scaled
from node_image.network import Architecture
from node_image.parameters import parameter


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    width: int = parameter(16, "channels of the first convolution; the others have twice as many", minimum=1)
    hidden: int = parameter(128, "units of the hidden linear layer", minimum=1)


def narrower(params: Parameters, share: float) -> Parameters:
    """This model with so large a share of its width."""
    return scaled(params, share, "width", "hidden")


def build(params: Parameters, shape: tuple[int, ...], classes: int) -> Architecture:
    """conv3x3 w - pool - conv3x3 2w - pool - conv3x3 2w - average to 2x2 - linear - head.

    `shape` is (rows, columns) or (channels, rows, columns); the frames of a clip are its channels. Batch statistics
    would mix what devices with few and skewed samples must keep apart, hence GroupNorm with one group.
    With the defaults and 10 classes it has 32,554 parameters for 3 channels and 32,266 for 1.
    """
    from torch import nn

    channels = 1 if len(shape) == 2 else shape[0]
    w = params.width

    def convolution(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(1, outputs), nn.LeakyReLU()]

    module = nn.Sequential(
        nn.Sequential(
            nn.Unflatten(1, (1, shape[0])) if len(shape) == 2 else nn.Identity(),
            *convolution(channels, w),
            nn.MaxPool2d(2),
        ),
        nn.Sequential(*convolution(w, 2 * w), nn.MaxPool2d(2)),
        nn.Sequential(*convolution(2 * w, 2 * w), nn.AdaptiveAvgPool2d(2), nn.Flatten()),
        nn.Sequential(nn.Linear(8 * w, params.hidden), nn.GroupNorm(1, params.hidden), nn.LeakyReLU()),
        nn.Linear(params.hidden, classes),
    )
    return Architecture(module, shape)
