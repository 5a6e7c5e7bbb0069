"""Objective: what a model's scores are for - the loss that training makes small, and how good they are in a test."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from node_image import detection
from node_image.average_precision import average_precision
from node_image.data.boxes import CLASS, WIDTH
from node_image.outcomes import Evaluation

if TYPE_CHECKING:
    import torch

TOP_K = (3, 5)  # also reported, where the task has more classes than that
Scores = NDArray[np.float32]


class Objective(Protocol):
    """Scores have the sample as their first axis, and so have the targets."""

    @property
    def classes(self) -> int:
        """How many classes there are."""

    @property
    def outputs(self) -> int:
        """How many numbers a model's head gives."""

    def loss(self, scores: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        """Mean loss of a sample, to be differentiated."""

    def evaluate(self, scores: Scores, targets: NDArray[Any]) -> Evaluation:
        """How good the scores are."""

    def problem(self, scores: int) -> str | None:
        """What is wrong with a model that gives so many scores a sample, or None."""

    def as_sent(self, targets: NDArray[Any]) -> NDArray[Any]:
        """Targets as they go over a link."""

    def are_sent(self, targets: NDArray[Any]) -> bool:
        """Whether these are targets as `as_sent` gives them."""

    @property
    def sent_form(self) -> str:
        """What `as_sent` gives, in words."""


@dataclass(frozen=True)
class Classification:
    """One of several classes; targets are labels (n,)."""

    classes: int

    @property
    def outputs(self) -> int:
        """One score a class."""
        return self.classes

    def loss(self, scores: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        """Cross-entropy in nats."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(scores, targets)

    def evaluate(self, scores: Scores, targets: NDArray[Any]) -> Evaluation:
        """Top-1 and top-k accuracy, and cross-entropy."""
        import torch

        found, y = torch.from_numpy(scores), torch.from_numpy(targets)
        # Number of classes that score above the right one; a NaN counts as above.
        rank = (~(found <= found.gather(1, y[:, None]))).sum(dim=1)
        correct = found.argmax(dim=1) == y
        top_k = {k: float((rank < k).float().mean()) for k in TOP_K if k < self.classes}
        return Evaluation(float(correct.float().mean()), float(self.loss(found, y)), top_k, len(y))

    def problem(self, scores: int) -> str | None:
        """A model must give one score a class."""
        return None if scores == self.classes else f"the task has {self.classes} classes, the model {scores} scores"

    def as_sent(self, targets: NDArray[Any]) -> NDArray[Any]:
        """A byte each."""
        return targets.astype(np.uint8)

    def are_sent(self, targets: NDArray[Any]) -> bool:
        """Whether these are such bytes, of known classes."""
        return targets.ndim == 1 and targets.dtype == np.uint8 and bool((targets.astype(np.int64) < self.classes).all())

    @property
    def sent_form(self) -> str:
        """For messages."""
        return f"n uint8 labels below {self.classes}"


@dataclass(frozen=True)
class Detection:
    """Things of several classes, each with its place; targets are boxes (n, places, 6) of `node_image.data.boxes`."""

    classes: int

    @property
    def outputs(self) -> int:
        """Objectness, place and size, and one score a class."""
        return detection.BOX_NUMBERS + self.classes

    def loss(self, scores: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        """The grid detector's loss."""
        return detection.grid_loss(scores, targets, self.classes)

    def evaluate(self, scores: Scores, targets: NDArray[Any]) -> Evaluation:
        """COCO's average precision, and the loss. What is called accuracy is the mean average precision (mAP)."""
        import torch

        by_threshold = average_precision(detection.detections(scores, self.classes), targets)
        loss = float(self.loss(torch.from_numpy(scores), torch.from_numpy(targets)))
        mean = float(by_threshold.mean())
        return Evaluation(mean, loss, {}, len(scores), {"0.5": float(by_threshold[0]), "0.5:0.95": mean})

    def problem(self, scores: int) -> str | None:
        """A model may give one set of scores for the whole picture, or one for each cell of a square grid."""
        cells, rest = divmod(scores, self.outputs)
        if rest == 0 and math.isqrt(cells) ** 2 == cells:
            return None
        return f"its {scores} scores are not {self.outputs} for each cell of a square grid"

    def as_sent(self, targets: NDArray[Any]) -> NDArray[Any]:
        """As they are: 24 bytes a box, empty places included."""
        return targets

    def are_sent(self, targets: NDArray[Any]) -> bool:
        """Whether these are boxes with finite numbers and known classes."""
        if targets.ndim != 3 or targets.dtype != np.float32 or targets.shape[2] != WIDTH:
            return False
        return bool(np.isfinite(targets).all() and np.isin(targets[..., CLASS], np.arange(-1, self.classes)).all())

    @property
    def sent_form(self) -> str:
        """For messages."""
        return f"float32 boxes (n, places, {WIDTH}) of classes below {self.classes}"
