"""A task: labelled samples to learn from and to be tested on, as they are stored and as they go over a link."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.uint8] | NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Task:
    """What every node of a run shares.

    `train_x` and `test_x` hold raw samples (first axis: sample), uint8 where the sensor gives that; a model sees
    `x * scale + offset` as float32. `ids` tells who or what a training sample comes from (None: not known).
    """

    train_x: Samples
    train_y: Labels
    test_x: Samples
    test_y: Labels
    classes: int
    scale: float = 1.0
    offset: float = 0.0
    ids: NDArray[np.int64] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.train_x.shape[1:]

    @property
    def sample_bytes(self) -> int:
        """Size of one raw sample, as it would be sent."""
        return int(self.train_x[0].nbytes)

    def subset(self, train_samples: int, test_samples: int, data_seed: int) -> "Task":
        """The task with so many samples, drawn by the seed and kept in their order; 0 keeps all."""
        rng = np.random.default_rng([data_seed, 1])
        train = draw(rng, len(self.train_y), train_samples)
        test = draw(rng, len(self.test_y), test_samples)
        return replace(
            self,
            train_x=self.train_x[train],
            train_y=self.train_y[train],
            test_x=self.test_x[test],
            test_y=self.test_y[test],
            ids=None if self.ids is None else self.ids[train],
        )


def draw(rng: np.random.Generator, available: int, wanted: int) -> NDArray[np.int64]:
    """Sorted indices of `wanted` samples out of `available`; all of them for 0 or more than there are."""
    if wanted == 0 or wanted >= available:
        return np.arange(available)
    return np.sort(rng.choice(available, wanted, replace=False))
