"""What learning costs by the layers alone: multiply-accumulates and kept activations, of one sample.

A layer of forward work f needs f again for the gradient of its weights. Beyond that, back-propagation sends a signal
down through every layer but the first, and must keep the activations of all layers for it; LLS computes a signal at
each block, and keeps those of one block at a time. Inside a block of several layers LLS goes back as well.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from node_image.local_signal import pool_sizes, pooled

if TYPE_CHECKING:
    from torch import nn

    from node_image.network import Layer


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of learning from one sample, by what they are for."""

    forward: int
    weight_gradient: int
    signal: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.forward + self.weight_gradient + self.signal


def backprop_macs(layers: "Sequence[Layer]") -> Macs:
    """Back-propagation, all layers learning; the signal passes through all but the first."""
    forward = sum(layer.macs for layer in layers)
    return Macs(forward, forward, forward - layers[0].macs)


def lls_macs(
    layers: "Sequence[Layer]",
    latents: Mapping[int, int],
    rows: int,
    mixing: int = 0,
    learning: Collection[int] | None = None,
) -> Macs:
    """LLS: each block projects its latent on `rows` basis vectors and back.

    `latents` is the length D of the latent by child (see `latents`); `learning` are the children that learn (None: all
    of them). `mixing` is the number of elements of m or M in a block: each is used forward, back, and for its own
    gradient. Where a block branches at its input, the signal inside it is an upper bound.
    """
    learning = {layer.child for layer in layers} if learning is None else set(learning)
    blocks = [child for child in latents if child in learning]
    inside = sum(layer.macs for child in blocks for layer in _by_child(layers)[child][1:])
    return Macs(
        forward=sum(layer.macs for layer in layers) + mixing * len(blocks),
        weight_gradient=sum(layer.macs for layer in layers if layer.child in learning) + mixing * len(blocks),
        signal=inside + sum(2 * rows * latents[child] + mixing for child in blocks),
    )


def backprop_kept(layers: "Sequence[Layer]") -> int:
    """Elements that back-propagation keeps: input, sum and normalised sum of every layer before the head."""
    return sum(layer.inputs + 2 * layer.outputs for layer in layers[:-1])


def lls_kept(layers: "Sequence[Layer]") -> int:
    """Elements that LLS keeps: those of the block that has most."""
    blocks = list(_by_child(layers).values())[:-1]
    return max((sum(layer.inputs + 2 * layer.outputs for layer in block) for block in blocks), default=0)


@cache
def latents(module: "nn.Sequential", shape: tuple[int, ...], first_pool: int, pool: int) -> Mapping[int, int]:
    """The length D of the latent of every block that has weights, by its number, for samples of this shape."""
    import torch

    sizes, found = pool_sizes(module, first_pool, pool), {}
    with torch.inference_mode():
        x = torch.zeros(1, *shape)
        for number, block in enumerate(tuple(module)[:-1]):
            x = block(x)
            if number in sizes:
                found[number] = pooled(x, sizes[number]).shape[1]
    return found


def _by_child(layers: "Sequence[Layer]") -> "dict[int, list[Layer]]":
    children: dict[int, list[Layer]] = defaultdict(list)
    for layer in layers:
        children[layer.child].append(layer)
    return children
