"""Pair-based STDP on spikes."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from node_image import registry
from node_image.data import digits
from node_image.models.feature_layers import SpikeTrain, SpikingConvolution
from node_image.network import Constraint, Network, flatten
from node_image.parameters import read
from node_image.rules import spiking

torch.set_num_threads(1)  # as learners have it; two threads on shared cores are many times slower


def layer_of_two_inputs(frames: int, threshold: float = 0.5) -> SpikingConvolution:
    """One unit behind two inputs of weights 0.6 and 0.8."""
    convolution = nn.Conv2d(2, 1, 1, bias=False)
    convolution.weight.data = torch.tensor([0.6, 0.8]).view(1, 2, 1, 1)
    return SpikingConvolution(convolution, frames, leak=0.0, threshold=threshold)


def taught(before: list[list[float]], after: list[float], **given: Any) -> Tensor:
    """The weights after these spikes of the two inputs, and of the unit, in one step each."""
    layer = layer_of_two_inputs(len(after))
    pre, post = torch.tensor(before).view(-1, 2, 1, 1), torch.tensor(after).view(-1, 1, 1, 1)
    with torch.no_grad():
        spiking.learn(spiking.Parameters(**given), layer, None, None, pre, post)
    return layer.convolution.weight.detach().flatten()


def network(shape: tuple[int, ...] = (8, 8), **given: Any) -> Network:
    torch.manual_seed(3)
    plugin = registry.MODELS["spiking_conv"]
    return flatten(plugin.build(read(plugin.Parameters, given), shape, 5))


def begun(ours: Network, constraint: Constraint, **given: Any) -> Any:
    return spiking.begin(read(spiking.Parameters, given), ours, constraint)


X, Y = torch.rand(10, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(10) % 5


def test_an_input_that_fires_before_the_unit_gains() -> None:
    # g = (0.5, 0); less its mean (0.25, -0.25); w = (0.625, 0.775), brought back to norm 1
    weights = taught([[1.0, 0.0], [0.0, 0.0]], [0.0, 1.0], eta=0.1)
    torch.testing.assert_close(weights, torch.tensor([0.625, 0.775]) / (0.625**2 + 0.775**2) ** 0.5)


def test_an_input_that_fires_after_the_unit_loses() -> None:
    # g = (-0.3 x 0.5, 0); less its mean (-0.075, 0.075)
    weights = taught([[0.0, 0.0], [1.0, 0.0]], [1.0, 0.0], eta=0.1, depress=0.3)
    torch.testing.assert_close(weights, torch.tensor([0.5925, 0.8075]) / (0.5925**2 + 0.8075**2) ** 0.5)


@pytest.mark.parametrize(
    ("before", "after"), [([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]), ([[0.0, 0.0], [0.0, 0.0]], [0.0, 0.0])]
)
def test_a_unit_that_does_not_fire_does_not_change(before: list[list[float]], after: list[float]) -> None:
    assert torch.equal(taught(before, after), torch.tensor([0.6, 0.8]))


def test_without_spikes_neither_weights_nor_thresholds_change() -> None:
    ours = network(threshold=1e6)
    before = ours.weights[: ours.head_start].clone()
    begun(ours, Constraint())(X, Y)
    assert torch.equal(ours.weights[: ours.head_start], before)


def test_units_that_fire_much_get_a_higher_threshold_and_the_silent_a_lower_one() -> None:
    layer = SpikingConvolution(nn.Conv2d(1, 2, 1, bias=False), frames=2, leak=0.0, threshold=1.0)
    post = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).view(2, 2, 1, 1)
    with torch.no_grad():
        spiking.learn(spiking.Parameters(homeostasis=0.1), layer, None, None, torch.ones(2, 1, 1, 1), post)
    torch.testing.assert_close(layer.threshold.detach(), torch.tensor([1.1, 0.9]))


def test_weights_and_thresholds_that_may_not_move_stay_as_they_are_to_the_bit() -> None:
    ours = network()
    ours.weights[::5] = -0.0
    may = np.random.default_rng(1).random(len(ours.weights)) < 0.5
    may[-1] = True
    before = ours.buffer.copy()
    step = begun(ours, Constraint(trainable=may))
    for _ in range(3):
        step(X, Y)
    np.testing.assert_array_equal(ours.buffer[~may].view(np.int32), before[~may].view(np.int32))
    for part in ours.parts:
        moving = may[part.start : part.end]
        assert (ours.buffer[part.start : part.end][moving] != before[part.start : part.end][moving]).any(), part.name


@pytest.mark.parametrize("below", [True, False])
def test_a_phase_trains_the_features_alone_or_the_head_alone(below: bool) -> None:
    ours = network()
    before = ours.weights.clone()
    may = (np.arange(len(ours.weights)) < ours.head_start) == below
    begun(ours, Constraint(trainable=may))(X, Y)
    change = ours.weights - before
    assert bool(change[: ours.head_start].any()) == below
    assert bool(change[ours.head_start :].any()) == (not below)


def test_norms_of_weights_stay() -> None:
    ours = network()
    step = begun(ours, Constraint())
    for _ in range(5):
        step(X, Y)
    weight = next(part for part in ours.parts if len(part.shape) == 4)
    norms = ours.weights[weight.start : weight.end].view(weight.shape).flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(64), atol=1e-5, rtol=0.0)


def test_features_learn_the_same_whatever_the_labels_and_the_head() -> None:
    ours, others = network(), network()
    others.weights[others.head_start :] = 100.0
    begun(ours, Constraint())(X, Y)
    begun(others, Constraint())(X, Y.flip(0))
    assert torch.equal(ours.weights[: ours.head_start], others.weights[: ours.head_start])


def test_a_pixel_becomes_spikes_of_an_on_or_of_an_off_cell() -> None:
    spikes = SpikeTrain(steps=4, gain=2.0)(torch.tensor([1.0, -2.0]).view(1, 1, 1, 2))
    assert spikes.shape == (4, 2, 1, 2)
    assert spikes[:, 0, 0].tolist() == [[0, 0], [1, 0], [0, 0], [1, 0]]  # on
    assert spikes[:, 1, 0].tolist() == [[0, 1], [0, 1], [0, 1], [0, 1]]  # off


def test_a_model_has_its_number_of_weights_and_scores_every_class() -> None:
    for shape, filters in (((3, 32, 32), 9_600), ((28, 28), 3_200), ((8, 8), 64 * 18)):
        ours = network(shape)
        assert ours.head_start == filters + 64  # thresholds
        assert ours.module(torch.rand(2, *shape)).shape == (2, 5)


def test_spiking_refuses_a_model_without_spikes() -> None:
    model = registry.MODELS["mlp"].build(read(registry.MODELS["mlp"].Parameters, {}), (8, 8), 5)
    with pytest.raises(ValueError, match="spiking_conv"):
        spiking.adapt(spiking.Parameters(), model.module, (8, 8), 5)


def test_a_layer_that_moves_costs_three_forward_passes() -> None:
    ours = network()
    expected = 10 * (3 * ours.layers[0].macs + 2 * ours.layers[-1].macs)
    assert spiking.cost(spiking.Parameters(), ours, Constraint(), 10, 1).macs == expected


def test_filters_learnt_from_spikes_make_digits_easier_to_tell_apart_than_random_ones() -> None:
    task, model = digits.load(digits.Parameters(), 0, None), registry.MODELS["spiking_conv"]
    x, y = torch.from_numpy(task.train_x.astype(np.float32)) / 16, torch.from_numpy(task.train_y)
    test_x, test_y = torch.from_numpy(task.test_x.astype(np.float32)) / 16, torch.from_numpy(task.test_y)

    def accuracy(critical_steps: int) -> float:
        torch.manual_seed(0)
        ours = flatten(model.build(read(model.Parameters, {}), task.shape, task.classes))
        below = np.arange(len(ours.weights)) < ours.head_start
        unsupervised = begun(ours, Constraint(trainable=below))
        for start in range(0, 15 * critical_steps, 15):
            unsupervised(x[start : start + 15], y[start : start + 15])
        read_out = begun(ours, Constraint(trainable=~below))
        for start in (*range(0, 1500, 50), *range(0, 1500, 50)):
            read_out(x[start : start + 50], y[start : start + 50])
        with torch.no_grad():
            return float((ours.module(test_x).argmax(dim=1) == test_y).float().mean())

    learnt, random = accuracy(critical_steps=70), accuracy(critical_steps=0)
    assert learnt > random + 0.01
    assert learnt > 0.95
