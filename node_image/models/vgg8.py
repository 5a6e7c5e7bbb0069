"""VGG8, the deeper network of the LLS paper."""

from dataclasses import dataclass

from node_image.network import Architecture


@dataclass(frozen=True)
class Parameters:
    """Nothing to set."""


def build(params: Parameters, shape: tuple[int, ...], classes: int) -> Architecture:
    """Six 3x3 convolutions (128, 256, pool, 256, 256, pool, 512, pool, 512), average to 2x2, linear 1024, head.

    `shape` is (rows, columns) or (channels, rows, columns), at least 8 x 8. With 3 channels and 10 classes it has
    7,127,306 parameters. GroupNorm without parameters stands for the paper's batch normalisation, whose running
    statistics are no weights and would stay behind when a model travels. Pooling opens the next block.
    """
    from torch import nn

    def block(inputs: int, outputs: int, first: nn.Module | None = None) -> nn.Sequential:
        before = [] if first is None else [first]
        norm = nn.GroupNorm(1, outputs, affine=False)
        return nn.Sequential(*before, nn.Conv2d(inputs, outputs, 3, padding=1), norm, nn.LeakyReLU())

    channels = 1 if len(shape) == 2 else shape[0]
    module = nn.Sequential(
        block(channels, 128, nn.Unflatten(1, (1, shape[0])) if len(shape) == 2 else None),
        block(128, 256),
        block(256, 256, nn.MaxPool2d(2)),
        block(256, 256),
        block(256, 512, nn.MaxPool2d(2)),
        block(512, 512, nn.MaxPool2d(2)),
        nn.Sequential(
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(2048, 1024),
            nn.GroupNorm(1, 1024, affine=False),
            nn.LeakyReLU(),
        ),
        nn.Linear(1024, classes),
    )
    return Architecture(module, shape)
