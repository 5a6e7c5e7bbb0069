"""Rules without a backward pass, and the models made for them."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from node_image import registry
from node_image.data import digits
from node_image.hebbian import Habit, standardised
from node_image.models.feature_layers import Motion
from node_image.models.softhebb1 import fitting
from node_image.network import Architecture, Constraint, Network, flatten
from node_image.parameters import read

torch.set_num_threads(1)  # as learners have it; two threads on shared cores are many times slower

SHAPES = {"mlp": (8, 8), "small_conv": (3, 8, 8), "softhebb1": (8, 8), "softhebb_stream": (4, 8, 8)}
FEATURES_MOVE = [("softhebb", model) for model in SHAPES] + [("oja", model) for model in SHAPES]
FEATURES_MOVE.append(("stdp", "softhebb_stream"))
ALL = [*FEATURES_MOVE, *(("random_features", model) for model in SHAPES)]


def network(model: str, **given: Any) -> Network:
    torch.manual_seed(3)
    plugin = registry.MODELS[model]
    return flatten(plugin.build(read(plugin.Parameters, given), SHAPES[model], 5))


def batch(model: str, samples: int = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
    x = torch.rand(samples, *SHAPES[model], generator=torch.Generator().manual_seed(seed))
    return x, torch.arange(samples) % 5


def stepped(
    rule: str, ours: Network, constraint: Constraint | None = None, steps: int = 3, model: str = "mlp", **given: Any
) -> Tensor:
    """How the flat vector changed in so many steps."""
    plugin = registry.RULES[rule]
    before = ours.weights.clone()
    step = plugin.begin(read(plugin.Parameters, given), ours, constraint or Constraint())
    for number in range(steps):
        step(*batch(model, seed=number))
    return ours.weights - before


@pytest.mark.parametrize(("rule", "model"), FEATURES_MOVE)
def test_weights_of_layers_and_of_the_readout_move_and_nothing_else(rule: str, model: str) -> None:
    ours = network(model)
    change = stepped(rule, ours, model=model)
    learning = {f"{layer.name}.weight" for layer in ours.layers} | {f"{ours.layers[-1].name}.bias"}
    moved = {part.name for part in ours.parts if change[part.start : part.end].any()}
    assert moved == learning
    assert torch.isfinite(ours.weights).all()


@pytest.mark.parametrize("model", SHAPES)
def test_random_features_stay_and_the_readout_learns(model: str) -> None:
    ours = network(model)
    change = stepped("random_features", ours, model=model)
    assert torch.count_nonzero(change[: ours.head_start]) == 0
    assert torch.count_nonzero(change[ours.head_start :]) > 0


@pytest.mark.parametrize(("rule", "model"), ALL)
def test_weights_that_may_not_move_stay_as_they_are_to_the_bit(rule: str, model: str) -> None:
    ours = network(model)
    ours.weights[::5] = -0.0  # adding nothing to it would make it +0.0
    ours.weights[1::5] = 0.1
    may = np.random.default_rng(1).random(len(ours.weights)) < 0.5
    before = ours.buffer.copy()
    stepped(rule, ours, Constraint(0.1, may), model=model)
    np.testing.assert_array_equal(ours.buffer[~may].view(np.int32), before[~may].view(np.int32))
    assert (ours.buffer[may] != before[may]).any()


@pytest.mark.parametrize(("rule", "model"), FEATURES_MOVE)
def test_a_phase_trains_the_features_alone_or_the_head_alone(rule: str, model: str) -> None:
    for below in (True, False):
        ours = network(model)
        may = (np.arange(len(ours.weights)) < ours.head_start) == below
        change = stepped(rule, ours, Constraint(trainable=may), model=model)
        assert bool(change[: ours.head_start].any()) == below
        assert bool(change[ours.head_start :].any()) == (not below)


@pytest.mark.parametrize(("rule", "model"), FEATURES_MOVE)
def test_features_learn_the_same_whatever_the_labels_and_the_head(rule: str, model: str) -> None:
    ours, others = network(model), network(model)
    others.weights[others.head_start :] = 100 * torch.rand(len(others.weights) - others.head_start)
    one, two = (
        registry.RULES[rule].begin(read(registry.RULES[rule].Parameters, {}), n, Constraint()) for n in (ours, others)
    )
    x, y = batch(model)
    one(x, y)
    two(x, y.flip(0))
    assert torch.equal(ours.weights[: ours.head_start], others.weights[: ours.head_start])


@pytest.mark.parametrize("rule", ["softhebb", "oja"])
def test_a_layer_learns_the_same_when_later_layers_are_noise(rule: str) -> None:
    ours, others = network("small_conv"), network("small_conv")
    end = next(part.start for part in ours.parts if part.child == 1)
    others.weights[end:] = torch.randn(len(others.weights) - end)
    stepped(rule, ours, model="small_conv")
    stepped(rule, others, model="small_conv")
    assert torch.equal(ours.weights[:end], others.weights[:end])


@pytest.mark.parametrize(("rule", "model"), ALL)
def test_no_graph_for_differentiation_is_built_and_no_hook_is_left(rule: str, model: str) -> None:
    ours = network(model)
    plugin = registry.RULES[rule]
    loss = plugin.begin(read(plugin.Parameters, {}), ours, Constraint())(*batch(model))
    assert not loss.requires_grad
    assert torch.count_nonzero(ours.gradients) == 0
    assert not any(each._forward_hooks for each in ours.module.modules())


def test_a_step_of_the_readout_is_plasticity_times_hebbian_change_less_decay_and_pull_to_the_start() -> None:
    ours, plugin = network("mlp"), registry.RULES["random_features"]
    start = ours.weights[ours.head_start :].clone()
    step = plugin.begin(read(plugin.Parameters, {"plasticity": 0.3, "decay": 0.01}), ours, Constraint(0.2))
    habit = Habit(torch.zeros(32), torch.zeros(32))
    for number in range(3):
        x, y = batch("mlp", seed=number)
        with torch.no_grad():
            h = ours.module[:-1](x)
            scores = ours.head(h)
        habit, head = habit.after(h), ours.weights[ours.head_start :].clone()
        of_weight, of_bias = standardised(h, scores, one_hot(y, 5).float(), habit)
        change = torch.cat([of_weight.flatten(), of_bias]) - 0.01 * head - 0.2 * (head - start)
        assert float(step(x, y)) == pytest.approx(float(cross_entropy(scores, y)))
        torch.testing.assert_close(ours.weights[ours.head_start :], head + 0.3 * change)


def test_without_contrast_in_time_the_stdp_term_is_not_felt() -> None:
    x = torch.rand(6, 1, 8, 8).expand(6, 4, 8, 8)
    with_g, without = network("softhebb_stream", gamma_in=1.0), network("softhebb_stream", gamma_in=1.0)
    for ours, eta_t in ((with_g, 2.0), (without, 0.0)):
        plugin = registry.RULES["softhebb"]
        given = read(plugin.Parameters, {"eta_t": eta_t, "gamma": 1.0})  # such a trace never leaves 0
        plugin.begin(given, ours, Constraint())(x, torch.arange(6) % 5)
    assert torch.equal(with_g.weights, without.weights)


def test_stdp_needs_frames_in_time() -> None:
    plugin = registry.RULES["stdp"]
    with pytest.raises(ValueError, match="softhebb_stream"):
        plugin.adapt(read(plugin.Parameters, {}), network("softhebb1").module, (8, 8), 5)


def test_softhebb_features_and_a_readout_tell_digits_apart() -> None:
    task = digits.load(digits.Parameters(), 0, None)
    plugin, model = registry.RULES["softhebb"], registry.MODELS["softhebb1"]
    torch.manual_seed(0)
    ours = flatten(model.build(read(model.Parameters, {}), task.shape, task.classes))
    step = plugin.begin(read(plugin.Parameters, {}), ours, Constraint())
    x, y = torch.from_numpy(task.train_x.astype(np.float32)) / 16, torch.from_numpy(task.train_y)
    for _ in range(2):
        for chosen in torch.randperm(len(y)).split(32):  # type: ignore[no-untyped-call]  # torch leaves it unannotated
            step(x[chosen], y[chosen])
    with torch.no_grad():
        scores = ours.module(torch.from_numpy(task.test_x.astype(np.float32)) / 16)
    assert float((scores.argmax(dim=1) == torch.from_numpy(task.test_y)).float().mean()) > 0.95


# Costs


def test_a_layer_that_moves_costs_two_forward_passes_and_four_with_stdp() -> None:
    ours = network("softhebb1")
    features, head = ours.layers[0].macs, ours.layers[-1].macs
    plugin = registry.RULES["softhebb"]
    frozen = Constraint(trainable=np.arange(len(ours.weights)) >= ours.head_start)
    assert plugin.cost(read(plugin.Parameters, {}), ours, Constraint(), 10, 2).macs == 10 * (2 * features + 2 * head)
    assert plugin.cost(read(plugin.Parameters, {}), ours, frozen, 10, 2).macs == 10 * (features + 2 * head)
    ours = network("softhebb_stream")
    features, head = ours.layers[0].macs, ours.layers[-1].macs
    assert plugin.cost(read(plugin.Parameters, {}), ours, Constraint(), 10, 2).macs == 10 * (4 * features + 2 * head)


def test_random_features_cost_a_forward_pass_and_the_readouts_update() -> None:
    ours, plugin = network("softhebb1"), registry.RULES["random_features"]
    expected = 10 * (ours.layers[0].macs + 2 * ours.layers[-1].macs)
    assert plugin.cost(read(plugin.Parameters, {}), ours, Constraint(), 10, 2).macs == expected


# Models


@pytest.mark.parametrize(
    ("model", "shape", "classes", "features", "head"),
    [
        ("softhebb1", (3, 32, 32), 10, 4_800, 10_250),
        ("softhebb1", (28, 28), 10, 1_600, 10_250),
        ("softhebb1", (8, 8), 10, 64 * 9, 10_250),
        ("softhebb1", (100, 6), 5, 64 * 9, 5_125),
        ("softhebb_stream", (8, 16, 16), 8, 2_400, 6_152),
        ("softhebb_stream", (8, 32, 32), 27, 2_400, 20_763),
    ],
)
def test_a_model_has_its_number_of_weights_and_scores_every_class(
    model: str, shape: tuple[int, ...], classes: int, features: int, head: int
) -> None:
    plugin = registry.MODELS[model]
    ours = flatten(plugin.build(read(plugin.Parameters, {}), shape, classes))
    assert (ours.head_start, len(ours.weights) - ours.head_start) == (features, head)
    assert ours.module(torch.rand(2, *shape)).shape == (2, classes)


@pytest.mark.parametrize("model", ["softhebb1", "softhebb_stream"])
def test_features_do_not_depend_on_brightness_and_contrast_nor_on_the_rest_of_the_batch(model: str) -> None:
    ours, (x, _) = network(model), batch(model)
    features = ours.module[:-1]
    with torch.no_grad():
        h = features(x)
        torch.testing.assert_close(features(3 * x + 1), h, atol=1e-3, rtol=0.0)
        torch.testing.assert_close(features(x[:1]), h[:1])
    assert float(h.std()) == pytest.approx(1.0, abs=0.05)


def test_a_stream_model_refuses_what_is_no_clip() -> None:
    plugin = registry.MODELS["softhebb_stream"]
    with pytest.raises(ValueError, match="clips"):
        plugin.build(read(plugin.Parameters, {}), (100, 6), 5)


def test_motion_shows_each_frame_and_what_changed_in_it() -> None:
    clip = torch.tensor([1.0, 1.0, 3.0]).view(1, 3, 1, 1)
    assert Motion(3, gamma=0.5)(clip).flatten(1).tolist() == [[1.0, 1.0], [1.0, 0.5], [3.0, 2.25]]


@pytest.mark.parametrize(("side", "expected"), [(32, 5), (10, 5), (8, 3), (6, 3), (5, 1), (1, 1)])
def test_filters_shrink_with_the_image(side: int, expected: int) -> None:
    assert fitting(5, side) == expected


def test_a_hebbian_rule_refuses_convolutions_in_groups() -> None:
    module = nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.Flatten()), nn.Linear(16, 2))
    ours = flatten(Architecture(module, (4, 4, 4)))
    plugin = registry.RULES["softhebb"]
    with pytest.raises(ValueError, match="one group"):
        plugin.begin(read(plugin.Parameters, {}), ours, Constraint())(torch.rand(2, 4, 4, 4), torch.tensor([0, 1]))
