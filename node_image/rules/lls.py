"""LLS: every block learns at once from its own output and the label; no signal goes back from block to block.

After Apolinario, Roy and Frenkel, "LLS: Local Learning Rule for Deep Neural Networks Inspired by Neural Activity
Synchronization" (arXiv 2405.15868). The mathematics, and what LLS-M and LLS-MxM add, are in `local_signal`. Two
things differ from the published experiments: plain gradient descent stands for their adaptive optimiser, so that a
device keeps no state beyond its weights; and one buffer holds the gradients of all blocks, where a device with no
memory to spare would use the largest block's.

Every block is driven by the labels. Where devices hold few classes each, all blocks drift apart, more than under
back-propagation: weights averaged over such devices learn badly.
Plain LLS also starts slowly on convolutions: on digits, `lls_conv` took it some 20 epochs, and LLS-MxM 6.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from node_image import local_signal
from node_image.counting import latents, lls_macs
from node_image.local_signal import learning_signal, pool_sizes, pooled
from node_image.outcomes import UnfitError
from node_image.parameters import parameter
from node_image.runtime import Cost

if TYPE_CHECKING:
    import torch
    from torch import nn

    from node_image.network import Constraint, Network, Step

SIGNAL_OPS = 16  # of making and applying one block's signal, beyond the block's own forward and backward operations
MIXING = "lls_mixing"  # the parameter m or M of a block, where LLS-M or LLS-MxM gave it one


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    learning_rate: float = parameter(0.05, "step size of every block and of the head", minimum=0.0)
    momentum: float = parameter(0.0, "share of the last step kept, within one local phase", minimum=0.0, maximum=1.0)
    batch_size: int = parameter(32, "samples in a minibatch", minimum=1)
    shuffle: bool = parameter(True, "go through the local samples in a new order each time")
    basis: str = parameter("square", "g: the waves that neurons are aligned with", choices=local_signal.KINDS)
    temp: float = parameter(0.5, "temperature of the local softmax", minimum=1e-3)
    first_pool: int = parameter(4, "a: the first block's image is averaged to a x a before projection", minimum=1)
    pool: int = parameter(2, "a of the other blocks", minimum=1)


def adapt(params: Parameters, module: "nn.Sequential", shape: tuple[int, ...], classes: int) -> None:
    """LLS needs nothing beyond the model's own weights: the basis follows from its size."""
    require_slopes(module)


def require_slopes(module: "nn.Sequential") -> None:
    """UnfitError for a model whose blocks fire: a spike has no slope, and each block descends its own."""
    if any(hasattr(each, "threshold") for each in module.modules()):
        raise UnfitError("LLS follows the slope of a block's output, and spikes have none; try the rule spiking")


def begin(params: Parameters, network: "Network", constraint: "Constraint") -> "Step":
    """Start a local phase; each call of the result changes the weights for one minibatch and returns its loss.

    The loss is the head's cross-entropy before the step. proximal/2 ||w - w0||^2 is added to every block's loss.
    """
    import torch
    from torch.nn.functional import cross_entropy

    weights, gradients = network.weights, network.gradients
    start = weights.clone() if constraint.proximal else None
    velocity = weights.new_zeros(weights.shape) if params.momentum else None
    frozen = None if constraint.trainable is None else ~torch.from_numpy(constraint.trainable)
    spans = children_spans(network)
    learning = learning_children(network, constraint)
    sizes = pool_sizes(network.module, params.first_pool, params.pool)

    def descend(child: int) -> None:
        span = slice(*spans[child])
        change = gradients[span]
        if start is not None:
            change.add_(weights[span] - start[span], alpha=constraint.proximal)
        if frozen is not None:
            change.masked_fill_(frozen[span], 0.0)
        if velocity is not None:
            change = velocity[span].mul_(params.momentum).add_(change)
        weights[span].add_(change, alpha=-params.learning_rate)

    def learn(child: int, block: "nn.Module", x: "torch.Tensor", y: "torch.Tensor") -> "torch.Tensor":
        output: torch.Tensor = block(x)  # x is detached: autograd sees this block alone
        latent = pooled(output, sizes[child])
        mixing = mixing_of(block)
        rows = network.classes if mixing is None else len(mixing)
        basis = local_signal.basis(params.basis, rows, latent.shape[1])
        signal = learning_signal(latent, y, basis, mixing, params.temp, normalise=params.basis != "random")
        latent.backward(signal.latent)  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        if mixing is not None and mixing.grad is not None and signal.mixing is not None:
            mixing.grad.add_(signal.mixing)
        descend(child)
        return output.detach()

    def step(x: "torch.Tensor", y: "torch.Tensor") -> "torch.Tensor":
        gradients.zero_()
        for child, block in enumerate(network.blocks):
            if child in learning:
                x = learn(child, block, x, y)
            else:
                with torch.no_grad():
                    x = block(x)
        loss = cross_entropy(network.head(x), y)
        if len(network.blocks) in learning:
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
            descend(len(network.blocks))
        return loss.detach()

    return step


def cost(params: Parameters, network: "Network", constraint: "Constraint", samples: int, steps: int) -> Cost:
    """Work of so many steps: no more than forward and weight gradients, but for two projections a block."""
    learning = learning_children(network, constraint)
    mixing = next((each for block in network.blocks if (each := mixing_of(block)) is not None), None)
    rows = network.classes if mixing is None else len(mixing)
    lengths = latents(network.module, network.shape, params.first_pool, params.pool)
    macs = lls_macs(network.layers, lengths, rows, 0 if mixing is None else mixing.numel(), learning)
    share = sum(layer.macs for layer in network.layers if layer.child in learning) / network.macs
    ops = (1.0 + 2.0 * share) * network.ops + SIGNAL_OPS * len(learning)
    return Cost(macs=float(macs.total * samples), ops=ops * steps)


def mixing_of(block: "nn.Module") -> "nn.Parameter | None":
    """The m (C) or M (S, C) of a block; None in plain LLS."""
    from torch import nn

    mixing = getattr(block, MIXING, None)
    return mixing if isinstance(mixing, nn.Parameter) else None


def children_spans(network: "Network") -> dict[int, tuple[int, int]]:
    """Where the weights of each child that has any begin and end in the flat vector."""
    spans: dict[int, tuple[int, int]] = {}
    for part in network.parts:
        first, _ = spans.get(part.child, (part.start, part.end))
        spans[part.child] = first, part.end
    return spans


def learning_children(network: "Network", constraint: "Constraint") -> set[int]:
    """The children of the module with at least one weight that may move."""
    return {child for child, span in children_spans(network).items() if constraint.moves(*span)}
