"""UTD-MHAD depth videos: 27 actions by 8 people (Chen, Jafari and Kehtarnavaz 2015), as clips of 8 frames of 32x32.

The data folder holds `utd_mhad/utd_mhad_depth64.npz`: 64x64 frames (0: no person, 1-255: depth), cut into clips by
`offsets`, each with its `action` (1-27) and `subject` (1-8).
"""

from dataclasses import dataclass

import numpy as np

from node_image.data.folder import locate
from node_image.data.task import Task
from node_image.parameters import parameter

FRAMES = 8
CLASSES = 27


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    train_samples: int = parameter(0, "training samples drawn by the data seed; 0: all 431", minimum=0)
    test_samples: int = parameter(0, "test samples drawn by the data seed; 0: all 430", minimum=0)


def load(params: Parameters, data_seed: int, data_dir: str | None) -> Task:
    """Clips of shape (8, 32, 32): people 1, 3, 5, 7 train and 2, 4, 6, 8 test; ids are people."""
    with np.load(locate(data_dir, "utd_mhad", "utd_mhad_depth64.npz"), allow_pickle=False) as file:
        frames, offsets = file["frames"], file["offsets"].astype(np.int64)
        y, person = file["action"].astype(np.int64) - 1, file["subject"].astype(np.int64)
    # The middles of eight equal spans of each clip; every 2x2 pixels become their mean.
    place = (np.arange(FRAMES) + 0.5) / FRAMES
    chosen = offsets[:-1, None] + (place * np.diff(offsets)[:, None]).astype(np.int64)
    clips, side = frames[chosen], frames.shape[1] // 2
    x = np.rint(clips.reshape(-1, FRAMES, side, 2, side, 2).mean(axis=(3, 5))).astype(np.uint8)
    train = person % 2 == 1
    task = Task(x[train], y[train], x[~train], y[~train], classes=CLASSES, scale=1 / 255, ids=person[train])
    return task.subset(params.train_samples, params.test_samples, data_seed)
