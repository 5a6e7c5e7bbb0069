"""The modular model: its sizes, its routing, and what a sub-model of it computes."""

import numpy as np
import pytest
import torch
from torch import nn

from node_image.gating import modular_block
from node_image.models import modular
from node_image.models.modular_block import ModularBlock
from node_image.modules import layout
from node_image.network import Constraint, Network, flatten
from node_image.outcomes import UnfitError
from node_image.rules import backprop


def network(**settings: int) -> Network:
    torch.manual_seed(0)
    parameters = modular.Parameters(**{"width": 12, "hidden": 5, "modules": 4, **settings})
    return flatten(modular.build(parameters, (3, 3), 4))


def hold(net: Network, *places: tuple[int, int]) -> np.ndarray:
    where = layout(net.parts, net.head_start)
    chosen = np.zeros(where.starts.shape, np.bool_)
    for place in places:
        chosen[place] = True
    net.buffer[:] = where.having(net.buffer, chosen)
    return where.mask(chosen)


def test_on_pictures_of_14x14_it_has_the_published_sizes() -> None:
    net = flatten(modular.build(modular.Parameters(), (14, 14), 10))
    where = layout(net.parts, net.head_start)
    assert np.unique(where.sizes).tolist() == [8_352]
    assert where.sizes.shape == (2, 8)
    assert where.frozen().sum() == 196 * 128 + 128 + 128 * 16 + 16
    assert len(net.weights) == 162_218


@pytest.mark.parametrize("shape", [(28, 28), (3, 32, 32), (9, 9)])
def test_pictures_are_made_smaller_by_averaging(shape: tuple[int, ...]) -> None:
    module = modular.build(modular.Parameters(pool=2), shape, 10).module
    stem = module[0]
    assert isinstance(stem, nn.Sequential)
    x = torch.rand(5, *shape)
    x[0] = 0.5
    pooled = stem[:2](x)
    assert pooled[0].tolist() == pytest.approx([0.5] * pooled.shape[1])
    assert module(x).shape == (5, 10)


def test_samples_that_are_not_pictures_cannot_be_made_smaller() -> None:
    with pytest.raises(ValueError, match="not pictures"):
        modular.build(modular.Parameters(pool=2), (100,), 10)


def test_the_gates_of_a_layer_sum_to_one_for_every_sample() -> None:
    gates = modular_block(network()).gates(torch.rand(6, 12))
    assert gates.shape == (6, 2, 4)
    assert torch.allclose(gates.sum(dim=2), torch.ones(6, 2))


def test_a_sample_is_the_work_of_its_best_modules_by_their_gates_made_to_sum_to_one() -> None:
    net = network(layers=1, top_k=2)
    block = modular_block(net)
    h = torch.rand(1, 12)
    modules = block.layers[0]
    assert isinstance(modules, nn.ModuleList)
    gates = torch.tensor([[[0.1, 0.4, 0.2, 0.3]]])
    expected = torch.relu(h + 4 / 7 * modules[1](h) + 3 / 7 * modules[3](h))
    assert torch.allclose(block.route(h, gates), expected)


def test_a_sub_model_renormalises_the_gates_of_what_it_has() -> None:
    net = network(layers=1, top_k=3)
    hold(net, (0, 0), (0, 2))
    block = modular_block(net)
    h = torch.rand(1, 12)
    modules = block.layers[0]
    assert isinstance(modules, nn.ModuleList)
    gates = torch.tensor([[[0.1, 0.4, 0.2, 0.3]]])
    assert torch.allclose(block.route(h, gates), torch.relu(h + 1 / 3 * modules[0](h) + 2 / 3 * modules[2](h)))


def test_a_sub_model_with_all_modules_is_the_clouds_model_to_the_bit() -> None:
    net, x = network(), torch.rand(7, 3, 3)
    whole = net.module(x)
    hold(net, *np.ndindex(2, 4))
    assert torch.equal(net.module(x), whole)


def test_modules_that_a_sub_model_does_not_have_make_no_difference_to_it() -> None:
    net, x = network(), torch.rand(7, 3, 3)
    held = hold(net, (0, 1), (0, 3), (1, 0))
    before = net.module(x).detach().clone()
    where = layout(net.parts, net.head_start)
    others = where.mask(np.ones((2, 4), np.bool_)) & ~held
    net.buffer[others] = np.nan
    assert torch.equal(net.module(x), before)


def test_a_layer_without_modules_passes_on_what_comes() -> None:
    net, h = network(), torch.rand(7, 12)
    hold(net)
    assert torch.equal(modular_block(net)(h), h)


def test_training_moves_the_modules_held_and_the_head_and_nothing_else() -> None:
    net = network()
    held = hold(net, (0, 1), (1, 0), (1, 2))
    before = net.buffer.copy()
    parameters = backprop.Parameters(learning_rate=0.5, momentum=0.9, weight_decay=0.1)
    step = backprop.begin(parameters, net, Constraint(trainable=held))
    for _ in range(3):
        step(torch.rand(20, 3, 3), torch.arange(20) % 4)
    np.testing.assert_array_equal(net.buffer[~held], before[~held])
    assert (net.buffer[held] != before[held]).mean() > 0.5


def test_no_rule_moves_the_note_of_which_modules_there_are() -> None:
    net = network()
    where = layout(net.parts, net.head_start)
    step = backprop.begin(backprop.Parameters(learning_rate=0.5), net, Constraint())
    step(torch.rand(20, 3, 3), torch.arange(20) % 4)
    assert net.buffer[where.active : where.active + 8].tolist() == [1.0] * 8


def test_a_model_of_another_kind_has_no_block_of_modules() -> None:
    net = network()
    assert isinstance(modular_block(net), ModularBlock)
    with pytest.raises(UnfitError, match="no modules"):
        modular_block(
            flatten(
                type(
                    "Built", (), {"module": nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(9, 2)), "shape": (3, 3)}
                )()
            )
        )
