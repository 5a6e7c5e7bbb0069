"""Ability-enhancing training: how a modular model is taught, before devices get parts of it, who does what.

Loss = cross-entropy + balance * sum_l CV^2(load_l) + subtask * sum_l KL(mean gate of the sample's sub-task || g_l(x)).
The load of a module is the sum of its gates over the minibatch; noise on the selector's scores lets modules that are
not chosen yet be tried. (The idea is ECLM's, arXiv 2311.11083; CV^2 is the importance loss of sparsely gated mixtures,
Shazeer et al. 2017.) A sub-task is a group of classes that lie side by side.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from node_image.gating import modular_block
from node_image.outcomes import DivergedError, UnfitError
from node_image.runtime import Cost

if TYPE_CHECKING:
    import torch

    from node_image.learner import Learner
    from node_image.network import Network


@dataclass(frozen=True)
class AbilityTraining:
    """`noise` is the standard deviation on the selector's scores; `subtask_classes` the classes of a sub-task."""

    steps: int
    batch_size: int
    learning_rate: float
    momentum: float
    balance: float
    subtask: float
    subtask_classes: int
    noise: float


@dataclass(frozen=True)
class Trained:
    """What it came to: mean loss of the last tenth of the steps; load of the modules (L, M) over all samples."""

    loss: float
    load: NDArray[np.float64]


def train(learner: "Learner", settings: AbilityTraining, rng: np.random.Generator) -> Trained:
    """Train the learner's model, which must be modular, on the task's public samples.

    Raises UnfitError where there are none, and DivergedError with the model as before.
    """
    import torch

    network, x, y = learner.network, _inputs(learner), learner.task.public_y
    if not len(y):
        raise UnfitError("offline training needs public samples: set `public` of the task above 0")
    noise = torch.Generator().manual_seed(int(rng.integers(2**63)))
    losses: list[float] = []
    with network.lock:
        np.copyto(network.buffer, learner.weights())
        velocity = torch.zeros_like(network.weights)
        while len(losses) < settings.steps:
            for batch in np.array_split(rng.permutation(len(y)), -(-len(y) // settings.batch_size)):
                loss = _loss(network, settings, x[batch], network.tensor(y[batch]), noise)
                network.gradients.zero_()
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
                velocity.mul_(settings.momentum).add_(network.gradients)
                network.weights.add_(velocity, alpha=-settings.learning_rate)
                losses.append(float(loss.detach()))
                if len(losses) == settings.steps:
                    break
        if not np.isfinite(network.buffer).all():
            raise DivergedError(f"offline training led nowhere after {settings.steps} steps; try a smaller step size")
        with torch.inference_mode():
            load = modular_block(network).gates(network.module[0](x)).sum(dim=0)
        learner.load(network.buffer.copy())
    return Trained(float(np.mean(losses[-max(1, settings.steps // 10) :])), load.numpy().astype(np.float64))


def cost(learner: "Learner", settings: AbilityTraining) -> Cost:
    """Work of `train`: for each sample a forward pass and a backward one of twice its work."""
    samples = min(settings.batch_size, len(learner.task.public_y)) * settings.steps
    return Cost(3.0 * learner.network.macs * samples, (3.0 * learner.network.ops + 4) * settings.steps)


def balance_loss(gates: "torch.Tensor") -> "torch.Tensor":
    """Sum over layers of the CV^2 of the modules' load, for gates (n, L, M)."""
    load = gates.sum(dim=0)
    return (load.var(dim=1, correction=0) / load.mean(dim=1).square()).sum()


def subtask_loss(gates: "torch.Tensor", subtasks: "torch.Tensor") -> "torch.Tensor":
    """Mean over samples of the sum over layers of KL(mean gate of the sample's sub-task || its own gate).

    `gates` has shape (n, L, M), `subtasks` (n,) with numbers from 0. The means are what samples are drawn to: no
    gradient flows through them. Gates that are all alike have no loss either, so that much of it makes them so.
    """
    from torch.nn.functional import one_hot

    members = one_hot(subtasks).to(gates.dtype)
    means = (members.T @ gates.detach().flatten(1)) / members.sum(dim=0).clamp_min(1.0)[:, None]
    wanted = means[subtasks].view_as(gates)
    tiny = 1e-12
    return (wanted * (wanted.clamp_min(tiny).log() - gates.clamp_min(tiny).log())).sum(dim=(1, 2)).mean()


def _loss(
    network: "Network", settings: AbilityTraining, x: "torch.Tensor", y: "torch.Tensor", noise: "torch.Generator"
) -> "torch.Tensor":
    import torch
    from torch.nn.functional import cross_entropy

    block = modular_block(network)
    h = network.module[0](x)
    scores = block.logits(h)
    gates = (scores + settings.noise * torch.randn(scores.shape, generator=noise)).softmax(dim=2)
    loss = cross_entropy(network.module[2](block.route(h, gates)), y)
    if settings.balance:
        loss = loss + settings.balance * balance_loss(gates)
    if settings.subtask:
        loss = loss + settings.subtask * subtask_loss(gates, y // settings.subtask_classes)
    return loss


def _inputs(learner: "Learner") -> "torch.Tensor":
    task = learner.task
    x = task.public_x.astype(np.float32) * np.float32(task.scale) + np.float32(task.offset)
    return learner.network.tensor(x)
