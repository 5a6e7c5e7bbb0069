"""Knowledge in fewer bytes than a model: what devices distil, and how a coordinator makes one of many. Pure functions.

`h` are features (samples, D), `labels` whole numbers, `C` the number of classes. Sums are float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node_image.readout import Labels, Matrix, one_hot, softmax

Doubles = NDArray[np.float64]


# --- class probabilities on reference inputs ---


def fuse(probabilities: Sequence[Matrix], counts: Sequence[NDArray[np.int64]], ages: Sequence[float]) -> Matrix:
    """q_c(x) = sum_k s_k n_kc p_kc(x) / sum_k s_k n_kc, each row made to sum to 1; not yet sharpened.

    `probabilities` (inputs, C) and `counts` (C,) of each device; `ages` are its staleness weight s_k. A class of which
    no device has a sample takes the devices' plain staleness-weighted mean.
    """
    ages_of = np.asarray(ages, np.float64)
    weight = ages_of[:, None] * np.stack(counts)
    weight = np.where(weight.sum(axis=0) > 0, weight, ages_of[:, None])
    mixed = np.einsum("kc,krc->rc", weight / weight.sum(axis=0), np.stack(probabilities).astype(np.float64))
    mixed /= np.maximum(mixed.sum(axis=1, keepdims=True), 1e-12)
    fused: Matrix = mixed.astype(np.float32)
    return fused


def sharpen(probabilities: Matrix, temperature: float) -> Matrix:
    """q^(1/T), each row made to sum to 1: T below 1 lowers the entropy (as DS-FL's aggregation), 1 changes nothing."""
    scores: Matrix = np.log(np.maximum(probabilities, np.float32(1e-12)))
    scores /= temperature
    return softmax(scores)


# --- sums for a closed-form readout ---


@dataclass(frozen=True)
class Sums:
    """What ridge regression needs of some samples: n, A = sum h h^T (D, D) and S = sum h onehot^T (D, C)."""

    samples: int
    gram: Doubles
    cross: Doubles

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.samples + other.samples, self.gram + other.gram, self.cross + other.cross)


def no_sums(features: int, classes: int) -> Sums:
    """The sums of no sample at all."""
    return Sums(0, np.zeros((features, features)), np.zeros((features, classes)))


def sums(h: Matrix, labels: Labels, classes: int) -> Sums:
    """The sums of these samples."""
    exact = h.astype(np.float64)
    return Sums(len(h), exact.T @ exact, exact.T @ one_hot(labels, classes))


def ridge(total: Sums, penalty: float) -> Matrix:
    """W (C, D) = ((A + lambda I)^-1 S)^T: the ridge regression on all samples whose sums were added, in any order."""
    solved = np.linalg.solve(total.gram + penalty * np.eye(len(total.gram)), total.cross)
    return solved.T.astype(np.float32)


# --- class prototypes ---


@dataclass(frozen=True)
class Prototypes:
    """Of each class, how many samples there were (C,), and mean and variance of their features (C, D)."""

    counts: NDArray[np.int64]
    mean: Matrix
    variance: Matrix


def prototypes(h: Matrix, labels: Labels, classes: int) -> Prototypes:
    """Prototypes of these samples; mean and variance are 0 where a class has none."""
    member = one_hot(labels, classes).astype(np.float64)
    counts = member.sum(axis=0)
    share = member / np.maximum(counts, 1.0)
    exact = h.astype(np.float64)
    mean = share.T @ exact
    variance = np.stack([share[:, c] @ np.square(exact - mean[c]) for c in range(classes)])
    return Prototypes(counts.astype(np.int64), mean.astype(np.float32), variance.astype(np.float32))


def merge(parts: Sequence[Prototypes]) -> Prototypes:
    """Prototypes of the union: n = sum n_k, mu = sum n_k mu_k / n, var = sum n_k (var_k + (mu_k - mu)^2) / n."""
    counts = np.stack([part.counts for part in parts]).astype(np.float64)
    share = (counts / np.maximum(counts.sum(axis=0), 1.0))[:, :, None]
    means = np.stack([part.mean for part in parts]).astype(np.float64)
    variances = np.stack([part.variance for part in parts])
    mean = (share * means).sum(axis=0)
    variance = (share * (variances + np.square(means - mean))).sum(axis=0)
    return Prototypes(counts.sum(axis=0).astype(np.int64), mean.astype(np.float32), variance.astype(np.float32))


def pseudo_samples(of: Prototypes, count: int, rng: np.random.Generator) -> tuple[Matrix, Labels]:
    """So many Gaussian samples with their labels, the classes of which there are samples being equally likely.

    ValueError where there is no sample of any class.
    """
    known = np.flatnonzero(of.counts)
    if not len(known):
        raise ValueError("prototypes of no class at all have no samples")
    labels = rng.choice(known, count)
    noise = rng.standard_normal((count, of.mean.shape[1]), np.float32)
    return of.mean[labels] + noise * np.sqrt(np.maximum(of.variance[labels], 0.0)), labels
