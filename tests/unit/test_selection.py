"""Selections: budgets are kept, what is not chosen stays to the bit, and each ranks neurons as it says."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from node_image import registry
from node_image.learner import Learner, build
from node_image.network import Architecture, Constraint, Mask, Network, flatten
from node_image.neurons import Indices, Numbers
from node_image.parameters import read
from node_image.rules import backprop
from node_image.selection import random, sparse_update, velocity
from node_image.selection.budget import Budget, Budgeted, budget
from node_image.selection.sparse_update import SHARES, evolved
from node_image.spec import Chosen
from node_image.trial import Trial
from tests.unit.learners import node_spec

torch.set_num_threads(1)  # as learners have it; two threads on shared cores are many times slower
BUDGETED = ("random", "sparse_update", "velocity")
STRIPES = torch.tensor([1.0, 0, 1, 0, 1, 0]).expand(6, 6)
Y = torch.arange(64) % 3
X = torch.rand(64, 6, 6, generator=torch.Generator().manual_seed(1))
X += torch.stack([torch.zeros(6, 6), STRIPES, STRIPES.T])[Y]  # classes that a convolution tells apart


def network() -> Network:
    torch.manual_seed(3)
    module = nn.Sequential(
        nn.Sequential(nn.Unflatten(1, (1, 6)), nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(1, 4), nn.ReLU()),
        nn.Sequential(nn.Conv2d(4, 8, 3, padding=1, bias=False), nn.GroupNorm(1, 8), nn.ReLU()),
        nn.Sequential(nn.Conv2d(8, 8, 3, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(8, 3),
    )
    return flatten(Architecture(module, (6, 6)))


def trial(net: Network) -> Trial:
    params = backprop.Parameters(learning_rate=0.3, batch_size=16)
    return Trial(net, net.buffer.copy(), backprop, params, X, Y, seed=0)


def begun(name: str, given: dict[str, Any], net: Network, seed: int = 0) -> registry.Selector:
    plugin = registry.SELECTIONS[name]
    return plugin.begin(read(plugin.Parameters, given), net, np.random.default_rng(seed), trial(net))


def learner(name: str, seed: int = 1, rule: dict[str, Any] | None = None, **given: Any) -> Learner:
    spec = node_spec(model="small_conv", rule=rule or {"learning_rate": 0.1})
    return build(replace(spec, selection=Chosen(name, given), seed=seed))


def chosen_neurons(found: Budget, mask: Mask) -> Mask:
    return np.concatenate(
        [
            mask[rows.weight.start : rows.weight.end].reshape(rows.end - rows.first, -1).all(axis=1)
            for rows in found.neurons.rows
        ]
    )


@pytest.mark.parametrize("name", BUDGETED)
@pytest.mark.parametrize("given", [{"budget": 0.3}, {"budget_kind": "bytes", "budget": 0.5}, {"budget_params": 100}])
def test_no_selection_spends_more_than_its_budget_in_any_phase(name: str, given: dict[str, Any]) -> None:
    net = network()
    selector = begun(name, given, net)
    bound = budget(read(Budgeted, given), net)
    for _ in range(4):
        selector.observe(net, X[:16])
        mask = selector.mask()
        assert mask is not None
        assert bound.spent(chosen_neurons(bound, mask)) <= bound.most
        assert mask[: net.head_start].any()
        assert mask[net.head_start :].all()
        net.buffer[:] += np.random.default_rng(5).normal(0, 0.05, net.buffer.shape).astype(np.float32)


def test_a_budget_is_a_share_of_all_neurons_or_absolute_in_weights_or_in_bytes() -> None:
    net = network()
    weights = 4 * 10 + 8 * 36 + 8 * 72
    kept = 36 + 4 * 36 + 8 * 36
    assert budget(Budgeted(budget=0.25), net).most == 0.25 * weights
    assert budget(Budgeted(budget_params=70), net).most == 70
    assert budget(Budgeted(memory_bytes=900), net).most == 900
    whole = budget(Budgeted(budget=1.0, budget_kind="bytes", kept_samples=2), net)
    assert whole.most == 4 * weights + 4 * 2 * kept
    assert whole.spent(np.ones(20, np.bool_)) == whole.most
    with pytest.raises(ValueError, match="two budgets"):
        budget(Budgeted(budget_params=70, memory_bytes=900), net)


def test_in_bytes_the_first_neuron_of_a_layer_pays_for_the_activations_it_needs() -> None:
    first, second = np.zeros((2, 20), np.bool_)
    first[[4, 5]], second[[4, 12]] = True, True
    found = budget(Budgeted(budget_kind="bytes"), network())
    assert found.spent(first) == 4 * (36 + 36) + 4 * 4 * 36
    assert found.spent(second) == 4 * (36 + 72) + 4 * (4 * 36 + 8 * 36)


@pytest.mark.parametrize("name", BUDGETED)
def test_a_budget_smaller_than_any_neuron_leaves_the_head_alone_to_learn(name: str) -> None:
    device = learner(name, budget_params=1)
    device.train(5, 0.0, np.random.default_rng(0))
    weights = device.weights()
    np.testing.assert_array_equal(weights[: device.head_start], device.initial[: device.head_start])
    assert not np.array_equal(weights[device.head_start :], device.initial[device.head_start :])
    np.testing.assert_array_equal(device.trainable(), learner("head_only").trainable())


@pytest.mark.parametrize("name", BUDGETED)
def test_a_model_with_nothing_before_its_head_is_trained_as_it_is(name: str) -> None:
    device = build(replace(node_spec(model="linear"), selection=Chosen(name)))
    device.train(5, 0.0, np.random.default_rng(0))
    assert device.trainable() is None


@pytest.mark.parametrize("name", BUDGETED)
def test_the_whole_budget_is_full_training(name: str) -> None:
    free, bound = learner("everything"), learner(name, budget=1.0)
    for seed in range(3):
        for device in (free, bound):
            device.train(5, 0.0, np.random.default_rng(seed))
    np.testing.assert_array_equal(bound.weights(), free.weights())


@pytest.mark.parametrize("name", [*BUDGETED, "head_only"])
def test_weights_that_are_not_chosen_stay_to_the_bit_whatever_momentum_and_decay_do(name: str) -> None:
    device = learner(name, rule={"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.1})
    for seed in range(3):
        free, before = device.trainable(), device.weights()
        assert free is not None
        device.train(5, 0.0, np.random.default_rng(seed))
        after = device.weights()
        np.testing.assert_array_equal(after[~free], before[~free])
        assert (after[free] != before[free]).mean() > 0.5


def test_a_frozen_beginning_of_the_model_makes_a_phase_cheaper() -> None:
    assert learner("head_only").cost(5, 0.0).macs < 0.5 * learner("everything").cost(5, 0.0).macs


def test_random_draws_anew_for_every_phase_and_its_seed_decides() -> None:
    def drawn(seed: int) -> list[bytes]:
        selector, masks = begun("random", {}, network(), seed), []
        for _ in range(3):
            mask = selector.mask()
            assert mask is not None
            masks.append(mask.tobytes())
            selector.observe(network(), X[:0])
        return masks

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert len(set(drawn(1))) == 3


def test_a_selection_disturbs_no_other_chance() -> None:
    """The minibatches of a device do not depend on what its selection draws."""
    one, other = learner("random", budget_params=1), learner("head_only")
    for seed in range(2):
        for device in (one, other):
            device.train(5, 0.0, np.random.default_rng(seed))
    np.testing.assert_array_equal(one.weights(), other.weights())


def test_random_takes_the_longest_prefix_of_its_draw() -> None:
    net = network()
    found = budget(random.Parameters(budget=0.3), net)
    mask = random.drawn(found, np.random.default_rng(4))
    assert mask is not None
    order = np.random.default_rng(4).permutation(20)
    taken = int(chosen_neurons(found, mask).sum())
    assert set(np.flatnonzero(chosen_neurons(found, mask))) == set(order[:taken])
    assert found.costs[order[: taken + 1]].sum() > found.most


def moving(given: dict[str, Any], net: Network) -> velocity.Velocity:
    """A velocity selector that has looked at the network as it is."""
    selector = velocity.begin(read(velocity.Parameters, given), net, np.random.default_rng(0), trial(net))
    selector.observe(net, X[:16])
    return selector


def test_a_network_that_does_not_change_has_no_velocity() -> None:
    net = network()
    selector = moving({}, net)
    selector.observe(net, X[:16])
    np.testing.assert_array_equal(selector.phi, 1.0)
    np.testing.assert_array_equal(selector.velocity, 0.0)


def test_the_first_look_only_remembers() -> None:
    net = network()
    selector = velocity.begin(velocity.Parameters(), net, np.random.default_rng(0), trial(net))
    before = selector.mask()
    selector.observe(net, X[:16])
    assert selector.mask() is before


def test_the_neuron_that_turns_most_is_chosen_first() -> None:
    net = network()
    selector = moving({"budget_params": 72}, net)
    rows = selector.budget.neurons.rows[2]
    weight = net.buffer[rows.weight.start : rows.weight.end].reshape(8, -1)
    weight[5] = np.random.default_rng(0).normal(size=72)
    selector.observe(net, X[:16])
    mask = selector.mask()
    assert mask is not None
    assert list(np.flatnonzero(chosen_neurons(selector.budget, mask))) == [12 + 5]
    weight[:] *= 2  # a neuron that grows without turning stands still
    last = selector.velocity.copy()
    selector.observe(net, X[:16])
    assert selector.change[12 + 5] == pytest.approx(1 - (1 + last[12 + 5]))
    np.testing.assert_allclose(np.delete(selector.velocity, 17), 0.0, atol=1e-6)


def test_velocity_per_param_prefers_cheap_neurons() -> None:
    net = network()
    fast, cheap = moving({}, net), moving({"rank": "velocity_per_param"}, net)
    for selector in (fast, cheap):
        selector.velocity = np.full(20, 0.1)
        selector.velocity[12:] = 0.15  # half as fast again, for 72 weights instead of 10 or 36
    assert set(fast.ranked()[:8]) == set(range(12, 20))
    assert list(cheap.ranked()[:4]) == [0, 1, 2, 3]


def test_velocity_goes_with_a_neuron_wherever_it_stands_in_its_layer() -> None:
    order = np.array([3, 1, 0, 2])

    def permuted(net: Network) -> Network:
        conv, norm, after = (net.module.get_submodule(name) for name in ("0.1", "0.2", "1.0"))
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.GroupNorm)
        assert isinstance(after, nn.Conv2d)
        assert conv.bias is not None
        with torch.no_grad():
            for each in (conv.weight, conv.bias, norm.weight, norm.bias):
                each.copy_(each[order].clone())
            after.weight.copy_(after.weight[:, order].clone())
        return net

    def velocities(prepare: Callable[[Network], Network], back: Indices) -> Numbers:
        net = prepare(network())
        selector = moving({}, net)
        for seed in range(3):
            step = backprop.begin(backprop.Parameters(learning_rate=0.5), net, Constraint())
            batch = torch.from_numpy(np.random.default_rng(seed).permutation(64)[:32])
            step(X[batch], Y[batch])
            selector.observe(net, X[:16])
        return np.concatenate([selector.velocity[:4][back], selector.velocity[4:]])

    plain = velocities(lambda net: net, np.arange(4))
    np.testing.assert_allclose(velocities(permuted, np.argsort(order)), plain, atol=1e-5)
    assert np.abs(plain).max() > 1e-3


def test_samples_that_came_later_are_left_out_of_the_comparison() -> None:
    net = network()
    few, same = moving({}, net), moving({}, net)
    few.outputs = velocity.outputs(net, few.budget.neurons, X[:4])
    same.outputs = few.outputs
    net.buffer[:] += 0.05
    few.observe(net, X[:16])
    same.observe(net, X[:4])
    np.testing.assert_allclose(few.velocity, same.velocity, atol=1e-6)


def test_velocity_looks_before_the_first_phase_and_after_each() -> None:
    device = learner("velocity", budget=0.3)
    first = device.trainable()
    device.train(5, 0.0, np.random.default_rng(0))
    second = device.trainable()
    assert first is not None
    assert second is not None
    assert not np.array_equal(first, second)
    assert isinstance(device.selector, velocity.Velocity)
    assert device.selector.velocity.any()
    constraint = Constraint(trainable=second)
    work = device.rule.cost(device.rule_parameters, device.network, constraint, samples=150, steps=5)
    assert device.cost(5, 0.0).macs == work.macs + 16 * device.network.macs, "looking is charged as well"


def test_outputs_are_those_before_the_normalisation() -> None:
    net = network()
    selector = moving({}, net)
    expected = net.module.get_submodule("0.1")(X[:16, None]).flatten(2).detach().numpy()
    np.testing.assert_array_equal(selector.outputs[0], expected)
    assert [each.shape for each in selector.outputs] == [(16, 4, 36), (16, 8, 36), (16, 8, 16)]


def test_a_given_scheme_trains_the_largest_channels_of_its_layers_as_far_as_the_budget_goes() -> None:
    net = network()
    selector = begun("sparse_update", {"layers": "2.0 0.1", "share": 0.5, "budget_params": 4 * 72 + 10}, net)
    found = budget(Budgeted(), net)
    mask = selector.mask()
    assert mask is not None
    chosen = chosen_neurons(found, mask)
    weight = net.buffer[found.neurons.rows[2].weight.start : found.neurons.rows[2].weight.end].reshape(8, -1)
    assert set(np.flatnonzero(chosen[12:])) == set(np.argsort(-np.linalg.norm(weight, axis=1))[:4])
    assert chosen[:4].sum() == 1
    assert not chosen[4:12].any()


def test_a_layer_that_the_model_lacks_is_told_by_name() -> None:
    with pytest.raises(ValueError, match=r"no layer 9\.9; known: 0\.1, 1\.0, 2\.0"):
        begun("sparse_update", {"layers": "9.9 0.1"}, network())


def test_biases_are_paid_for_first_and_only_as_many_layers_as_the_budget_holds() -> None:
    net = network()
    found = budget(Budgeted(budget_params=9), net)
    # Channels with a bias, from the last layer on: 0 (it has none), 8, 4.
    assert sparse_update.affordable_biases(found, sparse_update.Parameters(bias_layers=3)) == (2, 8.0)
    assert sparse_update.affordable_biases(found, sparse_update.Parameters(bias_layers=1)) == (1, 0.0)
    mask = begun("sparse_update", {"bias_layers": 3, "budget_params": 9}, net).mask()
    assert mask is not None
    assert mask[: net.head_start].sum() == 8


def test_a_searched_scheme_is_the_same_for_every_device_and_stays() -> None:
    one, other = learner("sparse_update", seed=1), learner("sparse_update", seed=2)
    scheme = one.trainable()
    assert scheme is not None
    np.testing.assert_array_equal(scheme, other.trainable())
    one.train(5, 0.0, np.random.default_rng(0))
    np.testing.assert_array_equal(scheme, one.trainable())
    np.testing.assert_array_equal(one.initial, build(node_spec(model="small_conv")).initial)


def test_the_search_can_be_kept_to_the_last_layers() -> None:
    net = network()
    mask = begun("sparse_update", {"tried_layers": 1, "budget": 0.9}, net).mask()
    assert mask is not None
    chosen = chosen_neurons(budget(Budgeted(), net), mask)
    assert chosen[12:].any()
    assert not chosen[:12].any()


def test_a_trial_tells_what_training_some_weights_brings_and_tells_the_same_again() -> None:
    net = network()
    tried = trial(net)
    nothing, head = np.zeros((2, len(net.buffer)), np.bool_)
    head[net.head_start :] = True
    before = float(torch.nn.functional.cross_entropy(net.module(X[32:]), Y[32:]).detach())
    assert tried.loss(nothing, 5) == pytest.approx(before, abs=1e-6)
    everything = tried.loss(~nothing, 40)
    assert everything < tried.loss(head, 40)
    np.testing.assert_array_equal(trial(network()).loss(~nothing, 40), everything)


def test_a_trial_that_diverges_speaks_against_its_layer_and_breaks_nothing() -> None:
    params = backprop.Parameters(learning_rate=1e30, batch_size=16)
    net = network()
    hot = Trial(net, net.buffer.copy(), backprop, params, X, Y, seed=0)
    assert hot.loss(np.ones(len(net.buffer), np.bool_), 5) == np.inf
    selector = sparse_update.begin(sparse_update.Parameters(), net, np.random.default_rng(0), hot)
    mask = selector.mask()
    assert mask is not None
    assert mask[net.head_start :].all()


@pytest.mark.parametrize("seed", range(5))
def test_the_search_finds_the_best_scheme_of_a_small_problem(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers, shares = 4, len(SHARES)
    gains, costs = np.sort(rng.random((2, layers, shares)), axis=2)
    gains[:, 0] = costs[:, 0] = 0.0
    most = 0.5 * costs[:, -1].sum()
    schemes = np.stack(np.meshgrid(*[np.arange(shares)] * layers, indexing="ij"), axis=-1).reshape(-1, layers)
    everywhere = np.arange(layers)
    fitting = [scheme for scheme in schemes if costs[everywhere, scheme].sum() <= most]
    best = max(gains[everywhere, scheme].sum() for scheme in fitting)
    found = evolved(gains, costs, most, np.random.default_rng(0))
    assert costs[everywhere, found].sum() <= most
    assert gains[everywhere, found].sum() == pytest.approx(best)
