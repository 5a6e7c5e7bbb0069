"""Drift: what a device senses changes during the run. Pure: the same arguments give the same samples on every node.

A drift begins at `at_s` and is complete `ramp_s` later; in between it is partly there (a shift by part of the way, a
noise of part of the strength; labels and classes change for part of the samples). All of a device's samples look as
they do now, whenever they arrived: what it learns from and is tested on is the world as it is. Drifts follow one
another in the order in which the scenario lists them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from node_image.data import distort
from node_image.data.partition import Indices
from node_image.data.task import Labels, Samples, Task
from node_image.outcomes import UnfitError
from node_image.parameters import REQUIRED, parameter

Scaled = NDArray[np.float32]  # samples (n, ...) as a model sees them
PURPOSE = 4  # of the random numbers drawn here, among all that come from the data seed
_DEVICES = re.compile(r"(\d+(-\d+)?(,(?!$)|$))*")


@dataclass(frozen=True)
class Drift:
    """What every kind has. ValueError where `devices` cannot be read."""

    at_s: float = parameter(REQUIRED, "when it begins", unit="s", minimum=0.0)
    ramp_s: float = parameter(0.0, "how long it takes to be complete; 0: at once", unit="s", minimum=0.0)
    devices: str = parameter("", "indices of the devices it happens to, as 0,3,5-7; empty: a share of all")
    share: float = parameter(
        1.0, "part of all devices it happens to, drawn by the seed", unit="ratio", minimum=0.0, maximum=1.0
    )

    def __post_init__(self) -> None:
        if not _DEVICES.fullmatch(self.devices):
            raise ValueError(f"devices: must be indices such as 0,3,5-7 (found {self.devices!r})")

    def strength(self, now: float) -> float:
        """How much of it is there at `now` (s): 0 to 1."""
        if now < self.at_s:
            return 0.0
        return min(1.0, (now - self.at_s) / self.ramp_s) if self.ramp_s else 1.0


@dataclass(frozen=True)
class Shift(Drift):
    """Everything moves across the picture; what comes in at the edge is 0."""

    dx: int = parameter(0, "columns to the right", unit="px")
    dy: int = parameter(0, "rows down", unit="px")


@dataclass(frozen=True)
class Rotate(Drift):
    """The picture turns about its middle; what comes in at the corners is 0."""

    degrees: float = parameter(0.0, "degrees counter-clockwise")


@dataclass(frozen=True)
class Contrast(Drift):
    """Every value is multiplied."""

    factor: float = parameter(1.0, "what every value is multiplied by", minimum=0.0)


@dataclass(frozen=True)
class Noise(Drift):
    """Gaussian noise is added; a sample's noise is the same each time it is seen."""

    sigma: float = parameter(0.0, "standard deviation, in units of what the model sees", minimum=0.0)


@dataclass(frozen=True)
class Relabel(Drift):
    """Some classes change their names among each other: the same picture means something else."""

    classes: int = parameter(2, "classes, drawn by the seed, whose labels move on in a circle; 2: a swap", minimum=2)


@dataclass(frozen=True)
class NewClasses(Drift):
    """Samples of a device are replaced by samples of classes it has not held, drawn from the whole training set."""

    new: int = parameter(2, "classes that appear: those the device holds least of, ties by the seed", minimum=1)
    replaced: float = parameter(1.0, "part of its samples that gives way", unit="ratio", minimum=0.0, maximum=1.0)


DRIFTS: Mapping[str, type[Any]] = {
    "classes": NewClasses,
    "contrast": Contrast,
    "labels": Relabel,
    "noise": Noise,
    "rotate": Rotate,
    "shift": Shift,
}


@dataclass(frozen=True)
class Change:
    """A drift that happens to a device; its seeds are for what all devices share, and for what is the device's own."""

    drift: Drift
    seed: tuple[int, ...]
    own_seed: tuple[int, ...]


def of_device(drifts: Sequence[Drift], index: int, devices: int, data_seed: int) -> tuple[Change, ...]:
    """The drifts that happen to device `index` of so many; none to the coordinator (index -1)."""
    changes = []
    for number, drift in enumerate(drifts):
        seed = (data_seed, PURPOSE, number)
        if index in affected(drift, devices, seed):
            changes.append(Change(drift, seed, (*seed, index)))
    return tuple(changes)


