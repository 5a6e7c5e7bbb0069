"""What learning gives back: to the algorithm that asked for it, and to the records."""

from dataclasses import dataclass, field


class UnfitError(ValueError):
    """What a node was told does not fit together, or its data are not there; the message says what to change."""


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
    """Result on the global test set: top-1 accuracy (0-1), loss (cross-entropy in nats), top-k accuracies by k.

    The loss is infinite or NaN where the weights are useless. For a detector `precision` holds average precisions by
    the overlaps asked for, and the accuracy is the one named 0.5:0.95 (COCO's mean average precision).
    """

    accuracy: float
    loss: float
    top_k: dict[int, float]
    samples: int
    precision: dict[str, float] = field(default_factory=dict)
