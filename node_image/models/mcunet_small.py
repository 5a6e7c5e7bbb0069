"""A small relative of MCUNet (Lin et al. 2020, arXiv 2007.10319): inverted bottlenecks of mixed filter sizes.

Its first 8 blocks are the backbone, meant to be pre-trained and frozen; the ninth and the head are the classifier.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from node_image.models.images import as_image, channels_of, norm, scaled, strides
from node_image.network import Architecture
from node_image.parameters import parameter

if TYPE_CHECKING:
    from torch import nn

# Expansion, channels, rows and columns of a filter, and whether the block may halve the image.
BOTTLENECKS = (
    (3, 16, 7, True),
    (3, 16, 3, False),
    (4, 24, 5, True),
    (4, 24, 3, False),
    (5, 40, 7, True),
    (5, 40, 5, False),
)
STEM, LAST = 16, 96


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    width: float = parameter(1.0, "channels of every layer of the backbone, relative", minimum=0.25, maximum=4.0)
    halvings: int = parameter(3, "times the image is halved", minimum=1, maximum=3)
    hidden: int = parameter(128, "units of the classifier's first layer; the second has half as many", minimum=2)


def build(params: Parameters, shape: tuple[int, ...], classes: int) -> Architecture:
    """Backbone (a convolution, six bottlenecks, a 1x1 convolution and an average), linear 128 - 64, head.

    `shape` is (rows, columns) or (channels, rows, columns). With the defaults the backbone has 57,168 weights for
    three channels, and the classifier 21,322 for 10 classes: what a device that freezes the backbone sends.
    """
    from torch import nn

    inputs, channels = scaled(STEM, params.width), channels_of(shape)
    backbone: list[nn.Module] = [nn.Sequential(*as_image(shape), *_conv(channels, inputs, kernel=3))]
    chosen = strides(params.halvings, tuple(halves for *_, halves in BOTTLENECKS))
    for (expansion, wide, kernel, _), stride in zip(BOTTLENECKS, chosen, strict=True):
        outputs = scaled(wide, params.width)
        backbone.append(_bottleneck(inputs, outputs, expansion, kernel, stride))
        inputs = outputs
    features = scaled(LAST, params.width)
    backbone.append(nn.Sequential(*_conv(inputs, features, kernel=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    first, second = nn.Linear(features, params.hidden), nn.Linear(params.hidden, params.hidden // 2)
    head = nn.Linear(params.hidden // 2, classes)
    for layer in (first, second, head):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    head_hidden = nn.Sequential(first, nn.ReLU(), second, nn.ReLU())
    return Architecture(nn.Sequential(*backbone, head_hidden, head), shape)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> "list[nn.Module]":
    from torch import nn

    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return [conv, norm(outputs), nn.ReLU6()]


def _bottleneck(inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> "nn.Module":
    """Widen, filter each channel alone, narrow without a non-linearity; add the input where shapes allow it."""
    from torch import nn

    from node_image.models.residual import Residual

    hidden = inputs * expansion
    path = nn.Sequential(
        *_conv(inputs, hidden, kernel=1),
        *_conv(hidden, hidden, kernel, stride, groups=hidden),
        nn.Conv2d(hidden, outputs, 1, bias=False),
        norm(outputs),
    )
    return Residual(path) if stride == 1 and inputs == outputs else path
