"""Back-propagation against torch's own optimiser."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from node_image.network import Architecture, Network, flatten
from node_image.rules import backprop

X, Y = torch.rand(12, 5, generator=torch.Generator().manual_seed(1)), torch.arange(12) % 3


def network() -> Network:
    torch.manual_seed(3)
    return flatten(Architecture(nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)), macs=32, ops=3))


def stepped(params: backprop.Parameters, steps: int, proximal: float = 0.0) -> torch.Tensor:
    ours = network()
    step = backprop.begin(params, ours, proximal)
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
    assert torch.equal(backprop.begin(backprop.Parameters(), ours, 0.0)(X, Y), expected)


def test_the_proximal_term_has_no_say_in_the_first_step_and_holds_back_the_later_ones() -> None:
    params = backprop.Parameters(learning_rate=0.3)
    start = network().weights
    assert torch.equal(stepped(params, 1, proximal=1.0), stepped(params, 1))
    assert (stepped(params, 20, proximal=1.0) - start).norm() < 0.8 * (stepped(params, 20) - start).norm()


def test_a_step_costs_three_forward_passes() -> None:
    cost = backprop.cost(network(), samples=10, steps=2)
    assert cost.macs == 3 * 32 * 10
    assert cost.ops == 2 * (3 * 3 + 4)
