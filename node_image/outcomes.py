"""What learning gives back: to the algorithm that asked for it, and to the records."""

from dataclasses import dataclass


class DivergedError(ArithmeticError):
    """A local phase led to weights or a loss that are not finite numbers; the weights before it are kept."""


class NoSamplesError(ValueError):
    """A local phase was asked for before the first sample arrived."""


@dataclass(frozen=True)
class Phase:
    """What a local phase did: mean training loss in nats, samples used (repeats counted) and steps."""

    loss: float
    samples: int
    steps: int


@dataclass(frozen=True)
class Evaluation:
    """Result on the global test set: top-1 accuracy (0-1), cross-entropy in nats, top-k accuracies by k.

    The loss is infinite or NaN where the weights are useless.
    """

    accuracy: float
    loss: float
    top_k: dict[int, float]
    samples: int
