"""UTD-MHAD depth videos: 27 actions by 8 people (Chen, Jafari and Kehtarnavaz 2015), as short clips.

The data folder holds `utd_mhad/utd_mhad_depth64.npz`: 64x64 frames (0: no person, 1-255: depth), cut into clips by
`offsets`, each with its `action` (1-27) and `subject` (1-8).
"""

from dataclasses import dataclass

import numpy as np

from node_image.data.folder import locate
from node_image.data.task import Task
from node_image.outcomes import UnfitError
from node_image.parameters import parameter

CLASSES = 27
SIDE = 64  # of a stored frame


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    frames: int = parameter(8, "frames of a clip, from the middles of so many equal spans", minimum=1)
    size: int = parameter(32, "rows and columns of a frame: 64, 32, 16, 8 or 4", unit="px", minimum=4, maximum=SIDE)
    train_samples: int = parameter(0, "training samples drawn by the data seed; 0: all 431", minimum=0)
    test_samples: int = parameter(0, "test samples drawn by the data seed; 0: all 430", minimum=0)


def load(params: Parameters, data_seed: int, data_dir: str | None) -> Task:
    """Clips of shape (frames, size, size): people 1, 3, 5, 7 train and 2, 4, 6, 8 test; ids are people.

    Raises UnfitError for a size that does not divide 64.
    """
    if SIDE % params.size:
        raise UnfitError(f"utd_mhad: size must be 64, 32, 16, 8 or 4 (found {params.size})")
    with np.load(locate(data_dir, "utd_mhad", "utd_mhad_depth64.npz"), allow_pickle=False) as file:
        frames, offsets = file["frames"], file["offsets"].astype(np.int64)
        y, person = file["action"].astype(np.int64) - 1, file["subject"].astype(np.int64)
    place = (np.arange(params.frames) + 0.5) / params.frames
    chosen = offsets[:-1, None] + (place * np.diff(offsets)[:, None]).astype(np.int64)
    # Squares of pixels become their mean.
    size, together = params.size, SIDE // params.size
    squares = frames[chosen].reshape(-1, params.frames, size, together, size, together)
    x = np.rint(squares.mean(axis=(3, 5))).astype(np.uint8)
    train = person % 2 == 1
    task = Task(x[train], y[train], x[~train], y[~train], classes=CLASSES, scale=1 / 255, ids=person[train])
    return task.subset(params.train_samples, params.test_samples, data_seed)
