"""What the deep image models share: their input, channel counts, normalisation, and how often an image is halved."""

from typing import TYPE_CHECKING

from node_image.outcomes import UnfitError

if TYPE_CHECKING:
    from torch import nn

GRAIN = 8  # channel counts are multiples of it
GROUP = 16  # channels normalised together, where they divide evenly; else 8


def as_image(shape: tuple[int, ...]) -> "list[nn.Module]":
    """What gives samples of (rows, columns) a channel; nothing for samples of (channels, rows, columns)."""
    from torch import nn

    return [nn.Unflatten(1, (1, shape[0]))] if len(shape) == 2 else []


def channels_of(shape: tuple[int, ...]) -> int:
    """Channels of a sample of (rows, columns) or (channels, rows, columns); UnfitError for anything else."""
    if len(shape) not in (2, 3):
        raise UnfitError(f"samples must be images: (rows, columns) or (channels, rows, columns) (found {shape})")
    return shape[0] if len(shape) == 3 else 1


def scaled(channels: int, width: float) -> int:
    """Channels at this width: the nearest multiple of 8, at least 8, and not more than a tenth below what was asked."""
    asked = channels * width
    nearest = max(GRAIN, int(asked + GRAIN / 2) // GRAIN * GRAIN)
    return nearest + GRAIN if nearest < 0.9 * asked else nearest


def norm(channels: int) -> "nn.Module":
    """GroupNorm: unlike batch statistics, it means the same on every device, however few and skewed its samples."""
    from torch import nn

    return nn.GroupNorm(channels // (GROUP if channels % GROUP == 0 else GRAIN), channels)


def strides(halvings: int, halves: tuple[bool, ...]) -> tuple[int, ...]:
    """Stride of each place: 2 at the last so many of those that may halve the image, else 1."""
    earlier = sum(halves) - halvings
    found = []
    for may in halves:
        found.append(2 if may and earlier <= 0 else 1)
        earlier -= may
    return tuple(found)
