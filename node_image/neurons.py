"""Neurons of a network: what each costs, how fast it changes, and which fit a budget.

A neuron is an output channel of a convolution, or a unit of a linear layer, in a block; the head is always trained
and not counted. Normalisation belongs to no neuron. Bragagnolo et al. 2022 ("To update or not to update", NEq) rank
neurons by velocity; arXiv 2312.05282 takes as many as a budget holds.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from node_image.network import Mask, Network, Part

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Rows:
    """The neurons of one layer: `first` to `end` among the network's.

    Each has one row of `weight` and one element of `bias`, where there is one. `shift` is what moves the outputs alone:
    that bias, or of a layer without one the bias of the normalisation after it. `inputs` are the elements that go into
    the layer for one sample, which a backward pass has to keep.
    """

    name: str
    first: int
    end: int
    weight: Part
    bias: Part | None
    shift: Part | None
    inputs: int


@dataclass(frozen=True)
class Neurons:
    """All neurons of a network, layer by layer from the input on."""

    rows: tuple[Rows, ...]
    size: int  # of the network's flat vector
    head_start: int

    @property
    def count(self) -> int:
        """How many there are."""
        return self.rows[-1].end if self.rows else 0

    @property
    def layer(self) -> Indices:
        """The layer (a place in `rows`) of each neuron."""
        return np.repeat(np.arange(len(self.rows)), [each.end - each.first for each in self.rows])

    @property
    def parameters(self) -> Indices:
        """Weights of each neuron: c_i = inputs a group x kernel (+ 1 with a bias)."""
        costs = [
            (each.weight.end - each.weight.start) // (each.end - each.first) + (each.bias is not None)
            for each in self.rows
        ]
        return np.array(costs, np.int64)[self.layer]

    @property
    def saved(self) -> Indices:
        """Elements that must be kept for one sample where a layer has a neuron that changes; shape (layers,)."""
        return np.array([each.inputs for each in self.rows], np.int64)

    def mask(self, chosen: Mask, shifts: int = 0) -> Mask:
        """The weights of the chosen neurons, of the head, and the biases of the last `shifts` layers."""
        free = np.zeros(self.size, np.bool_)
        free[self.head_start :] = True
        for each in self.rows:
            picked = chosen[each.first : each.end]
            free[each.weight.start : each.weight.end].reshape(len(picked), -1)[picked] = True
            if each.bias is not None:
                free[each.bias.start : each.bias.end] = picked
        for each in self.rows[len(self.rows) - min(shifts, len(self.rows)) :]:
            if each.shift is not None:
                free[each.shift.start : each.shift.end] = True
        return free


def neurons(network: Network) -> Neurons:
    """The neurons of a network's blocks."""
    head = len(network.module) - 1
    parts = {part.name: part for part in network.parts}
    layers = {layer.name: layer for layer in network.layers if layer.child != head}
    starts = {parts[f"{name}.weight"].start for name in layers}
    ends = dict(pairwise([*sorted(starts), network.head_start]))  # where the next layer's weights begin
    rows, first = [], 0
    for name, layer in layers.items():
        weight, bias = parts[f"{name}.weight"], parts.get(f"{name}.bias")
        between = [part for part in network.parts if weight.end <= part.start < ends[weight.start]]
        shifts = [part for part in between if part.name.endswith(".bias") and part.shape == weight.shape[:1]]
        end = first + weight.shape[0]
        rows.append(Rows(name, first, end, weight, bias, shifts[0] if shifts else None, layer.inputs))
        first = end
    return Neurons(tuple(rows), network.parts[-1].end, network.head_start)


def longest_prefix(ranked: Indices, costs: Numbers, layer: Indices, layer_costs: Numbers, budget: float) -> Mask:
    """The neurons that a budget holds: from the best-ranked on, as long as the sum of their costs is within it.

    The first neuron of a layer also pays for the layer. Where not even the best-ranked one fits, none is chosen.
    """
    paid = costs[ranked]
    _, firsts = np.unique(layer[ranked], return_index=True)
    paid[firsts] += layer_costs[layer[ranked[firsts]]]
    chosen = np.zeros(len(costs), np.bool_)
    chosen[ranked[np.cumsum(paid) <= budget]] = True
    return chosen


def similarity(before: NDArray[np.float32], now: NDArray[np.float32]) -> Numbers:
    """phi of each neuron: the cosine between its outputs before and now, averaged over the samples.

    Outputs have the shape (samples, neurons, positions). Two outputs of zeros are alike (1), a single one is not (0).
    """
    products = np.einsum("snp,snp->sn", before, now, dtype=np.float64)
    energies = np.einsum("snp,snp->sn", before, before, dtype=np.float64)
    energies_now = np.einsum("snp,snp->sn", now, now, dtype=np.float64)
    lengths = np.sqrt(energies * energies_now)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = np.where(lengths > 0, products / lengths, (energies == 0) & (energies_now == 0))
    return np.asarray(cosines.mean(axis=0))


def velocity(form: str, change: Numbers, last_change: Numbers, last_velocity: Numbers, mu: float) -> Numbers:
    """v^t of each neuron from dphi^t, dphi^(t-1) and v^(t-1).

    `paper`: v^t = dphi^t - mu v^(t-1). `code`, as the authors' program has it: v^t = dphi^t - dphi^(t-1) + mu v^(t-1).
    """
    if form == "paper":
        return change - mu * last_velocity
    return change - last_change + mu * last_velocity
