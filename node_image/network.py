"""A model laid out for learning on devices: all weights are one flat vector, all gradients another.

Parameters are views of the vector, so that weights go in and out in one copy and a step of gradient descent is one
axpy, whatever the number of layers.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Step = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]  # one minibatch (x, y) -> its loss


@dataclass(frozen=True)
class Architecture:
    """A built model: multiply-accumulates (`macs`) and tensor operations (`ops`) of one sample's forward pass."""

    module: "torch.nn.Module"
    macs: int
    ops: int


@dataclass(frozen=True)
class Network:
    """A module whose parameters and gradients are views of two float32 vectors; `buffer` is `weights` for numpy.

    Whoever changes the weights holds `lock` until done with them: all learners of a process share the module.
    """

    module: "torch.nn.Module"
    weights: "torch.Tensor"
    gradients: "torch.Tensor"
    buffer: NDArray[np.float32]
    macs: int
    ops: int
    tensor: Callable[[NDArray[Any]], "torch.Tensor"]  # torch.from_numpy: an array's memory as a tensor
    lock: threading.Lock = field(default_factory=threading.Lock)


def flatten(architecture: Architecture) -> Network:
    """Move the parameters of a model into one vector, in the order of `module.parameters()`."""
    import torch

    parameters = list(architecture.module.parameters())
    weights = torch.cat([each.detach().reshape(-1) for each in parameters])
    gradients = torch.zeros_like(weights)
    start = 0
    for each in parameters:
        end = start + each.numel()
        each.data = weights[start:end].view_as(each)
        each.grad = gradients[start:end].view_as(each)
        start = end
    buffer, tensor = weights.numpy(), torch.from_numpy
    return Network(architecture.module, weights, gradients, buffer, architecture.macs, architecture.ops, tensor)
