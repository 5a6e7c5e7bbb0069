"""What the rules without a backward pass share: features that learn without labels, and a contrastive readout.

Nothing here builds a graph for differentiation. The model's forward pass runs once; each layer that learns is changed
as it is passed, from its own input and output, and whatever comes later has no say in it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node_image.outcomes import UnfitError
from node_image.parameters import parameter
from node_image.runtime import Cost

if TYPE_CHECKING:
    import torch
    from torch import nn

    from node_image.network import Constraint, Network, Step

READOUT_OPS = 25  # tensor operations of the readout's step beyond its forward pass
Change = Callable[["torch.Tensor", "torch.Tensor"], None]  # what went into a layer and what came out -> new weights


@dataclass(frozen=True)
class Readout:
    """What a scenario may set of the readout: the same for every rule whose features learn without labels."""

    plasticity: float = parameter(0.05, "p: step size of the readout", minimum=0.0)
    decay: float = parameter(1e-4, "lambda_d: pull of the readout's weights towards zero", minimum=0.0)
    batch_size: int = parameter(32, "samples in a minibatch", minimum=1)
    shuffle: bool = parameter(True, "go through the local samples in a new order each time")


def begin(
    params: Readout, network: "Network", constraint: "Constraint", changes: "Mapping[nn.Module, Change]"
) -> "Step":
    """Start a local phase: each layer of `changes` learns as it says, the head as a contrastive readout.

    A step returns the mean cross-entropy of its minibatch. Labels reach nothing but the head.
    """
    import torch

    features, read_out = network.module[:-1], readout(params, network, constraint)

    def step(x: "torch.Tensor", y: "torch.Tensor") -> "torch.Tensor":
        with torch.no_grad():
            with changed_as_passed(changes):
                h = features(x)
            return read_out(h, y)

    return step


@contextmanager
def changed_as_passed(changes: "Mapping[nn.Module, Change]") -> Iterator[None]:
    """Within, each of these layers changes right after each of its forward passes."""

    def watch(layer: "nn.Module", change: Change) -> "torch.utils.hooks.RemovableHandle":
        return layer.register_forward_hook(lambda _, inputs, output: change(inputs[0], output))

    handles = [watch(layer, change) for layer, change in changes.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def readout(params: Readout, network: "Network", constraint: "Constraint") -> "Step":
    """The head's step, from features (batch, D) and labels to the loss before it.

    dW = p (f_out - lambda_d W - proximal (W - W0)) with f_ij = h_i (t_j - y_j) and t = onehot(y); a bias is the weight
    of a constant 1. f_out is that of features standardised by what this phase has seen of them so far: with features
    as they are the readout of depth videos stayed at 22 % (55 % so), of CIFAR-10 at 57.6 % (59.0 %; at p = 0.1 50.7 %
    and 54.9 %), of MNIST at 96.6 % (97.8 %).
    """
    import torch
    from torch.nn.functional import cross_entropy, one_hot

    from node_image import hebbian

    head, weights = network.head, network.weights[network.head_start :]
    start = weights.clone() if constraint.proximal else None
    may, moves = may_move(network, constraint, weights), head_moves(network, constraint)
    habit = hebbian.Habit(weights.new_zeros(network.features), weights.new_zeros(network.features))

    def step(h: "torch.Tensor", y: "torch.Tensor") -> "torch.Tensor":
        nonlocal habit
        scores = head(h)
        if moves:
            habit = habit.after(h)
            of_weight, of_bias = hebbian.standardised(h, scores, one_hot(y, network.classes).to(h.dtype), habit)
            change = torch.cat([of_weight.reshape(-1), of_bias]).sub_(weights, alpha=params.decay)
            if start is not None:
                change.sub_(weights - start, alpha=constraint.proximal)
            put(weights, weights + params.plasticity * change, may)
        return cross_entropy(scores, y)

    return step


def head_moves(network: "Network", constraint: "Constraint") -> bool:
    """Whether any weight of the head may move."""
    return constraint.moves(network.head_start, len(network.weights))


def weighted_layers(network: "Network", constraint: "Constraint") -> "Mapping[str, nn.Module]":
    """The convolutions and linear layers before the head that have a weight which may move, by name."""
    parts = {part.name: part for part in network.parts}
    weights = {layer.name: parts[f"{layer.name}.weight"] for layer in network.layers[:-1]}
    return {
        name: network.module.get_submodule(name)
        for name, weight in weights.items()
        if constraint.moves(weight.start, weight.end)
    }


def require_one_group(module: "nn.Sequential") -> None:
    """UnfitError where a convolution before the head is in several groups: Hebbian rules know of none."""
    from torch import nn

    for each in module[:-1].modules():
        if isinstance(each, nn.Conv2d) and each.groups > 1:
            raise UnfitError(
                f"Hebbian rules learn convolutions in one group, and this model has one in {each.groups}; "
                "try the model small_conv, or the rule random_features"
            )


def frames_of(module: "nn.Module") -> int:
    """How many frames of a clip a model shows its layers one after another; 1 where it shows whole samples."""
    return max(int(getattr(each, "frames", 1)) for each in module.modules())


def may_move(network: "Network", constraint: "Constraint", weights: "torch.Tensor") -> "torch.Tensor | None":
    """The part of the constraint's mask that is about these weights, a view of the flat vector; None: all may move."""
    import torch

    if constraint.trainable is None:
        return None
    first = int(weights.storage_offset())
    return torch.from_numpy(constraint.trainable[first : first + weights.numel()]).view(weights.shape)


def put(weights: "torch.Tensor", new: "torch.Tensor", may: "torch.Tensor | None") -> None:
    """Replace weights in place, but for those that may not move: they stay as they are to the bit."""
    weights.copy_(new if may is None else new.where(may, weights))


def cost(
    network: "Network", constraint: "Constraint", samples: int, steps: int, passes: float = 1.0, ops: float = 0.0
) -> Cost:
    """Work of so many steps: `passes` forward passes of each layer whose weights move, 1 of each other one before the
    head, and 2 C D for the readout (half of that where the head stays); `ops` tensor operations for a moving layer.
    """
    moving = weighted_layers(network, constraint) if passes > 1 else {}
    features = sum(layer.macs * (passes if layer.name in moving else 1) for layer in network.layers[:-1])
    head = network.layers[-1].macs * (2 if head_moves(network, constraint) else 1)
    readout_ops = READOUT_OPS if head_moves(network, constraint) else 0
    return Cost(
        macs=float((features + head) * samples), ops=float((network.ops + ops * len(moving) + readout_ops) * steps)
    )
