"""MINE: a task of one's own, which is a data set. As it stands, clouds of points to tell apart.

    edgebed test-plugin MINE.py
    edgebed run smoke --plugin MINE.py --set learning.task.name=MINE

Each node loads the whole task and takes its own share of it by the partition that the scenario names. So the same
`data_seed` must give the same samples in the same order, everywhere.
"""

from dataclasses import dataclass

import numpy as np

from node_image.data.task import Task
from node_image.parameters import parameter


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set: `task: {name: MINE, samples: 5000}`."""

    samples: int = parameter(2000, "samples to learn from", minimum=10)
    classes: int = parameter(5, "clouds", minimum=2)
    spread: float = parameter(0.5, "standard deviation of a cloud; their centres are about 4 apart", minimum=0.0)


def load(params: Parameters, data_seed: int, data_dir: str | None) -> Task:
    """Samples and labels: x float32 or uint8 (as a sensor gives them) with the samples first, y int64 from 0.

    A model sees `x * scale + offset`. Read files from below `data_dir` (`edgebed run --data FOLDER`), which may be
    None; raise `node_image.data.folder.DataNotFoundError` with what to do where one is missing.
    """
    rng = np.random.default_rng(data_seed)
    centres = rng.normal(size=(params.classes, 8))
    y = rng.integers(params.classes, size=params.samples * 5 // 4)
    x = (centres[y] + params.spread * rng.normal(size=(len(y), 8))).astype(np.float32)
    train, test = slice(0, params.samples), slice(params.samples, None)
    return Task(x[train], y[train], x[test], y[test], classes=params.classes)
