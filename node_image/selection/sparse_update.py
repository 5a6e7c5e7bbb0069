"""Sparse Update: a device trains a fixed part of its model, found before the run (Lin et al. 2022, arXiv 2206.15472).

That part is the biases of the last layers, and in some layers a share of the channels, those with the largest weights.
Which layers either stands in the scenario or is searched for: each layer is trained alone on samples of the task, and
an evolutionary search looks for the scheme whose layers gained most among those that the budget holds.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from node_image.neurons import FLOAT_BYTES, Indices, Numbers
from node_image.outcomes import UnfitError
from node_image.parameters import parameter
from node_image.selection.budget import Budget, Budgeted, budget
from node_image.selection.static import Static

if TYPE_CHECKING:
    from node_image.network import Mask, Network
    from node_image.trial import Trial

SHARES = (0.0, 0.5, 1.0)  # of a layer's channels that a searched scheme may train
WORST_LOSS = 1e9  # stands for that of a trial that diverged, or was not made
POPULATION, PARENTS, GENERATIONS = 64, 16, 60


@dataclass(frozen=True)
class Parameters(Budgeted):
    """What a scenario may set."""

    layers: str = parameter("", "layers to train, by name, the most important first, apart by spaces; none: search")
    share: float = parameter(
        1.0, "share of the channels of each of `layers` that is trained", unit="ratio", minimum=0.0, maximum=1.0
    )
    bias_layers: int = parameter(0, "last layers whose biases are trained, before anything else", minimum=0)
    tried_layers: int = parameter(0, "last layers among which the search looks; 0: all", minimum=0)
    trial_steps: int = parameter(5, "minibatches for which the search trains each layer alone", minimum=1)


def begin(params: Parameters, network: "Network", rng: np.random.Generator, trial: "Trial") -> Static:
    """The same choice for every device."""
    return _chosen(params, trial)


@cache
def _chosen(params: Parameters, trial: "Trial") -> Static:
    """Made once a process. Raises UnfitError for a layer that the model does not have."""
    whole = budget(params, trial.network)
    shifts, their_cost = affordable_biases(whole, params)
    rest = replace(whole, most=whole.most - their_cost)
    order, everyone = by_norm(rest, trial.initial), np.ones(rest.neurons.count, np.bool_)
    if params.layers:
        chosen = rest.within(named(rest, order, params.layers.split(), params.share))
    elif rest.spent(everyone) <= rest.most:
        chosen = everyone  # nothing to search for
    else:
        chosen = searched(rest, order, trial, params)
    return Static(None if chosen.all() else rest.neurons.mask(chosen, shifts))


def affordable_biases(whole: Budget, params: Parameters) -> tuple[int, float]:
    """How many last layers, of those asked for, can have their biases trained, and what that costs."""
    each = FLOAT_BYTES if whole.in_bytes else 1
    last = [each * (rows.end - rows.first) * (rows.shift is not None) for rows in reversed(whole.neurons.rows)]
    spent = np.cumsum([0, *last[: params.bias_layers]])
    count = int(np.searchsorted(spent, whole.most, side="right")) - 1
    return count, float(spent[count])


def by_norm(whole: Budget, weights: NDArray[np.float32]) -> tuple[Indices, ...]:
    """The neurons of each layer, from the largest weights (Euclidean norm) to the smallest."""
    found = []
    for rows in whole.neurons.rows:
        norms = np.linalg.norm(weights[rows.weight.start : rows.weight.end].reshape(rows.end - rows.first, -1), axis=1)
        found.append(rows.first + np.argsort(-norms, kind="stable"))
    return tuple(found)


def named(whole: Budget, order: tuple[Indices, ...], names: list[str], share: float) -> Indices:
    """The neurons of a scheme that the scenario gives, in the order in which the budget takes them."""
    known = {rows.name: number for number, rows in enumerate(whole.neurons.rows)}
    if unknown := [name for name in names if name not in known]:
        raise UnfitError(f"the model has no layer {', '.join(unknown)}; known: {', '.join(known)}")
    return np.concatenate([_top(order[known[name]], share) for name in names])


def searched(whole: Budget, order: tuple[Indices, ...], trial: "Trial", params: Parameters) -> "Mask":
    """The neurons of the best scheme found: layers and shares whose gains, measured alone, add up to the most."""
    order = order[-params.tried_layers :]  # 0: all

    def neurons_of(layer: int, share: float) -> "Mask":
        chosen = np.zeros(whole.neurons.count, np.bool_)
        chosen[_top(order[layer], share)] = True
        return chosen

    options = [[neurons_of(layer, share) for share in SHARES] for layer in range(len(order))]
    costs = np.array([[whole.spent(option) for option in layer] for layer in options])
    # What is beyond the budget alone needs no trial.
    losses = np.array(
        [
            [
                trial.loss(whole.neurons.mask(option), params.trial_steps) if cost <= whole.most else np.inf
                for option, cost in zip(*pair, strict=True)
            ]
            for pair in zip(options, costs, strict=True)
        ]
    )
    losses = np.minimum(losses, WORST_LOSS)
    gains = np.maximum(losses[:, :1] - losses, 0.0)
    scheme = evolved(gains, costs, whole.most, np.random.default_rng([trial.seed, 6]))
    return np.asarray(np.any([options[layer][gene] for layer, gene in enumerate(scheme)], axis=0))


def evolved(gains: Numbers, costs: Numbers, most: float, rng: np.random.Generator) -> Indices:
    """For each layer which share (a place in `SHARES`) to train: the largest sum of gains that costs at most `most`.

    Gains and costs have the shape (layers, shares), the first share being none. The better ones of a population
    stay, and their children, mixed and changed at random places, take the place of the others.
    """
    layers, shares = gains.shape
    everywhere = np.arange(layers)

    def repaired(schemes: Indices) -> Indices:
        """Beyond the budget, layers in a random order are left out."""
        order = rng.permuted(np.tile(everywhere, (len(schemes), 1)), axis=1)
        paid = np.take_along_axis(costs[everywhere, schemes], order, axis=1).cumsum(axis=1)
        kept = np.take_along_axis(paid <= most, np.argsort(order, axis=1), axis=1)
        return np.where(kept, schemes, 0)

    def best_first(schemes: Indices) -> Indices:
        return schemes[np.argsort(-gains[everywhere, schemes].sum(axis=1), kind="stable")]

    population = best_first(repaired(rng.integers(shares, size=(POPULATION, layers))))
    for _ in range(GENERATIONS):
        parents = population[:PARENTS]
        one, other = parents[rng.integers(PARENTS, size=(2, POPULATION - PARENTS))]
        mixed = np.where(rng.random(one.shape) < 0.5, one, other)
        changed = np.where(rng.random(one.shape) < 1.5 / layers, rng.integers(shares, size=one.shape), mixed)
        population = best_first(np.concatenate([parents, repaired(changed)]))
    return np.asarray(population[0])


def _top(order: Indices, share: float) -> Indices:
    return order[: round(share * len(order))]
