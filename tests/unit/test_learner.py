"""The learner: weights in and out, streams, training, testing; shared in memory, not in state."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from node_image.learner import Learner, build
from node_image.outcomes import DivergedError, NoSamplesError
from node_image.spec import Chosen, TaskSpec
from tests.unit.learners import node_spec


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def streaming(per_s: float = 20.0) -> Learner:
    return build(node_spec(task=TaskSpec("digits", partition=Chosen("in_order"), stream_per_s=per_s)))


def test_weights_are_a_copy_and_come_back_as_loaded() -> None:
    learner = build(node_spec())
    weights = learner.weights()
    weights[:] = 7
    assert not np.array_equal(learner.weights(), weights)
    learner.load(weights)
    np.testing.assert_array_equal(learner.weights(), weights)
    assert learner.parameters == len(weights) == 2_410
    assert weights.dtype == np.float32


@pytest.mark.parametrize("wrong", [np.zeros(2_409, np.float32), np.zeros(2_410), np.zeros((1, 2_410), np.float32)])
def test_weights_of_another_size_or_type_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="2410 float32 weights"):
        build(node_spec()).load(wrong)


def test_all_nodes_start_from_the_same_weights_which_the_data_seed_decides() -> None:
    torch.manual_seed(99)  # nobody else's seed may matter
    first = build(node_spec(0)).weights()
    np.testing.assert_array_equal(first, build(node_spec(-1)).weights())
    assert not np.array_equal(first, build(node_spec(0, data_seed=1)).weights())


def test_learners_share_module_and_data_but_not_weights() -> None:
    one, other = build(node_spec(0)), build(node_spec(1))
    assert one.network is other.network
    assert one.task is other.task
    one.train(5, 0.0, rng())
    np.testing.assert_array_equal(other.weights(), other.initial)
    assert not np.array_equal(one.weights(), one.initial)


def test_training_depends_on_the_generator_alone() -> None:
    def trained(seed: int) -> bytes:
        learner = build(node_spec())
        learner.train(7, 0.0, np.random.default_rng(seed))
        build(node_spec(3)).train(2, 0.0, rng())  # others in between change nothing
        learner.train(7, 0.0, np.random.default_rng(seed + 1))
        return learner.weights().tobytes()

    assert trained(5) == trained(5) != trained(6)


def test_a_phase_of_one_epoch_uses_every_sample_once() -> None:
    learner = build(node_spec())
    assert learner.samples(0.0) == 150
    assert learner.epoch_steps(0.0) == 5
    phase = learner.train(5, 0.0, rng())
    assert (phase.samples, phase.steps) == (150, 5)
    assert phase.loss == pytest.approx(math.log(10), abs=0.1)


@pytest.mark.parametrize("steps", [1, 4, 5, 6, 13])
def test_the_cost_of_a_phase_is_that_of_the_samples_it_uses(steps: int) -> None:
    learner = build(node_spec())
    cost = learner.cost(steps, 0.0)
    assert cost.macs == 3 * 2_368 * learner.train(steps, 0.0, rng()).samples
    assert cost.ops == steps * learner.cost(1, 0.0).ops


def test_training_lowers_the_loss_and_raises_the_accuracy() -> None:
    learner = build(node_spec(0, 1))
    before = learner.evaluate()
    losses = [learner.train(47, 0.0, rng()).loss for _ in range(6)]
    after = learner.evaluate()
    assert losses[-1] < 0.5 * losses[0]
    assert after.accuracy > 0.8 > before.accuracy
    assert after.loss < before.loss
    assert after.accuracy <= after.top_k[3] <= after.top_k[5] <= 1.0
    assert after.samples == 297


def test_evaluating_other_weights_leaves_the_learners_own() -> None:
    learner = build(node_spec())
    own = learner.evaluate()
    assert learner.evaluate(np.zeros(2_410, np.float32)).loss == pytest.approx(math.log(10))
    assert learner.evaluate() == own


def test_useless_weights_get_a_useless_loss_and_no_top_k() -> None:
    found = build(node_spec()).evaluate(np.full(2_410, np.nan, np.float32))
    assert math.isnan(found.loss)
    assert set(found.top_k.values()) == {0.0}


def test_a_phase_that_diverges_is_an_error_and_leaves_the_weights() -> None:
    learner = build(node_spec(rule={"learning_rate": 1e30}))
    with pytest.raises(DivergedError, match="learning_rate"):
        learner.train(20, 0.0, rng())
    np.testing.assert_array_equal(learner.weights(), learner.initial)


def test_a_stream_delivers_samples_at_its_rate_until_all_are_there() -> None:
    learner = streaming(20.0)
    assert [learner.samples(t) for t in (0.0, 0.049, 0.05, 1.0, 7.5, 1e6)] == [0, 0, 1, 20, 150, 150]
    assert learner.ready_s == pytest.approx(32 / 20)
    assert learner.samples(learner.ready_s) == 32
    assert learner.arrival_s(1000) == pytest.approx(7.5)


def test_what_has_not_arrived_is_not_learned_from() -> None:
    learner = streaming()
    with pytest.raises(NoSamplesError):
        learner.train(1, 0.0, rng())
    assert learner.train(3, 0.5, rng()).samples == 30
    only_ten = build(node_spec())
    only_ten.own = only_ten.own[:10]
    only_ten.train(3, 0.0, rng())
    np.testing.assert_array_equal(learner.weights(), only_ten.weights())


def test_without_a_stream_all_is_there_from_the_start() -> None:
    learner = build(node_spec())
    assert learner.ready_s == learner.arrival_s(150) == 0.0


def test_samples_sent_raw_are_learned_from_as_if_they_were_own() -> None:
    device, coordinator = build(node_spec(0)), build(node_spec(-1))
    assert coordinator.samples(0.0) == 0
    for first in range(0, 150, 40):
        coordinator.take(*device.raw(first, 40))
    assert coordinator.samples(0.0) == 150
    device.train(6, 0.0, rng())
    coordinator.train(6, 0.0, rng())
    np.testing.assert_array_equal(coordinator.weights(), device.weights())


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.zeros((2, 8, 8)), np.zeros(2, np.uint8)),
        (np.zeros((2, 8, 7), np.uint8), np.zeros(2, np.uint8)),
        (np.zeros((2, 8, 8), np.uint8), np.zeros(3, np.uint8)),
        (np.zeros((2, 8, 8), np.uint8), np.full(2, 10, np.uint8)),
        (np.zeros((2, 8, 8), np.uint8), np.zeros(2, np.float32)),
        (np.zeros((8, 8), np.uint8), np.array(0, np.uint8)),
    ],
)
def test_samples_that_are_not_of_the_task_are_refused(x: np.ndarray, y: np.ndarray) -> None:
    with pytest.raises(ValueError, match="samples must be uint8 of shape"):
        build(node_spec(-1)).take(x, y)


def test_a_full_pool_lets_the_oldest_samples_go() -> None:
    learner = build(node_spec(-1))
    x, y = learner.task.train_x, learner.task.train_y.astype(np.uint8)
    learner.take(x, y)
    learner.take(x[:10], y[:10])
    assert learner.samples(0.0) == 1500


def test_a_misspelt_parameter_is_told_by_name() -> None:
    spec = replace(node_spec(), rule=Chosen("backprop", {"learning_rat": 1.0}))
    with pytest.raises(ValueError, match="learning_rat: unknown parameter; known: learning_rate"):
        build(spec)
