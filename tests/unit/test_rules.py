"""Back-propagation against torch's own optimiser."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from node_image.network import Architecture, Constraint, Network, flatten
from node_image.rules import backprop

X, Y = torch.rand(12, 5, generator=torch.Generator().manual_seed(1)), torch.arange(12) % 3


def network() -> Network:
    torch.manual_seed(3)
    return flatten(Architecture(nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)), shape=(5,)))


def stepped(params: backprop.Parameters, steps: int, proximal: float = 0.0) -> torch.Tensor:
    ours = network()
    step = backprop.begin(params, ours, Constraint(proximal))
    for _ in range(steps):
        step(X, Y)
    return ours.weights


@pytest.mark.parametrize(
    "given", [{}, {"momentum": 0.9}, {"weight_decay": 0.1}, {"momentum": 0.5, "weight_decay": 0.01}]
)
def test_steps_are_those_of_torchs_sgd(given: dict[str, Any]) -> None:
    theirs = copy.deepcopy(network().module)
    optimiser = torch.optim.SGD(theirs.parameters(), lr=0.3, **given)
    for _ in range(5):
        optimiser.zero_grad()
        cross_entropy(theirs(X), Y).backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        optimiser.step()
    flat = torch.cat([each.detach().reshape(-1) for each in theirs.parameters()])
    assert torch.allclose(stepped(backprop.Parameters(learning_rate=0.3, **given), 5), flat, atol=1e-6)


def test_a_step_returns_the_loss_before_it() -> None:
    ours = network()
    expected = cross_entropy(ours.module(X), Y)
    assert torch.equal(backprop.begin(backprop.Parameters(), ours, Constraint())(X, Y), expected)


def test_the_proximal_term_has_no_say_in_the_first_step_and_holds_back_the_later_ones() -> None:
    params = backprop.Parameters(learning_rate=0.3)
    start = network().weights
    assert torch.equal(stepped(params, 1, proximal=1.0), stepped(params, 1))
    assert (stepped(params, 20, proximal=1.0) - start).norm() < 0.8 * (stepped(params, 20) - start).norm()


@pytest.mark.parametrize("given", [{}, {"momentum": 0.9}, {"weight_decay": 0.1}])
def test_weights_that_may_not_move_stay_to_the_bit(given: dict[str, Any]) -> None:
    ours = network()
    before = ours.weights.clone()
    trainable = np.zeros(len(before), bool)
    trainable[3:9] = trainable[-4] = True
    step = backprop.begin(backprop.Parameters(learning_rate=0.3, **given), ours, Constraint(1.0, trainable))
    for _ in range(5):
        step(X, Y)
    moved = (ours.weights != before).numpy()
    assert moved.any()
    assert not moved[~trainable].any()


def test_learning_the_head_alone_is_learning_all_with_the_rest_held_still() -> None:
    whole, head = network(), network()
    trainable = np.zeros(len(whole.weights), bool)
    trainable[whole.head_start :] = True
    params = backprop.Parameters(learning_rate=0.3)
    backprop.begin(params, head, Constraint(trainable=trainable))(X, Y)
    backprop.begin(params, whole, Constraint())(X, Y)
    assert torch.allclose(head.weights[whole.head_start :], whole.weights[whole.head_start :])


def test_a_step_costs_three_forward_passes() -> None:
    cost = backprop.cost(backprop.Parameters(), network(), Constraint(), samples=10, steps=2)
    assert cost.macs == 3 * 32 * 10
    assert cost.ops == 2 * (3 * 3 + 4)


def test_a_step_of_the_head_alone_goes_back_through_the_head_alone() -> None:
    ours = network()
    trainable = np.zeros(len(ours.weights), bool)
    trainable[ours.head_start :] = True
    cost = backprop.cost(backprop.Parameters(), ours, Constraint(trainable=trainable), samples=10, steps=2)
    assert cost.macs == (32 + 2 * 12) * 10
