"""Neurons: what they cost, what a budget holds, and how fast they change, against worked numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from node_image.network import Architecture, Network, flatten
from node_image.neurons import Numbers, longest_prefix, neurons, similarity, velocity

RNG = np.random.default_rng(0)


def network() -> Network:
    """conv 1-2 (own bias) | conv 2-4 and norm | depthwise 4-4, no shift | linear 4-3 | head 3-2."""
    module = nn.Sequential(
        nn.Sequential(nn.Unflatten(1, (1, 6)), nn.Conv2d(1, 2, 3, padding=1)),
        nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.GroupNorm(1, 4), nn.ReLU()),
        nn.Sequential(nn.Conv2d(4, 4, 3, groups=4, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Sequential(nn.Linear(4, 3), nn.ReLU()),
        nn.Linear(3, 2),
    )
    return flatten(Architecture(module, (6, 6)))


def flat_index(name: str, place: tuple[int, ...], of: Network) -> int:
    part = next(part for part in of.parts if part.name == name)
    return part.start + int(np.ravel_multi_index(place, part.shape))


def test_every_channel_and_unit_before_the_head_is_a_neuron_and_costs_its_inputs_its_kernel_and_its_bias() -> None:
    found = neurons(network())
    assert [(rows.name, rows.end - rows.first) for rows in found.rows] == [
        ("0.1", 2),
        ("1.0", 4),
        ("2.0", 4),
        ("3.0", 3),
    ]
    assert found.count == 13
    assert list(found.parameters) == [9 + 1] * 2 + [2 * 9] * 4 + [9] * 4 + [4 + 1] * 3
    assert list(found.layer) == [0] * 2 + [1] * 4 + [2] * 4 + [3] * 3
    assert list(found.saved) == [36, 2 * 36, 4 * 36, 4]


def test_a_mask_frees_the_chosen_neurons_and_the_head_and_nothing_else() -> None:
    net = network()
    found = neurons(net)
    chosen = np.zeros(13, np.bool_)
    chosen[[1, 4, 12]] = True
    free = found.mask(chosen)
    assert free.sum() == (9 + 1) + 18 + (4 + 1) + (3 * 2 + 2)
    assert free[net.head_start :].all()
    assert free[flat_index("0.1.weight", (1, 0, 2, 2), net)]
    assert free[flat_index("0.1.bias", (1,), net)]
    assert not free[flat_index("0.1.bias", (0,), net)]
    assert free[flat_index("1.0.weight", (2, 1, 0, 0), net)]
    assert not free[flat_index("1.0.weight", (3, 0, 0, 0), net)]
    assert not free[flat_index("1.1.weight", (2,), net)], "normalisation belongs to no neuron"
    assert free[flat_index("3.0.weight", (2, 3), net)]


def test_biases_of_the_last_layers_can_be_freed_alone_and_a_normalisations_stands_in_for_a_missing_one() -> None:
    net = network()
    free = neurons(net).mask(np.zeros(13, np.bool_), shifts=3)
    names = {part.name for part in net.parts if free[part.start : part.end].all()}
    assert names == {"1.1.bias", "3.0.bias", "4.weight", "4.bias"}
    assert free.sum() == 4 + 3 + 8
    assert neurons(net).mask(np.zeros(13, np.bool_), shifts=99)[flat_index("0.1.bias", (0,), net)]


def test_a_model_without_blocks_of_weights_has_no_neuron() -> None:
    found = neurons(flatten(Architecture(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (2, 2))))
    assert found.count == 0
    assert found.mask(np.zeros(0, np.bool_)).all()


@given(st.integers(1, 30), st.data())
def test_what_is_chosen_is_within_the_budget_and_the_next_in_the_ranking_would_not_be(
    count: int, data: st.DataObject
) -> None:
    costs = data.draw(arrays(np.int64, count, elements=st.integers(1, 50))).astype(np.float64)
    layer = np.sort(data.draw(arrays(np.int64, count, elements=st.integers(0, 3))))
    layer_costs = data.draw(arrays(np.int64, 4, elements=st.integers(0, 80))).astype(np.float64)
    ranked = np.array(data.draw(st.permutations(range(count))), np.int64)
    budget = data.draw(st.integers(0, 2000))

    def price(some: Numbers) -> float:
        places = some.astype(np.int64)
        return float(costs[places].sum() + layer_costs[np.unique(layer[places])].sum())

    chosen = longest_prefix(ranked, costs, layer, layer_costs, budget)
    taken = int(chosen.sum())
    assert set(np.flatnonzero(chosen)) == set(ranked[:taken])
    assert price(ranked[:taken].astype(np.float64)) <= budget
    assert taken == count or price(ranked[: taken + 1].astype(np.float64)) > budget


def test_a_budget_smaller_than_any_neuron_holds_none() -> None:
    assert not longest_prefix(np.arange(3), np.array([5.0, 6, 7]), np.zeros(3, np.int64), np.zeros(1), 4.9).any()


def test_the_same_outputs_are_alike_and_so_are_scaled_ones() -> None:
    outputs = RNG.standard_normal((5, 3, 7)).astype(np.float32)
    assert list(similarity(outputs, outputs)) == [1.0, 1.0, 1.0]
    factors = np.array([0.25, 3.0, 100.0], np.float32)[:, None]
    now = RNG.standard_normal((5, 3, 7)).astype(np.float32)
    np.testing.assert_allclose(similarity(outputs, now * factors), similarity(outputs, now), atol=1e-6)
    np.testing.assert_allclose(similarity(outputs, -outputs), -1.0)


def test_a_cosine_is_taken_for_each_sample_and_then_averaged() -> None:
    before = np.array([[[1, 0]], [[0, 100]]], np.float32)
    now = np.array([[[1, 1]], [[0, 7]]], np.float32)
    assert similarity(before, now) == pytest.approx((np.sqrt(0.5) + 1) / 2)


def test_two_silent_outputs_are_alike_and_one_silent_output_is_not() -> None:
    before = np.array([[[0, 0], [0, 0]]], np.float32)
    now = np.array([[[0, 0], [0, 1]]], np.float32)
    assert list(similarity(before, now)) == [1.0, 0.0]


def velocities(form: str, changes: Numbers, mu: float) -> list[Numbers]:
    last_change = last = np.zeros(changes.shape[1])
    found = []
    for change in changes:
        last = velocity(form, change, last_change, last, mu)
        last_change = change
        found.append(last)
    return found


@given(arrays(np.float64, (6, 2), elements=st.floats(-2, 2)), st.floats(0, 1))
def test_the_papers_velocity_is_an_alternating_sum_of_past_changes(changes: Numbers, mu: float) -> None:
    expected = sum(((-mu) ** age * changes[5 - age] for age in range(6)), np.zeros(2))
    np.testing.assert_allclose(velocities("paper", changes, mu)[5], expected, atol=1e-12)


def test_the_velocities_of_the_paper_and_of_its_code_part_at_the_third_step() -> None:
    changes = np.array([[0.4], [0.1], [-0.2]])
    paper, code = velocities("paper", changes, 0.5), velocities("code", changes, 0.5)
    np.testing.assert_allclose(paper[:2], code[:2])
    assert paper[2] == pytest.approx(-0.2 - 0.5 * (0.1 - 0.5 * 0.4))
    assert code[2] == pytest.approx(-0.2 - 0.1 + 0.5 * (0.1 - 0.4 + 0.5 * 0.4))
