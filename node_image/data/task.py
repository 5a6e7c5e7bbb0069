"""A task: labelled samples to learn from and to be tested on, as they are stored and as they go over a link."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from node_image.data.boxes import Boxes, main_classes, relabelled
from node_image.objective import Classification, Detection, Objective
from node_image.outcomes import UnfitError

Samples = NDArray[np.uint8] | NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Task:
    """What every node of a run shares.

    `train_x` and `test_x` hold raw samples (first axis: sample), uint8 where the sensor gives that; a model sees
    `x * scale + offset` as float32. `ids` tells who or what a training sample comes from (None: not known). Of
    `public_x`, which no training sample is, every node holds a copy.

    Where things are to be detected there are boxes (`node_image.data.boxes`), and the labels are the classes of the
    largest things, by which partitions and arrivals go.
    """

    train_x: Samples
    train_y: Labels
    test_x: Samples
    test_y: Labels
    classes: int
    scale: float = 1.0
    offset: float = 0.0
    ids: NDArray[np.int64] | None = None
    public_x: Samples = field(default_factory=lambda: np.empty(0, np.uint8))
    public_y: Labels = field(default_factory=lambda: np.empty(0, np.int64))
    train_boxes: Boxes | None = None
    test_boxes: Boxes | None = None

    @property
    def objective(self) -> Objective:
        """What a model's scores are for."""
        return Classification(self.classes) if self.train_boxes is None else Detection(self.classes)

    @property
    def train_targets(self) -> NDArray[np.generic]:
        """What the scores of the training samples should say: labels, or boxes."""
        return self.train_y if self.train_boxes is None else self.train_boxes

    @property
    def test_targets(self) -> NDArray[np.generic]:
        """What the scores of the test samples should say: labels, or boxes."""
        return self.test_y if self.test_boxes is None else self.test_boxes

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.train_x.shape[1:]

    def subset(self, train_samples: int, test_samples: int, data_seed: int) -> "Task":
        """The task with so many samples, drawn by the seed and kept in their order; 0 keeps all."""
        rng = np.random.default_rng([data_seed, 1])
        train = draw(rng, len(self.train_y), train_samples)
        test = draw(rng, len(self.test_y), test_samples)
        return self._of(train, test)

    def restricted(self, classes: tuple[int, ...]) -> "Task":
        """The task with these classes alone, relabelled from 0 in the order given; () keeps all.

        Raises UnfitError for a class that the task does not have.
        """
        if not classes:
            return self
        if unknown := sorted(set(classes) - set(range(self.classes))):
            raise UnfitError(f"the task has classes 0 to {self.classes - 1} (found {unknown[0]})")
        names = np.full(self.classes, -1, np.int64)
        names[list(classes)] = np.arange(len(classes))
        if self.train_boxes is None or self.test_boxes is None:
            task = replace(self, train_y=names[self.train_y], test_y=names[self.test_y], classes=len(classes))
        else:
            boxes, test_boxes = relabelled(self.train_boxes, names), relabelled(self.test_boxes, names)
            train_y, test_y = main_classes(boxes), main_classes(test_boxes)
            task = replace(
                self,
                train_y=train_y,
                test_y=test_y,
                train_boxes=boxes,
                test_boxes=test_boxes,
                classes=len(classes),
            )
        return task._of(np.flatnonzero(task.train_y >= 0), np.flatnonzero(task.test_y >= 0))

    def sharing(self, samples: int, data_seed: int) -> "Task":
        """The task with so many training samples, drawn by the seed, made public instead.

        Raises UnfitError where no training sample would be left.
        """
        if samples == 0:
            return self
        if samples >= len(self.train_y):
            raise UnfitError(f"of {len(self.train_y)} training samples {samples} cannot be public: none would be left")
        public = draw(np.random.default_rng([data_seed, 5]), len(self.train_y), samples)
        private = np.setdiff1d(np.arange(len(self.train_y)), public)
        task = replace(self, public_x=self.train_x[public], public_y=self.train_y[public])
        return task._of(private, np.arange(len(self.test_y)))

    def _of(self, train: NDArray[np.int64], test: NDArray[np.int64]) -> "Task":
        """The task with these samples alone."""
        return replace(
            self,
            train_x=self.train_x[train],
            train_y=self.train_y[train],
            test_x=self.test_x[test],
            test_y=self.test_y[test],
            ids=None if self.ids is None else self.ids[train],
            train_boxes=None if self.train_boxes is None else self.train_boxes[train],
            test_boxes=None if self.test_boxes is None else self.test_boxes[test],
        )


def draw(rng: np.random.Generator, available: int, wanted: int) -> NDArray[np.int64]:
    """Sorted indices of `wanted` samples out of `available`; all of them for 0 or more than there are."""
    if wanted == 0 or wanted >= available:
        return np.arange(available)
    return np.sort(rng.choice(available, wanted, replace=False))
