"""ResNet18 (He et al. 2016, arXiv 1512.03385) for images from 28 pixels on, with GroupNorm."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from node_image.models.images import as_image, channels_of, norm, scaled, strides
from node_image.network import Architecture
from node_image.parameters import parameter

if TYPE_CHECKING:
    from torch import nn

STAGES = ((64, False), (128, True), (256, True), (512, True))  # channels, and whether the image is halved
REPETITIONS = 2


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    width: float = parameter(0.25, "channels of every layer relative to the paper's", minimum=0.05, maximum=4.0)
    halvings: int = parameter(4, "times the image is halved (5 in the paper, for 224 pixels)", minimum=1, maximum=5)


def build(params: Parameters, shape: tuple[int, ...], classes: int) -> Architecture:
    """A 7x7 convolution with pooling and 8 residual blocks of two 3x3 convolutions, each a block; average; head.

    `shape` is (rows, columns) or (channels, rows, columns). With width 1, three channels in and 10 classes the
    convolutions have 11,166,912 weights. Small images are halved less often: the earliest strides become 1, which
    changes no weight.
    """
    from torch import nn

    first, pool, *stage_strides = strides(params.halvings, (True, True, *(halves for _, halves in STAGES)))
    inputs = scaled(STAGES[0][0], params.width)
    stem = nn.Conv2d(channels_of(shape), inputs, 7, first, padding=3, bias=False)
    pooling = [nn.MaxPool2d(3, 2, padding=1)] if pool == 2 else []
    blocks: list[nn.Module] = [nn.Sequential(*as_image(shape), stem, norm(inputs), nn.ReLU(), *pooling)]
    for (channels, _), stride in zip(STAGES, stage_strides, strict=True):
        outputs = scaled(channels, params.width)
        for number in range(REPETITIONS):
            blocks.append(_basic(inputs, outputs, 1 if number else stride))
            inputs = outputs
    blocks.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    return Architecture(nn.Sequential(*blocks, nn.Linear(inputs, classes)), shape)


def _basic(inputs: int, outputs: int, stride: int) -> "nn.Module":
    """Two 3x3 convolutions beside the input, which goes through a 1x1 convolution where shapes differ."""
    from torch import nn

    from node_image.models.residual import Residual

    def conv(inputs: int, kernel: int, stride: int) -> nn.Module:
        return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)

    path = nn.Sequential(conv(inputs, 3, stride), norm(outputs), nn.ReLU(), conv(outputs, 3, 1), norm(outputs))
    changes = stride != 1 or inputs != outputs
    shortcut = nn.Sequential(conv(inputs, 1, stride), norm(outputs)) if changes else None
    return Residual(path, shortcut, nn.ReLU())
