"""Which modules a device gets, and how devices' modules become one model: against brute force and closed forms."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from node_image.models import modular
from node_image.modules import Layout, Update, combined, held_layers, layout, mixed, understood, written
from node_image.network import flatten
from node_image.submodel import (
    Budget,
    Chosen,
    InfeasibleError,
    derive,
    exact,
    greedy,
    imbalance,
    importance,
    moved,
)

Array = NDArray[np.float64]
LAYERS, MODULES = 2, 4

worths = st.lists(st.floats(0, 1, width=32), min_size=LAYERS * MODULES, max_size=LAYERS * MODULES)
costs = st.lists(st.integers(1, 12), min_size=LAYERS * MODULES, max_size=LAYERS * MODULES)
most = st.integers(1, MODULES)


def grid(values: list[float]) -> Array:
    return np.array(values, np.float64).reshape(LAYERS, MODULES)


def budget(values: list[int], amount: float, name: str = "memory") -> Budget:
    return Budget(name, np.array(values, np.int64).reshape(LAYERS, MODULES), amount)


def value(worth: Array, chosen: Chosen) -> float:
    return float(worth[chosen].sum())


def every_choice(limit: int) -> list[Chosen]:
    """All choices with one to `limit` modules a layer."""
    rows = [row for row in itertools.product((False, True), repeat=MODULES) if 1 <= sum(row) <= limit]
    return [np.array(pair) for pair in itertools.product(rows, repeat=LAYERS)]


CHOICES = {limit: every_choice(limit) for limit in range(1, MODULES + 1)}


# --- the knapsack ---


@given(worths, st.lists(st.tuples(costs, st.integers(0, 60)), min_size=1, max_size=3), most)
def test_the_greedy_choice_never_exceeds_a_budget_and_never_leaves_a_layer_empty(
    worth: list[float], constraints: list[tuple[list[int], int]], limit: int
) -> None:
    bounds = [budget(each, amount) for each, amount in constraints]
    try:
        chosen = greedy(grid(worth), bounds, limit)
    except InfeasibleError:
        return
    assert all(int(bound.costs[chosen].sum()) <= bound.amount for bound in bounds)
    assert ((chosen.sum(axis=1) >= 1) & (chosen.sum(axis=1) <= limit)).all()


@given(worths, costs, st.integers(0, 60), most)
def test_the_exact_choice_is_as_good_as_the_best_of_all(
    worth: list[float], prices: list[int], amount: int, limit: int
) -> None:
    bound = budget(prices, amount)
    fitting = [value(grid(worth), each) for each in CHOICES[limit] if bound.kept(each)]
    if not fitting:
        with pytest.raises(InfeasibleError, match="memory"):
            exact(grid(worth), bound, limit)
        return
    chosen = exact(grid(worth), bound, limit)
    assert bound.kept(chosen)
    assert ((chosen.sum(axis=1) >= 1) & (chosen.sum(axis=1) <= limit)).all()
    assert value(grid(worth), chosen) == pytest.approx(max(fitting))


@given(worths, st.integers(1, 9), st.integers(0, 80), most)
def test_where_all_modules_cost_the_same_the_greedy_choice_is_as_good_as_the_exact_one(
    worth: list[float], price: int, amount: int, limit: int
) -> None:
    bound = budget([price] * LAYERS * MODULES, amount)
    if amount < LAYERS * price:
        with pytest.raises(InfeasibleError):
            greedy(grid(worth), [bound], limit)
        with pytest.raises(InfeasibleError):
            exact(grid(worth), bound, limit)
        return
    found = value(grid(worth), greedy(grid(worth), [bound], limit))
    assert found == pytest.approx(value(grid(worth), exact(grid(worth), bound, limit)))


@given(worths, costs, most)
def test_a_budget_for_everything_gives_each_layer_its_best_modules_up_to_the_limit(
    worth: list[float], prices: list[int], limit: int
) -> None:
    chosen = derive(grid(worth), [budget(prices, sum(prices))], limit)
    best = sum(sum(sorted(row)[-limit:]) for row in grid(worth).tolist())
    assert chosen.sum() == LAYERS * limit
    assert value(grid(worth), chosen) == pytest.approx(best)


def test_what_is_derived_is_exact_where_one_budget_binds_however_large_its_numbers() -> None:
    # Greedy by worth / cost takes the small module first, and then the large one does not fit.
    worth = np.array([[0.1, 0.2, 0.9]])
    small, large = 8352 * 4, 8352 * 16
    bound = Budget("memory", np.array([[small, small, large]]), float(large))
    slack = Budget("transfer", np.array([[1, 1, 1]]), 100.0)
    assert derive(worth, [bound, slack], 3).tolist() == [[False, False, True]]
    uneven = Budget("memory", np.array([[small + 1, small, large]]), float(large))  # too many units: greedy
    assert uneven.kept(derive(worth, [uneven], 3))


def test_several_budgets_that_bind_are_all_kept() -> None:
    worth = np.array([[0.4, 0.3, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1]])
    memory, compute = budget([4, 1, 1, 1] * 2, 8), budget([1, 1, 1, 4] * 2, 4, "compute")
    chosen = derive(worth, [memory, compute], 4)
    assert memory.kept(chosen)
    assert compute.kept(chosen)
    assert chosen.sum() >= LAYERS


@pytest.mark.parametrize("amount", [-5.0, 0.0, 1.0])
def test_a_budget_that_no_sub_model_keeps_is_an_error_with_its_name(amount: float) -> None:
    for bounds in ([budget([1] * 8, amount, "transfer")], [budget([1] * 8, amount, "transfer"), budget([9] * 8, 9)]):
        with pytest.raises(InfeasibleError, match="transfer") as raised:
            derive(grid([0.5] * 8), bounds, MODULES)
        assert raised.value.constraint == "transfer"


def test_where_the_best_modules_are_too_dear_the_cheapest_are_taken() -> None:
    worth = np.array([[0.9, 0.1], [0.9, 0.1]])
    bounds = [Budget("memory", np.array([[9, 1], [9, 1]]), 5.0), Budget("transfer", np.array([[1, 1], [1, 1]]), 3.0)]
    assert greedy(worth, bounds, 2).tolist() == [[False, True], [False, True]]


# --- importance and load ---


def test_importance_is_the_mean_gate_and_its_movement_an_l1_distance() -> None:
    gates = np.array([[[1.0, 0.0]], [[0.0, 1.0]], [[0.5, 0.5]]])
    assert importance(gates).tolist() == [[0.5, 0.5]]
    assert moved(np.array([[0.5, 0.5]]), np.array([[0.9, 0.1]])) == pytest.approx(0.8)
    assert moved(importance(gates), importance(gates)) == 0.0


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=8))
def test_the_load_is_balanced_only_where_all_loads_are_equal(loads: list[float]) -> None:
    found = imbalance(np.array([loads]))
    mean = sum(loads) / len(loads)
    assert found == pytest.approx(sum((each - mean) ** 2 for each in loads) / len(loads) / mean**2, abs=1e-12)
    assert (found < 1e-12) == (max(loads) - min(loads) < 1e-5 * mean)


def test_imbalance_is_the_mean_of_the_layers() -> None:
    assert imbalance(np.array([[1.0, 1.0], [2.0, 0.0]])) == pytest.approx(0.5)


# --- aggregation ---


def small() -> tuple[Layout, NDArray[np.float32]]:
    torch.manual_seed(0)
    parameters = modular.Parameters(width=3, hidden=2, layers=LAYERS, modules=MODULES, top_k=2)
    network = flatten(modular.build(parameters, (2, 2), 3))
    return layout(network.parts, network.head_start), network.buffer.copy()


LAYOUT, MODEL = small()
ALL = np.ones((LAYERS, MODULES), np.bool_)
SEEDS = st.integers(0, 2**32 - 1)


def update(seed: int, chosen: Chosen = ALL, worth: float | None = None) -> Update:
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=LAYOUT.size).astype(np.float32)
    shape = (LAYERS, MODULES)
    each = rng.uniform(0.01, 1, shape) if worth is None else np.full(shape, worth)
    return Update(weights, chosen, each.astype(np.float32))


def some(seed: int) -> Chosen:
    return np.random.default_rng(seed).random((LAYERS, MODULES)) < 0.5


@given(SEEDS)
def test_the_only_holder_of_a_module_decides_it_and_a_module_nobody_holds_stays(seed: int) -> None:
    chosen = some(seed)
    only = update(seed, chosen)
    model = combined(LAYOUT, MODEL, [only])
    trained = LAYOUT.mask(chosen)
    np.testing.assert_array_equal(model[trained], only.weights[trained])
    np.testing.assert_array_equal(model[~trained], MODEL[~trained])


@given(st.lists(SEEDS, min_size=1, max_size=5))
def test_with_all_modules_and_equal_importance_it_is_fedavg_on_what_devices_train(seeds: list[int]) -> None:
    updates = [update(seed, worth=0.25) for seed in seeds]
    model = combined(LAYOUT, MODEL, updates)
    mean = np.mean([each.weights for each in updates], axis=0)
    trained = LAYOUT.mask(ALL)
    np.testing.assert_allclose(model[trained], mean[trained], rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(model[~trained], MODEL[~trained])


@given(SEEDS, SEEDS)
def test_a_module_is_its_holders_mean_by_importance_and_the_head_a_plain_mean(one: int, other: int) -> None:
    first, second = update(one, some(one)), update(other, some(other))
    model = combined(LAYOUT, MODEL, [first, second])
    for place in np.ndindex(LAYERS, MODULES):
        span = slice(int(LAYOUT.starts[place]), int(LAYOUT.ends[place]))
        holders = [each for each in (first, second) if each.chosen[place]]
        if holders:
            total = sum(float(each.worth[place]) for each in holders)
            expected = sum(float(each.worth[place]) / total * each.weights[span].astype(float) for each in holders)
            np.testing.assert_allclose(model[span], expected, rtol=1e-5, atol=1e-6)
    head = (first.weights[LAYOUT.head :] + second.weights[LAYOUT.head :]) / 2
    np.testing.assert_allclose(model[LAYOUT.head :], head, rtol=1e-5, atol=1e-6)


def test_mixing_by_shares_is_a_weighted_mean_of_each_module() -> None:
    chosen = some(3)
    new, shares = update(3, chosen), np.linspace(0, 1, LAYERS * MODULES).reshape(LAYERS, MODULES)
    model = mixed(LAYOUT, MODEL, new, shares, head_share=0.25)
    for place in np.ndindex(LAYERS, MODULES):
        span = slice(int(LAYOUT.starts[place]), int(LAYOUT.ends[place]))
        share = shares[place] if chosen[place] else 0.0
        np.testing.assert_allclose(
            model[span], (1 - share) * MODEL[span] + share * new.weights[span], rtol=1e-5, atol=1e-7
        )
    head = 0.75 * MODEL[LAYOUT.head :] + 0.25 * new.weights[LAYOUT.head :]
    np.testing.assert_allclose(model[LAYOUT.head :], head, rtol=1e-5, atol=1e-7)
    frozen = LAYOUT.frozen()
    np.testing.assert_array_equal(model[frozen], MODEL[frozen])


# --- where modules lie, and how they travel ---


@given(SEEDS, st.booleans())
def test_what_is_packed_is_unpacked_where_it_came_from_and_nowhere_else(seed: int, head: bool) -> None:
    chosen, source = some(seed), update(seed).weights
    packed = LAYOUT.packed(source, chosen, head)
    assert len(packed) == LAYOUT.length(chosen, head)
    onto = LAYOUT.unpacked(MODEL, packed, chosen, head)
    moved_there = LAYOUT.mask(chosen)
    if not head:
        moved_there[LAYOUT.head :] = False
    np.testing.assert_array_equal(onto[moved_there], source[moved_there])
    np.testing.assert_array_equal(onto[~moved_there], MODEL[~moved_there])


def test_modules_head_frozen_weights_and_the_note_of_what_is_active_make_up_the_whole_vector() -> None:
    active = LAYERS * MODULES
    assert LAYOUT.mask(ALL).sum() + LAYOUT.frozen().sum() + active == LAYOUT.size
    assert not (LAYOUT.mask(ALL) & LAYOUT.frozen()).any()
    without = LAYOUT.having(MODEL, ~ALL)
    assert np.flatnonzero(without != MODEL).tolist() == list(range(LAYOUT.active, LAYOUT.active + active))


@given(SEEDS)
def test_a_choice_travels_as_text_and_comes_back(seed: int) -> None:
    chosen = some(seed)
    if chosen.any():
        np.testing.assert_array_equal(understood(written(chosen), (LAYERS, MODULES)), chosen)


@pytest.mark.parametrize("text", ["0", "-1", "100", "xyz", ""])
def test_a_choice_among_modules_that_there_are_not_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a choice|invalid literal"):
        understood(text, (LAYERS, MODULES))


def test_a_model_without_modules_has_no_layout() -> None:
    with pytest.raises(ValueError, match="choose the model `modular`"):
        layout([], 0)


def test_layers_that_are_not_held_do_no_work() -> None:
    network = flatten(modular.build(modular.Parameters(width=8, hidden=4, layers=2, modules=3), (4,), 2))
    one = np.zeros((2, 3), np.bool_)
    one[0, 1] = True
    macs = sum(each.macs for each in held_layers(network.layers, one))
    stem, selector, module, head = 4 * 8, 8 * 6, 2 * 8 * 4, 8 * 2
    assert macs == stem + selector + module + head
    assert network.macs == stem + selector + 6 * module + head
    assert math.isclose(sum(each.macs for each in held_layers(network.layers, ~one)), network.macs - module)
