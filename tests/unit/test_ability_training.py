"""Ability-enhancing training: its losses against closed forms, and what they do to the modules' load."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from node_image.ability_training import AbilityTraining, balance_loss, cost, subtask_loss, train
from node_image.learner import Learner, build
from node_image.outcomes import DivergedError
from node_image.spec import Chosen, TaskSpec
from node_image.submodel import imbalance
from tests.unit.learners import node_spec

SETTINGS = AbilityTraining(
    steps=60,
    batch_size=32,
    learning_rate=0.1,
    momentum=0.9,
    balance=0.1,
    subtask=0.0,
    subtask_classes=2,
    noise=0.5,
)


def learner(public: int = 400) -> Learner:
    spec = node_spec(-1, task=TaskSpec("digits", public=public))
    return build(replace(spec, model=Chosen("modular", {"width": 16, "hidden": 8, "modules": 4, "top_k": 2})))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_balance_loss_is_the_imbalance_of_the_load_summed_over_layers() -> None:
    gates = torch.rand(9, 2, 4).softmax(dim=2)
    load = gates.sum(dim=0).numpy()
    assert float(balance_loss(gates)) == pytest.approx(2 * imbalance(load), rel=1e-5)
    assert float(balance_loss(torch.full((3, 2, 4), 0.25))) == pytest.approx(0.0, abs=1e-9)


def test_the_subtask_loss_is_the_mean_divergence_from_the_subtasks_mean_gate() -> None:
    gates = torch.tensor([[[0.8, 0.2]], [[0.4, 0.6]], [[0.5, 0.5]]])
    found = float(subtask_loss(gates, torch.tensor([0, 0, 1])))
    mean = np.array([0.6, 0.4])
    divergences = [float((mean * np.log(mean / np.array(each))).sum()) for each in ([0.8, 0.2], [0.4, 0.6])]
    assert found == pytest.approx(sum(divergences) / 3, rel=1e-5)


def test_the_subtask_loss_is_zero_where_a_subtask_is_of_one_mind() -> None:
    gates = torch.rand(2, 2, 4).softmax(dim=2)[[0, 1, 1, 0]]
    assert float(subtask_loss(gates, torch.tensor([3, 0, 0, 3]))) == pytest.approx(0.0, abs=1e-6)


def test_the_cloud_learns_from_public_samples_and_spreads_the_load() -> None:
    balanced, alone = learner(), learner()
    with_loss = train(balanced, SETTINGS, rng())
    without = train(alone, replace(SETTINGS, balance=0.0), rng())
    assert imbalance(with_loss.load) < 0.5 * imbalance(without.load)
    assert with_loss.load.sum(axis=1) == pytest.approx([400, 400], rel=1e-4)
    assert balanced.evaluate().accuracy > 0.7
    assert balanced.untouched is False


def test_it_depends_on_the_generator_alone() -> None:
    def trained(seed: int) -> bytes:
        one = learner()
        train(one, replace(SETTINGS, steps=3), np.random.default_rng(seed))
        return one.weights().tobytes()

    assert trained(1) == trained(1) != trained(2)


def test_with_a_step_size_too_large_it_diverges_and_leaves_the_model() -> None:
    one = learner()
    with pytest.raises(DivergedError, match="smaller step size"):
        train(one, replace(SETTINGS, learning_rate=1e20), rng())
    assert one.untouched


def test_without_public_samples_it_says_where_to_get_them() -> None:
    with pytest.raises(ValueError, match="`public` of the task"):
        train(learner(public=0), SETTINGS, rng())


def test_its_cost_is_three_forward_passes_a_sample() -> None:
    one = learner(public=20)
    assert cost(one, SETTINGS).macs == 3 * one.network.macs * 20 * 60
    assert cost(learner(), SETTINGS).macs == 3 * one.network.macs * 32 * 60
