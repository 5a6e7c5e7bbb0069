"""Arrival: the order in which a device's samples come in over time. Pure: the same arguments, the same order."""

import numpy as np

from node_image.data.partition import Indices
from node_image.data.task import Labels

ARRIVALS = ("as_split", "by_class", "runs")
PURPOSE = 6  # of the random numbers drawn here, among all that come from the data seed
RUN_SAMPLES = 10  # mean length of a run


def arrange(share: Indices, labels: Labels, kind: str, data_seed: int, index: int) -> Indices:
    """The samples of device `index` in order of arrival; `labels` are those of all training samples.

    `as_split` keeps the order of the partition, which has shuffled them (`in_order` alone has not). `by_class`: all
    of a class before the next one, in an order of the classes that is the same for all devices. `runs`: several of
    the same class, then several of another, as one thing after another happens in front of a sensor. Samples of one
    class keep their order among themselves. Raises ValueError for another kind.
    """
    match kind:
        case "as_split":
            return share
        case "by_class":
            kinds = np.unique(labels)
            rank = np.random.default_rng([data_seed, PURPOSE]).permutation(len(kinds))
            return share[np.argsort(rank[np.searchsorted(kinds, labels[share])], kind="stable")]
        case "runs":
            return runs(share, labels[share], np.random.default_rng([data_seed, PURPOSE, index]))
    raise ValueError(f"unknown arrival {kind!r}; known: {', '.join(ARRIVALS)}")


def runs(share: Indices, own_labels: Labels, rng: np.random.Generator) -> Indices:
    """Runs of one class, geometric lengths of mean `RUN_SAMPLES`, never twice the same class while there is another.

    A run's class is drawn in proportion to what is left of each, so that no class is kept for the end.
    """
    waiting = [share[own_labels == label] for label in np.unique(own_labels)]
    left = np.array([len(each) for each in waiting])
    pieces, last = [np.empty(0, np.int64)], -1
    while left.any():
        weights = left.astype(np.float64)
        if last >= 0 and left.sum() > left[last]:
            weights[last] = 0
        last = int(rng.choice(len(waiting), p=weights / weights.sum()))
        length = min(int(left[last]), int(rng.geometric(1 / RUN_SAMPLES)))
        start = len(waiting[last]) - left[last]
        pieces.append(waiting[last][start : start + length])
        left[last] -= length
    return np.concatenate(pieces)
