"""Phone and watch motion of 23 people in five activities (Matey-Sanz et al. 2023, Data in Brief 109809; CC BY 4.0).

The data folder holds `sp_sw_har/sp_sw_har.npz`: rows of six channels (acceleration and rotation, about 100 a second),
cut into sequences by `offsets`, each by one person (1-23) with one device (0 phone, 1 watch).
"""

from dataclasses import dataclass

import numpy as np

from node_image.data.folder import locate
from node_image.data.task import Task
from node_image.parameters import parameter

WINDOW_ROWS = 100
WINDOW_STEP = 25
MAJORITY = 0.8  # share of a window's rows that must have its label
LAST_TRAINING_PERSON = 17
CLASSES = 5
SENSORS = {"both": (0, 1), "phone": (0,), "watch": (1,)}


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    sensor: str = parameter("both", "the device worn", choices=tuple(SENSORS))
    train_samples: int = parameter(0, "training samples drawn by the data seed; 0: all", minimum=0)
    test_samples: int = parameter(0, "test samples drawn by the data seed; 0: all", minimum=0)


def load(params: Parameters, data_seed: int, data_dir: str | None) -> Task:
    """Windows of shape (100, 6): people 1-17 train, 18-23 test; ids are people; channels are standardised."""
    with np.load(locate(data_dir, "sp_sw_har", "sp_sw_har.npz"), allow_pickle=False) as file:
        rows, labels, offsets = file["x"], file["y"].astype(np.int64), file["offsets"].astype(np.int64)
        people, sensors = file["subject"].astype(np.int64), file["device"]
    sequences = np.flatnonzero(np.isin(sensors, SENSORS[params.sensor]))
    starts = [np.arange(offsets[s], offsets[s + 1] - WINDOW_ROWS + 1, WINDOW_STEP) for s in sequences]
    person = np.repeat(people[sequences], [len(each) for each in starts])
    window = np.concatenate(starts)[:, None] + np.arange(WINDOW_ROWS)
    votes = np.stack([(labels[window] == c).mean(axis=1) for c in range(CLASSES)], axis=1)
    clear = votes.max(axis=1) >= MAJORITY
    x, y, person = rows[window[clear]], votes[clear].argmax(axis=1).astype(np.int64), person[clear]
    train = person <= LAST_TRAINING_PERSON
    mean, deviation = x[train].mean(axis=(0, 1)), x[train].std(axis=(0, 1))
    x = ((x - mean) / deviation).astype(np.float32)
    task = Task(x[train], y[train], x[~train], y[~train], classes=CLASSES, ids=person[train])
    return task.subset(params.train_samples, params.test_samples, data_seed)
