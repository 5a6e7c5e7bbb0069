"""The readout: a linear head that learns by a contrastive Hebbian rule on features computed beforehand.

Weights `W` are a float32 matrix (classes, features + 1): the last column meets the constant 1 with which `extended`
ends every row of features. Samples are rows: `h` (samples, features + 1), targets and probabilities
(samples, classes). Pure functions; no error crosses a layer, so nothing here knows of the layers below.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Vector = NDArray[np.float32]
Labels = NDArray[np.int64]
F = TypeVar("F", NDArray[np.float32], NDArray[np.float64])

HELD_OUT = 6  # every sixth sample is kept from learning, to see what learning is worth


def unflatten(head: Vector, classes: int) -> Matrix:
    """W of a head as a model's flat vector holds it: weight (classes, features) row by row, then bias (classes)."""
    weight, bias = head[:-classes].reshape(classes, -1), head[-classes:]
    joined: Matrix = np.column_stack([weight, bias])
    return joined


def flatten(weights: Matrix) -> Vector:
    """Inverse of `unflatten`."""
    return np.concatenate([weights[:, :-1].reshape(-1), weights[:, -1]])


def extended(features: Matrix) -> Matrix:
    """Features with a constant 1 behind: the bias is one weight more."""
    return np.concatenate([features, np.ones((len(features), 1), np.float32)], axis=1)


def softmax(scores: F) -> F:
    """Probabilities of the classes, row by row."""
    odds: F = np.exp(scores - scores.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    return odds


def probabilities(weights: Matrix, h: Matrix) -> Matrix:
    """What the readout says of these samples: softmax(W h)."""
    return softmax(h @ weights.T)


def log_prior(counts: NDArray[np.int64]) -> Vector:
    """log pi with pi_c = (n_c + 0.1) / (n + 0.1 C): the logit adjustment that keeps unseen classes from sinking."""
    smoothed = counts + 0.1
    logs: Vector = np.log(smoothed / smoothed.sum()).astype(np.float32)
    return logs


def one_hot(labels: Labels, classes: int) -> Matrix:
    """Targets of certain labels."""
    return np.eye(classes, dtype=np.float32)[labels]


def clamped(targets: Matrix, prior: Matrix, beta: float) -> Matrix:
    """(1 - beta) t + beta q: the target that makes task loss + beta * consistency loss one cross-entropy.

    Cross-entropy is linear in its target, so (1 - beta) CE(t) + beta CE(q) is exactly CE of this mixture.
    """
    return np.float32(1.0 - beta) * targets + np.float32(beta) * prior


def hebbian(free: Matrix, h: Matrix, targets: Matrix) -> Matrix:
    """Mean of f_out = h (t - y): Hebbian with the teacher's activity t, anti-Hebbian with the free activity y.

    With y = softmax(W h + adjustment) this is minus the gradient of the cross-entropy of one layer; its columns sum to
    0 over the classes where targets sum to 1.
    """
    change: Matrix = np.matmul((targets - free).T, h)
    change /= len(h)
    return change


@dataclass(frozen=True)
class Habit:
    """What a device's synapses are used to: mean and deviation of each feature, 0 and 1 for the constant."""

    mean: Vector
    deviation: Vector


def habit(h: Matrix) -> Habit:
    """Mean and deviation over these samples; features that hardly vary count as varying a tenth of what others do."""
    mean, deviation = h[:, :-1].mean(axis=0), h[:, :-1].std(axis=0)
    least = 0.1 * float(np.sqrt(np.mean(np.square(deviation)))) + 1e-6
    return Habit(
        np.append(mean, np.float32(0)).astype(np.float32),
        np.append(np.maximum(deviation, least), np.float32(1)).astype(np.float32),
    )


def step(
    weights: Matrix,
    h: Matrix,
    targets: Matrix,
    adjustment: NDArray[np.float32],
    used_to: Habit,
    plasticity: float,
    decay: float,
) -> Matrix:
    """W after one minibatch: dW = p (f_out - lambda W), as if on standardised features z = (h - mean) / deviation.

    W speaks of h itself, so that devices with different habits share it: a change F of the weights on z is
    F / deviation on h, and F_constant - sum(change * mean) of the bias. On standardised features both are one.
    """
    free = softmax(h @ weights.T + adjustment)
    change = hebbian(free, (h - used_to.mean) / used_to.deviation, targets) / used_to.deviation
    change[:, -1] -= change @ used_to.mean
    change -= np.float32(decay) * weights
    change *= np.float32(plasticity)
    change += weights
    return change


def minibatches(count: int, size: int, steps: int, rng: np.random.Generator) -> Iterator[Labels]:
    """Places of the samples of so many minibatches, from passes over `count` samples in a new order each."""
    done = 0
    while done < steps:
        order = rng.permutation(count)
        for start in range(0, count, size):
            if done == steps:
                return
            done += 1
            yield order[start : start + size]


def held_out(first: int, count: int) -> NDArray[np.bool_]:
    """Which of the samples number `first` to `first + count`, in order of arrival, are kept from learning."""
    held: NDArray[np.bool_] = np.arange(first, first + count) % HELD_OUT == HELD_OUT - 1
    return held


def accuracy(weights: Matrix, h: Matrix, labels: Labels) -> float:
    """Share of these samples whose class the readout finds; 0 where there is none."""
    return float(np.mean((h @ weights.T).argmax(axis=1) == labels)) if len(labels) else 0.0


def divergence(one: Matrix, other: Matrix) -> float:
    """Mean total-variation distance (0-1) between two sets of probabilities; 0 where there is no row."""
    return float(np.abs(one - other).sum(axis=1).mean() / 2) if len(one) else 0.0


def cross_entropy(predicted: Matrix, targets: Matrix) -> float:
    """Mean cross-entropy of predictions in nats."""
    return float(-(targets * np.log(np.maximum(predicted, 1e-12))).sum(axis=1).mean())


def eligibility(h: Matrix, trace: Vector, gamma: float) -> Matrix:
    """e(t) = gamma e(t-1) + (1 - gamma) h(t) over samples in order of arrival, from the `trace` e(-1) on.

    In place of h it makes the rule a three-factor rule with an eligibility trace (Gerstner et al. 2018), for streams
    whose class changes slowly. Normalised, so that e is as large as h.
    """
    traces = np.empty_like(h)
    for t, each in enumerate(h):
        trace = np.float32(gamma) * trace + np.float32(1.0 - gamma) * each
        traces[t] = trace
    return traces
