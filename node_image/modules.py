"""Where a model's modules lie among its weights, and how the modules of many devices become one model again.

Pure functions of flat float32 vectors; what is said of modules are arrays of shape (L, M): L layers, M modules each.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node_image.network import Layer, Part
from node_image.outcomes import UnfitError
from node_image.submodel import Chosen, Importance, Vector

LEAST_IMPORTANCE = 1e-9  # a softmax may underflow to 0, and a holder's update must still count
MODULE = re.compile(r"\d+\.layers\.(?P<layer>\d+)\.(?P<module>\d+)\..*")
ACTIVE = re.compile(r"\d+\.active")


@dataclass(frozen=True)
class Layout:
    """Where the modules and the head lie in the flat vector; all else (stem, selector) stays as trained offline.

    `starts` and `ends` have shape (L, M); the head goes from `head` to the end, `size`. `active` is where the model
    keeps, as L M numbers, which modules it has.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    active: int
    head: int
    size: int

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Weights of each module."""
        return self.ends - self.starts

    def spans(self, chosen: Chosen, head: bool = True) -> list[slice]:
        """Where the chosen modules lie, in their order, and behind them the head."""
        spans = [slice(int(s), int(e)) for s, e in zip(self.starts[chosen], self.ends[chosen], strict=True)]
        return [*spans, slice(self.head, self.size)] if head else spans

    def mask(self, chosen: Chosen) -> NDArray[np.bool_]:
        """The weights that a device with these modules trains: theirs and the head's."""
        mask = np.zeros(self.size, np.bool_)
        for span in self.spans(chosen):
            mask[span] = True
        return mask

    def frozen(self) -> NDArray[np.bool_]:
        """The weights that no device trains: stem and selector."""
        mask = ~self.mask(np.ones(self.starts.shape, np.bool_))
        mask[self.active : self.active + self.starts.size] = False
        return mask

    def packed(self, weights: Vector, chosen: Chosen, head: bool = True) -> Vector:
        """The chosen modules and the head, one after the other: what travels."""
        spans = self.spans(chosen, head)
        return np.concatenate([weights[span] for span in spans]) if spans else np.empty(0, np.float32)

    def length(self, chosen: Chosen, head: bool = True) -> int:
        """Number of weights that `packed` gives."""
        return int(self.sizes[chosen].sum()) + (self.size - self.head if head else 0)

    def unpacked(self, onto: Vector, packed: Vector, chosen: Chosen, head: bool = True) -> Vector:
        """A copy of the weights `onto` with these modules (and the head) replaced by those of `packed`."""
        weights, start = onto.copy(), 0
        for span in self.spans(chosen, head):
            end = start + span.stop - span.start
            weights[span] = packed[start:end]
            start = end
        return weights

    def having(self, weights: Vector, chosen: Chosen) -> Vector:
        """A copy of the weights of a model that has the chosen modules and no others."""
        weights = weights.copy()
        weights[self.active : self.active + chosen.size] = chosen.ravel()
        return weights


def layout(parts: Sequence[Part], head_start: int) -> Layout:
    """The layout of a model from its named tensors; UnfitError where it has no modules."""
    found: dict[tuple[int, int], list[Part]] = {}
    active = None
    for part in parts:
        if (match := MODULE.fullmatch(part.name)) is not None:
            found.setdefault((int(match["layer"]), int(match["module"])), []).append(part)
        elif ACTIVE.fullmatch(part.name) is not None:
            active = part
    if active is None or not found:
        raise UnfitError("this algorithm sends parts of a model made of modules: choose the model `modular`")
    starts, ends = np.zeros(active.shape, np.int64), np.zeros(active.shape, np.int64)
    for place, tensors in found.items():
        starts[place], ends[place] = tensors[0].start, tensors[-1].end  # they lie one after the other
    return Layout(starts, ends, active.start, head_start, parts[-1].end)


def held_layers(layers: Sequence[Layer], chosen: Chosen) -> tuple[Layer, ...]:
    """The weighted layers at work in a model that has the chosen modules alone."""

    def held(name: str) -> bool:
        match = MODULE.fullmatch(name)
        return match is None or bool(chosen[int(match["layer"]), int(match["module"])])

    return tuple(layer for layer in layers if held(layer.name))


@dataclass(frozen=True)
class Update:
    """What a device came to: weights of the whole model, of which its modules and the head count, and their worth."""

    weights: Vector
    chosen: Chosen
    worth: Importance


def combined(where: Layout, model: Vector, updates: Sequence[Update]) -> Vector:
    """The model with every module replaced by its holders' mean, weighted by what it is worth to them.

    omega_i = sum_k I_ki omega_ki / sum_k I_ki over the devices k that hold module i. A module that nobody holds stays;
    the head is the plain mean. ValueError without any update.
    """
    if not updates:
        raise ValueError("no update came: there is nothing to combine")
    model = model.copy()
    model[where.head :] = np.mean([update.weights[where.head :] for update in updates], axis=0, dtype=np.float64)
    for place in np.ndindex(where.starts.shape):
        holders = [update for update in updates if update.chosen[place]]
        if holders:
            span = slice(int(where.starts[place]), int(where.ends[place]))
            worth = [max(float(update.worth[place]), LEAST_IMPORTANCE) for update in holders]
            model[span] = np.average([update.weights[span] for update in holders], axis=0, weights=worth)
    return model


def mixed(where: Layout, model: Vector, update: Update, shares: NDArray[np.float64], head_share: float) -> Vector:
    """The model with each of the update's modules i mixed in by `shares`[i] (0-1), and its head by `head_share`."""
    weight = np.zeros(where.size)
    for place in zip(*np.nonzero(update.chosen), strict=True):
        weight[where.starts[place] : where.ends[place]] = shares[place]
    weight[where.head :] = head_share
    return ((1.0 - weight) * model + weight * update.weights).astype(np.float32)


def written(chosen: Chosen) -> str:
    """The chosen modules as hexadecimal digits, as they travel: the first module is the lowest bit."""
    return format(sum(1 << place for place in np.flatnonzero(chosen).tolist()), "x")


def understood(text: str, shape: tuple[int, int]) -> Chosen:
    """Inverse of `written`; ValueError where it names none, or modules there are not."""
    bits = int(text, 16)
    if not 0 < bits < 1 << (shape[0] * shape[1]):
        raise ValueError(f"not a choice among {shape[0]} x {shape[1]} modules: {text!r}")
    return np.array([bits >> place & 1 for place in range(shape[0] * shape[1])], np.bool_).reshape(shape)
