"""Which modules of a model a device gets: a knapsack. Pure functions.

A model has L module layers of M modules each; what is said of modules are arrays of shape (L, M). A sub-model has the
most importance that keeps within the device's budgets, and at least one module a layer. The importance of a module is
the mean of its gate over the device's own samples. (After ECLM, arXiv 2311.11083, which gives the idea; the equations
are ours.)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Chosen = NDArray[np.bool_]  # (L, M)
Importance = NDArray[np.floating]  # (L, M), not negative
EXACT_UNITS = 1 << 14  # budgets of more units than that are left to the greedy solution


class InfeasibleError(ValueError):
    """No sub-model keeps within the budgets; `constraint` is the name of one that cannot be kept."""

    def __init__(self, constraint: str) -> None:
        super().__init__(f"no sub-model keeps within the budget of {constraint}")
        self.constraint = constraint


@dataclass(frozen=True)
class Budget:
    """One constraint: what each module costs (L, M), whole numbers, and how much of that there is."""

    name: str
    costs: NDArray[np.int64]
    amount: float

    def kept(self, chosen: Chosen) -> bool:
        """Whether these modules cost no more than there is."""
        return int(self.costs[chosen].sum()) <= self.amount


def importance(gates: NDArray[np.floating]) -> Vector:
    """Mean gate over samples: (samples, L, M) -> (L, M)."""
    mean: Vector = gates.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def moved(before: Importance, after: Importance) -> float:
    """L1 distance between two importances: 0 to 2 L."""
    return float(np.abs(np.asarray(after, np.float64) - before).sum())


def imbalance(load: NDArray[np.floating]) -> float:
    """CV^2 = variance / mean^2 of the modules' load, the mean of all layers; 0 only where all loads are equal."""
    load = np.asarray(load, np.float64)
    return float((load.var(axis=-1) / load.mean(axis=-1) ** 2).mean())


def derive(worth: Importance, budgets: Sequence[Budget], most: int) -> Chosen:
    """The modules of a sub-model: at least one and at most `most` a layer, within every budget.

    Exact where one budget alone binds and is few enough units of its costs' common divisor, else greedy.
    InfeasibleError as the solver raises it.
    """
    everything = np.ones(worth.shape, np.bool_)
    binding = [budget for budget in budgets if not budget.kept(everything)]
    if not binding:
        return greedy(worth, (), most)
    unit = max(1, math.gcd(*binding[0].costs.ravel().tolist()))
    if len(binding) == 1 and binding[0].amount < EXACT_UNITS * unit:
        return exact(worth, binding[0], most)
    return greedy(worth, binding, most)


def greedy(worth: Importance, budgets: Sequence[Budget], most: int) -> Chosen:
    """Each layer's best module, then whatever fits by falling importance / cost.

    A module's cost is the sum of its shares of all budgets. Where the best modules do not fit, each layer's cheapest
    are forced instead; InfeasibleError where these do not fit either. (With several budgets there may then still be a
    solution: to find it is a hard problem.)
    """
    price = sum((budget.costs / max(budget.amount, 1e-9) for budget in budgets), np.zeros(worth.shape))
    chosen = _one_a_layer(np.argmax(worth, axis=1), worth.shape)
    if not all(budget.kept(chosen) for budget in budgets):
        chosen = _one_a_layer(np.argmin(price, axis=1), worth.shape)
    for budget in budgets:
        if not budget.kept(chosen):
            raise InfeasibleError(budget.name)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(price > 0, worth / price, np.inf)
    # Free modules go first, and among equals the more important.
    for place in np.lexsort((-worth.ravel(), -value.ravel())):
        layer, module = np.unravel_index(place, worth.shape)
        if chosen[layer, module] or chosen[layer].sum() >= most:
            continue
        chosen[layer, module] = True
        if not all(budget.kept(chosen) for budget in budgets):
            chosen[layer, module] = False
    return chosen


def exact(worth: Importance, budget: Budget, most: int) -> Chosen:
    """The best choice under one budget, by dynamic programming over layers, modules, their number, and what is spent.

    InfeasibleError where even the cheapest module of every layer is too much.
    """
    if budget.costs.min(axis=1).sum() > budget.amount:
        raise InfeasibleError(budget.name)
    layers, modules = worth.shape
    most = min(most, modules)
    unit = max(1, math.gcd(*budget.costs.ravel().tolist()))
    costs = budget.costs // unit
    units = int(min(budget.amount // unit, costs.sum()))
    best = np.zeros(units + 1)  # by units there are: the most importance of the layers so far
    taken = np.zeros((layers, modules, most + 1, units + 1), np.bool_)
    counts = np.zeros((layers, units + 1), np.int64)
    for layer in range(layers):
        table = np.full((most + 1, units + 1), -np.inf)  # by number of this layer's modules
        table[0] = best
        for module in range(modules):
            cost = int(costs[layer, module])
            if cost > units:
                continue
            with_it = np.full_like(table, -np.inf)
            with_it[1:, cost:] = table[:-1, : units + 1 - cost] + float(worth[layer, module])
            taken[layer, module] = with_it > table
            table = np.maximum(table, with_it)
        counts[layer] = 1 + np.argmax(table[1:], axis=0)
        best = table[1:].max(axis=0)
    return _traced(taken, counts, costs, units)


def _traced(taken: NDArray[np.bool_], counts: NDArray[np.int64], costs: NDArray[np.int64], units: int) -> Chosen:
    """Follow the decisions of `exact` back from the last module."""
    layers, modules = costs.shape
    chosen = np.zeros((layers, modules), np.bool_)
    for layer in reversed(range(layers)):
        count = int(counts[layer, units])
        for module in reversed(range(modules)):
            if taken[layer, module, count, units]:
                chosen[layer, module] = True
                count, units = count - 1, units - int(costs[layer, module])
    return chosen


def _one_a_layer(modules: NDArray[np.intp], shape: tuple[int, ...]) -> Chosen:
    chosen = np.zeros(shape, np.bool_)
    chosen[np.arange(shape[0]), modules] = True
    return chosen
