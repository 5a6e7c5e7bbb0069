"""MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381) for images from 28 pixels on, with GroupNorm."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from node_image.models.images import as_image, channels_of, norm, scaled, strides
from node_image.network import Architecture
from node_image.parameters import parameter

if TYPE_CHECKING:
    from torch import nn

# Table 2 of the paper: expansion t, channels c, repetitions n, and whether the first repetition halves the image.
STAGES = (
    (1, 16, 1, False),
    (6, 24, 2, True),
    (6, 32, 3, True),
    (6, 64, 4, True),
    (6, 96, 3, False),
    (6, 160, 3, True),
    (6, 320, 1, False),
)
STEM, LAST = 32, 1280


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    width: float = parameter(0.35, "channels of every layer relative to the paper's", minimum=0.05, maximum=4.0)
    halvings: int = parameter(4, "times the image is halved (5 in the paper, for 224 pixels)", minimum=1, maximum=5)


def build(params: Parameters, shape: tuple[int, ...], classes: int) -> Architecture:
    """A convolution, 17 inverted residual blocks and a 1x1 convolution, each a block; average; head.

    `shape` is (rows, columns) or (channels, rows, columns). With width 1, three channels in and 10 classes the
    convolutions have 2,189,760 weights, and 288,864 with width 0.35 (the last layer narrows with the others). Small
    images are halved less often: the earliest strides become 1, which changes no weight.
    """
    from torch import nn

    first, *stage_strides = strides(params.halvings, (True, *(halves for *_, halves in STAGES)))
    inputs = scaled(STEM, params.width)
    blocks: list[nn.Module] = [
        nn.Sequential(*as_image(shape), *_conv(channels_of(shape), inputs, kernel=3, stride=first))
    ]
    for (expansion, channels, repetitions, _), stride in zip(STAGES, stage_strides, strict=True):
        outputs = scaled(channels, params.width)
        for number in range(repetitions):
            blocks.append(_inverted_residual(inputs, outputs, expansion, 1 if number else stride))
            inputs = outputs
    features = scaled(LAST, params.width)
    blocks.append(nn.Sequential(*_conv(inputs, features, kernel=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    return Architecture(nn.Sequential(*blocks, nn.Linear(features, classes)), shape)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> "list[nn.Module]":
    from torch import nn

    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return [conv, norm(outputs), nn.ReLU6()]


def _inverted_residual(inputs: int, outputs: int, expansion: int, stride: int) -> "nn.Module":
    """Widen, filter each channel alone, narrow without a non-linearity; add the input where shapes allow it."""
    from torch import nn

    from node_image.models.residual import Residual

    hidden = inputs * expansion
    path = nn.Sequential(
        *(_conv(inputs, hidden, kernel=1) if expansion > 1 else ()),
        *_conv(hidden, hidden, kernel=3, stride=stride, groups=hidden),
        nn.Conv2d(hidden, outputs, 1, bias=False),
        norm(outputs),
    )
    return Residual(path) if stride == 1 and inputs == outputs else path
