"""The learning signal of LLS: how a layer learns from its own output and the label alone.

LLS (Apolinario, Roy and Frenkel, arXiv 2405.15868) gives every class a fixed row of a basis, a pattern over the
neurons of a layer, and turns the layer's output towards the row of the right class. Notation of this file:

    z = latent / ||latent||          (batch, D)   the layer's pooled output
    p = z B^T                        (batch, S)   projection on the basis B, (S, D)
    q = p / temp                                  LLS; S is the number of classes C
    q = m * p / temp                              LLS-M, m (C) learned
    q = p M / temp                                LLS-MxM, M (S, C) learned; "reduced" where S < C
    loss = mean over the batch of cross-entropy(softmax(q), label)
"""

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import nn

KINDS = ("square", "cosine", "random")
LOWEST, HIGHEST = 50.0, 512.0  # rad per neuron; far above pi, so that rows alias and look like noise, as published
RANDOM_LENGTH, RANDOM_SCALE = 2048, 0.1
SILENT = 1e-6  # a latent shorter than this has no direction that could be turned


@cache
def basis(kind: str, rows: int, length: int) -> "torch.Tensor":
    """The basis (rows, length), float32: the same on every node, and never sent. Treat as read-only: it is shared.

    "cosine" is the published name of sin(f_c t), f_c evenly from 50 to 512, t = 0, 1, ...; "square" is its sign;
    "random" are rows of 0.1 N(0, 1) of length 2048, averaged down to `length`. Angles are float64: in float32
    the last bit of a frequency turns signs hundreds of neurons on, and two kinds of device would have two bases.
    """
    import torch

    if kind == "random":
        drawn = RANDOM_SCALE * np.random.default_rng([rows, length]).standard_normal((rows, RANDOM_LENGTH))
        return torch.nn.functional.adaptive_avg_pool1d(torch.from_numpy(drawn), length).float()
    waves = np.sin(np.linspace(LOWEST, HIGHEST, rows)[:, None] * np.arange(length))
    return torch.from_numpy((np.sign(waves) if kind == "square" else waves).astype(np.float32))


def pooled(output: "torch.Tensor", size: int) -> "torch.Tensor":
    """A layer's output as latent (batch, D): an image averaged to size x size and flattened, a vector as it is."""
    from torch.nn.functional import adaptive_avg_pool2d

    return adaptive_avg_pool2d(output, size).flatten(1) if output.dim() == 4 else output.flatten(1)


def pool_sizes(module: "nn.Sequential", first: int, others: int) -> dict[int, int]:
    """The blocks that learn (those with weights), by number, and the size that each one's output is averaged to."""
    blocks = [number for number, block in enumerate(tuple(module)[:-1]) if any(True for _ in block.parameters())]
    return {number: others if place else first for place, number in enumerate(blocks)}


class Signal(NamedTuple):
    """The gradient of the local loss with respect to the latent and to `mixing` (None where there is none)."""

    latent: "torch.Tensor"
    mixing: "torch.Tensor | None"


def learning_signal(
    latent: "torch.Tensor",
    labels: "torch.Tensor",
    basis: "torch.Tensor",
    mixing: "torch.Tensor | None",
    temp: float,
    normalise: bool = True,
) -> Signal:
    """The signal in closed form, from latent (batch, D), labels (batch) and basis (S, D).

    `mixing` is None (LLS), m of shape (C) (LLS-M) or M of shape (S, C) (LLS-MxM). Two products with the basis are all
    that it costs: 2 S D multiply-accumulates a sample. Where a latent is all but zero, its signal is zero. Without
    `normalise`, z is the latent itself.
    """
    import torch

    with torch.no_grad():
        scale = _inverse_norm(latent) if normalise else torch.ones(())
        z = latent * scale
        p = z @ basis.T
        q = _mixed(p, mixing) / temp
        error = q.softmax(dim=1)
        error[torch.arange(len(labels)), labels] -= 1.0
        error /= temp * len(labels)
        turn = _unmixed(error, mixing) @ basis
        if normalise:
            turn -= (turn * z).sum(dim=1, keepdim=True) * z  # the latent's length does not count: only turn it
        return Signal(turn * scale, _for_mixing(p, error, mixing))


def _inverse_norm(latent: "torch.Tensor") -> "torch.Tensor":
    norm: torch.Tensor = latent.norm(dim=1, keepdim=True)
    return (1.0 / norm).masked_fill_(norm < SILENT, 0.0)


def _mixed(p: "torch.Tensor", mixing: "torch.Tensor | None") -> "torch.Tensor":
    if mixing is None:
        return p
    return p @ mixing if mixing.dim() == 2 else p * mixing


def _unmixed(error: "torch.Tensor", mixing: "torch.Tensor | None") -> "torch.Tensor":
    """What `_mixed` does, the other way round: from the scores' error to that of the projection."""
    if mixing is None:
        return error
    return error @ mixing.T if mixing.dim() == 2 else error * mixing


def _for_mixing(p: "torch.Tensor", error: "torch.Tensor", mixing: "torch.Tensor | None") -> "torch.Tensor | None":
    if mixing is None:
        return None
    return p.T @ error if mixing.dim() == 2 else (p * error).sum(dim=0)
