"""The same FedAvg, once as a plain loop in plain torch and once as the algorithm's coroutines, is equally accurate."""

from functools import cache

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from node_image.algorithms import fedavg
from node_image.learner import build
from tests.contract.conversation import COORDINATOR, World
from tests.unit.learners import node_spec

RULE = {"learning_rate": 0.1, "shuffle": False}


@cache
def bare_loop(devices: int, rounds: int) -> float:
    """Nothing of Edgebed: scikit-learn's digits, a torch module, a loop."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(1797)
    x = torch.tensor(digits.data[order] / 16, dtype=torch.float32)
    y = torch.tensor(digits.target[order])
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    start = [each.detach().clone() for each in net.parameters()]
    for _ in range(rounds):
        mean = [torch.zeros_like(each) for each in start]
        for part in np.array_split(np.arange(1500), devices):
            for weights, first in zip(net.parameters(), start, strict=True):
                weights.data.copy_(first)
            for begin in range(0, len(part), 32):
                net.zero_grad()
                cross_entropy(net(x[part[begin : begin + 32]]), y[part[begin : begin + 32]]).backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
                for weights in net.parameters():
                    assert weights.grad is not None
                    weights.data -= 0.1 * weights.grad
            for total, weights in zip(mean, net.parameters(), strict=True):
                total += weights.data * (len(part) / 1500)
        start = mean
    for weights, first in zip(net.parameters(), start, strict=True):
        weights.data.copy_(first)
    return float((net(x[1500:]).argmax(1) == y[1500:]).float().mean())


def as_coroutines(devices: int, rounds: int) -> list[float]:
    """Accuracy after every round."""
    world = World(fedavg, devices, rounds=rounds)
    world.real_learners = {
        name: build(node_spec(index, devices, rule=RULE))
        for index, name in [(-1, COORDINATOR), *enumerate(world.devices)]
    }
    world.macs_per_s = 1e9
    world.run(3600)
    return world.values("test_accuracy")


# The published figures of this experiment, which a bare loop, two simulators and a framework's deployment all gave.
@pytest.mark.parametrize(("devices", "rounds", "expected"), [(10, 5, 0.2020), (2, 5, 0.8215), (10, 50, 0.9394)])
def test_fedavg_is_as_accurate_as_a_bare_loop_to_four_digits(devices: int, rounds: int, expected: float) -> None:
    accuracy = as_coroutines(devices, rounds)
    assert len(accuracy) == rounds
    assert accuracy[-1] == pytest.approx(bare_loop(devices, rounds), abs=5e-5)
    assert accuracy[-1] == pytest.approx(expected, abs=5e-5)