def affected(drift: Drift, devices: int, seed: Sequence[int]) -> frozenset[int]:
    """Indices of the devices it happens to: those named, or a share (rounded, at least one unless it is 0).

    Raises ValueError where a device is named that there is not.
    """
    if drift.devices:
        spans = [span.partition("-")[::2] for span in drift.devices.split(",")]
        ends = [(int(first), int(last or first)) for first, last in spans]
        if any(not first <= last < devices for first, last in ends):
            raise UnfitError(f"drift: devices are 0 to {devices - 1}, spans ascend (found {drift.devices!r})")
        return frozenset(index for first, last in ends for index in range(first, last + 1))
    count = max(1, round(drift.share * devices)) if drift.share else 0
    return frozenset(np.random.default_rng([*seed, 0]).permutation(devices)[:count].tolist())


def held(changes: Sequence[Change], own: Indices, labels: Labels, now: float) -> Indices:
    """The training samples a device holds at `now`, in the places of those that were dealt to it (`own`).

    Only drifts of kind `classes` change them. `labels` are those of all training samples.
    """
    for change in changes:
        drift, strength = change.drift, change.drift.strength(now)
        if isinstance(drift, NewClasses) and strength > 0:
            rng = np.random.default_rng(change.own_seed)
            pool = np.flatnonzero(np.isin(labels, _least_held(labels, own, drift.new, rng)))
            newcomers = rng.choice(pool, len(own), replace=len(pool) < len(own))
            own = np.where(rng.random(len(own)) < strength * drift.replaced, newcomers, own)
    return own


def _least_held(labels: Labels, own: Indices, wanted: int, rng: np.random.Generator) -> Labels:
    kinds = np.unique(labels)
    amounts = (labels[own] == kinds[:, None]).sum(axis=1)
    return kinds[np.lexsort((rng.random(len(kinds)), amounts))[:wanted]]


def apply(
    changes: Sequence[Change], x: Scaled, y: NDArray[Any], ids: Indices, now: float, classes: int
) -> tuple[Scaled, NDArray[Any]]:
    """Samples (n, ...) after scaling, and their labels, as the device senses them at `now`; the arguments are kept.

    `ids` tell samples apart: the index of a training sample, and for a test sample its index plus the number of
    training samples. ValueError where a sample has no rows and columns (its last two axes) to shift or rotate, and for
    boxes instead of labels where a drift would have to move or rename them.
    """
    for change in changes:
        strength = change.drift.strength(now)
        if strength == 0:
            continue
        if y.ndim > 1 and isinstance(change.drift, Shift | Rotate | Relabel):
            raise UnfitError("drift: boxes are neither moved nor renamed; choose among classes, contrast, noise")
        match change.drift:
            case Shift(dx=dx, dy=dy):
                x = distort.shifted(x, round(strength * dx), round(strength * dy))
            case Rotate(degrees=degrees):
                x = distort.rotated(x, strength * degrees)
            case Contrast(factor=factor):
                x = x * np.float32(1 + strength * (factor - 1))
            case Noise(sigma=sigma):
                x = x + np.float32(strength * sigma) * distort.noise(x.shape[1:], ids, change.seed)
            case Relabel(classes=moved):
                renamed = relabelling(classes, moved, change.seed)[y]
                y = np.where(distort.chances(ids, change.seed) < strength, renamed, y)
    return x, y


def sensed(
    changes: Sequence[Change], task: Task, x: Samples, y: NDArray[Any], ids: Indices, now: float
) -> tuple[Samples, NDArray[Any]]:
    """Raw samples as the device's sensor gives them at `now`, and their labels; see `apply` for `ids`.

    What the drift makes of a sample is stored as the task stores samples: a sensor of 8 bits cuts off and rounds.
    """
    if not any(change.drift.strength(now) for change in changes):
        return x, y
    scaled, y = apply(changes, x.astype(np.float32) * task.scale + task.offset, y, ids, now, task.classes)
    raw = (scaled - task.offset) / task.scale
    if task.train_x.dtype == np.uint8:
        return np.clip(np.rint(raw), 0, 255).astype(np.uint8), y
    return raw.astype(np.float32), y


def relabelling(classes: int, moved: int, seed: Sequence[int]) -> Labels:
    """Old label -> new label: `moved` of the classes (at most all) take each other's places in a circle."""
    names = np.arange(classes)
    chosen = np.random.default_rng([*seed, 1]).permutation(classes)[:moved]
    names[chosen] = np.roll(chosen, -1)
    return names
