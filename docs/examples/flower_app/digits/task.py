"""Softmax regression on scikit-learn's digits (1797 images of 8 x 8), in numpy."""

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

Array = NDArray[np.float32]
TEST = 360  # images that no node trains on


def initial() -> list[Array]:
    """Weights (64, 10) and biases (10,)."""
    return [np.zeros((64, 10), np.float32), np.zeros(10, np.float32)]


def load(partition: int | None = None, partitions: int = 1) -> tuple[Array, NDArray[np.int64]]:
    """The test set, or one of `partitions` equal parts of the training set: images (n, 64) and classes (n,)."""
    images, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    chosen = order[:TEST] if partition is None else order[TEST:][partition::partitions]
    return (images[chosen] / 16).astype(np.float32), classes[chosen]


def probabilities(model: list[Array], images: Array) -> Array:
    """Of each class (n, 10)."""
    scores = images @ model[0] + model[1]
    likely = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(likely / likely.sum(axis=1, keepdims=True), np.float32)


def train(model: list[Array], images: Array, classes: NDArray[np.int64], epochs: int, rate: float) -> float:
    """Mini-batch descent, in place; returns the last mean cross-entropy."""
    loss = 0.0
    for _ in range(epochs):
        losses = []
        for batch in np.array_split(np.arange(len(images)), max(1, len(images) // 16)):
            found = probabilities(model, images[batch])
            losses.append(-np.log(found[np.arange(len(batch)), classes[batch]] + 1e-9).mean())
            found[np.arange(len(batch)), classes[batch]] -= 1
            model[0] -= rate * images[batch].T @ found / len(batch)
            model[1] -= rate * found.mean(axis=0)
        loss = float(np.mean(losses))
    return loss


def accuracy(model: list[Array], images: Array, classes: NDArray[np.int64]) -> float:
    """Share of images whose most likely class is theirs."""
    return float((probabilities(model, images).argmax(axis=1) == classes).mean())
