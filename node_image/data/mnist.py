"""MNIST: 70,000 handwritten digits of 28x28 pixels, from `mnist/mnist.npz` of the data folder."""

from dataclasses import dataclass

import numpy as np

from node_image.data.folder import locate
from node_image.data.task import Task
from node_image.parameters import parameter


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    train_samples: int = parameter(0, "training samples drawn by the data seed; 0: all 60,000", minimum=0)
    test_samples: int = parameter(0, "test samples drawn by the data seed; 0: all 10,000", minimum=0)


def load(params: Parameters, data_seed: int, data_dir: str | None) -> Task:
    """The standard split; a model sees pixels from 0 to 1."""
    with np.load(locate(data_dir, "mnist", "mnist.npz"), allow_pickle=False) as file:
        task = Task(
            file["train_x"],
            file["train_y"].astype(np.int64),
            file["test_x"],
            file["test_y"].astype(np.int64),
            classes=10,
            scale=1 / 255,
        )
    return task.subset(params.train_samples, params.test_samples, data_seed)
