"""The small convolutional network of the LLS paper (there SmallConv)."""

from dataclasses import dataclass

from node_image.network import Architecture


@dataclass(frozen=True)
class Parameters:
    """Nothing to set."""


def build(params: Parameters, shape: tuple[int, ...], classes: int) -> Architecture:
    """conv3x3 32 - pool - conv3x3 64 - pool - conv3x3 128 - average to 2x2 - linear 512 - head.

    `shape` is (rows, columns) or (channels, rows, columns), at least 4 x 4. With 3 channels and 10 classes it has
    361,034 parameters. The paper has batch normalisation; its running statistics are no weights and would stay behind
    when a model travels, hence GroupNorm with one group, without parameters so that all counts are the paper's.
    Pooling opens the next block, so that a block's output is what the paper projects.
    """
    from torch import nn

    def convolution(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(1, outputs, affine=False), nn.LeakyReLU()]

    channels = 1 if len(shape) == 2 else shape[0]
    module = nn.Sequential(
        nn.Sequential(
            nn.Unflatten(1, (1, shape[0])) if len(shape) == 2 else nn.Identity(),
            *convolution(channels, 32),
        ),
        nn.Sequential(nn.MaxPool2d(2), *convolution(32, 64)),
        nn.Sequential(nn.MaxPool2d(2), *convolution(64, 128)),
        nn.Sequential(
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(512, 512),
            nn.GroupNorm(1, 512, affine=False),
            nn.LeakyReLU(),
        ),
        nn.Linear(512, classes),
    )
    return Architecture(module, shape)
