"""A model laid out for learning on devices: all weights are one flat vector, all gradients another.

Parameters are views of the vector, so that weights go in and out in one copy and a step of gradient descent is one
axpy, whatever the number of layers.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from node_image.objective import Classification, Objective
from node_image.outcomes import UnfitError

if TYPE_CHECKING:
    import torch
    from torch import nn

Step = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]  # one minibatch (x, y) -> its loss
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Architecture:
    """A built model for samples of this shape (without the batch).

    The children of `module` run one after the other. Each but the last is a block; the last is the head, a linear
    layer on flat features. So rules that learn block by block, and algorithms that send the head alone, fit any model.
    """

    module: "nn.Sequential"
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """One named tensor: elements `start` to `end` of the flat vector; `child` counts the module's children from 0."""

    name: str
    start: int
    end: int
    shape: tuple[int, ...]
    child: int


@dataclass(frozen=True)
class Layer:
    """One convolution or linear layer at work on one sample: multiply-accumulates, and elements that go in and out."""

    name: str
    child: int
    kind: Literal["conv", "linear"]
    macs: int
    inputs: int
    outputs: int
    groups: int = 1


@dataclass(frozen=True)
class Constraint:
    """What holds a local phase back.

    `proximal`/2 ||w - w0||^2 is added to the loss, w0 being the weights at the start. Weights outside `trainable`, a
    mask of the flat vector, stay as they are to the bit (None: all may move).
    """

    proximal: float = 0.0
    trainable: Mask | None = None

    def moves(self, first: int, end: int) -> bool:
        """Whether any of the weights from `first` to `end` may move."""
        return self.trainable is None or bool(self.trainable[first:end].any())


@dataclass
class Tested:
    """The test set's features, for who asks again with the same weights `below` the head, as all of a fleet do whose
    features are frozen. In virtual time only (`is_kept`): in real time a test is to take as long as it takes.
    """

    is_kept: bool = False
    below: NDArray[np.float32] | None = None
    features: "list[torch.Tensor]" = field(default_factory=list)

    def knows(self, below: NDArray[np.float32]) -> bool:
        """Whether the features of these weights are here."""
        return self.is_kept and self.below is not None and np.array_equal(self.below, below)


@dataclass(frozen=True)
class Network:
    """A module whose parameters and gradients are views of two float32 vectors; `buffer` is `weights` for numpy.

    `macs` and `ops` are multiply-accumulates and tensor operations of one sample's forward pass. Whoever changes the
    weights holds `lock` until done with them: all learners of a process share the module.
    """

    module: "nn.Sequential"
    weights: "torch.Tensor"
    gradients: "torch.Tensor"
    buffer: NDArray[np.float32]
    shape: tuple[int, ...]
    parts: tuple[Part, ...]
    layers: tuple[Layer, ...]
    ops: int
    tensor: Callable[[NDArray[Any]], "torch.Tensor"]  # torch.from_numpy: an array's memory as a tensor
    objective: Objective
    lock: threading.Lock = field(default_factory=threading.Lock)
    tested: Tested = field(default_factory=Tested)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one sample's forward pass."""
        return sum(layer.macs for layer in self.layers)

    @property
    def blocks(self) -> "tuple[nn.Module, ...]":
        """The module's children before the head."""
        return tuple(self.module)[:-1]

    @property
    def head(self) -> "nn.Linear":
        """The last layer, from features to classes."""
        from torch import nn

        head = self.module[-1]
        assert isinstance(head, nn.Linear), "`flatten` has seen to it"
        return head

    @property
    def features(self) -> int:
        """How many features the head sees."""
        return self.head.in_features

    @property
    def classes(self) -> int:
        """How many scores the head gives."""
        return self.head.out_features

    @property
    def head_start(self) -> int:
        """Where the head begins in the flat vector: its weight (classes, features) row by row, then its bias."""
        return self.parts[-1].end - self.head.out_features * (self.head.in_features + 1)


def flatten(architecture: Architecture, objective: Objective | None = None) -> Network:
    """Move the parameters of a model into one vector, in the order of `module.parameters()`, and count its work.

    Without an objective the scores tell classes apart. UnfitError where samples do not pass through the model.
    """
    import torch
    from torch import nn

    module = architecture.module
    if not isinstance(module[-1], nn.Linear) or module[-1].bias is None:
        raise TypeError(f"a model's last child must be a linear head with a bias (found {type(module[-1]).__name__})")
    layers, ops = _count(module, architecture.shape)
    named = list(module.named_parameters())
    weights = torch.cat([each.detach().reshape(-1) for _, each in named])
    gradients = torch.zeros_like(weights)
    children = {name: number for number, (name, _) in enumerate(module.named_children())}
    parts: list[Part] = []
    start = 0
    for name, each in named:
        end = start + each.numel()
        each.data = weights[start:end].view_as(each)
        each.grad = gradients[start:end].view_as(each)
        parts.append(Part(name, start, end, tuple(each.shape), children[name.split(".")[0]]))
        start = end
    return Network(
        module=module,
        weights=weights,
        gradients=gradients,
        buffer=weights.numpy(),
        shape=architecture.shape,
        parts=tuple(parts),
        layers=layers,
        ops=ops,
        tensor=torch.from_numpy,
        objective=objective or Classification(module[-1].out_features),
    )


def _count(module: "nn.Sequential", shape: tuple[int, ...]) -> tuple[tuple[Layer, ...], int]:
    """The weighted layers as one sample meets them, and how many operations that takes (one a leaf module)."""
    import torch
    from torch import nn

    layers: list[Layer] = []
    calls = 0
    children = {name: number for number, (name, _) in enumerate(module.named_children())}

    def watch(name: str, leaf: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def count(leaf: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            nonlocal calls
            calls += 1
            child = children[name.split(".")[0]]
            if isinstance(leaf, nn.Conv2d):
                macs = output.numel() * leaf.weight[0].numel()
                layers.append(Layer(name, child, "conv", macs, inputs[0].numel(), output.numel(), leaf.groups))
            elif isinstance(leaf, nn.Linear):
                macs = output.numel() * leaf.in_features
                layers.append(Layer(name, child, "linear", macs, inputs[0].numel(), output.numel()))

        return leaf.register_forward_hook(count)

    leaves = [(name, each) for name, each in module.named_modules() if not list(each.children())]
    handles = [watch(name, leaf) for name, leaf in leaves]
    try:
        with torch.inference_mode():
            module(torch.zeros(1, *shape))
    except (RuntimeError, ValueError) as error:  # ValueError: a norm over one number
        said = str(error).splitlines()[0]
        raise UnfitError(f"samples of shape {shape} do not pass through the model: {said}") from error
    for handle in handles:
        handle.remove()
    return tuple(layers), calls
