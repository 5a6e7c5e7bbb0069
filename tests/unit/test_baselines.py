"""The baselines with real learners, against what they must equal: local learning, gradient descent, one another."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from node_image.algorithms import fedavg, fedprox
from node_image.learner import Learner, build
from node_image.registry import ALGORITHMS, Algorithm
from node_image.spec import Chosen, TaskSpec
from tests.contract.conversation import COORDINATOR, World
from tests.unit.learners import node_spec

RATE = 0.1
WHOLE = {"learning_rate": RATE, "batch_size": 1500, "shuffle": False}  # all 1,500 training samples at once
SOON = {"local_steps": 5, "evaluate_every_s": 0.5}
QUICK: dict[str, dict[str, Any]] = {"fedasync": SOON, "fedavg": {}, "fedbuff": SOON, "fedprox": {}}


def learners(devices: int, rule: dict[str, Any], task: TaskSpec | None = None) -> dict[str, Learner]:
    names = [COORDINATOR, *(f"device{index}" for index in range(devices))]
    return {name: build(node_spec(number - 1, devices, rule=rule, task=task)) for number, name in enumerate(names)}


def converse(
    algorithm: Algorithm,
    devices: int,
    rule: dict[str, Any],
    seconds: float,
    task: TaskSpec | None = None,
    **params: Any,
) -> World:
    world = World(algorithm, devices, checkpoint_every=1, **params)
    world.real_learners = learners(devices, rule, task)
    world.macs_per_s = 1e8
    world.run(seconds)
    return world


def model_of(world: World) -> NDArray[np.float32]:
    model = world.checkpoints[COORDINATOR]["model"]
    assert isinstance(model, np.ndarray)
    return np.asarray(model, np.float32)


def local_descent(devices: int, rule: dict[str, Any], rounds: int) -> NDArray[np.float32]:
    """What the first device alone comes to."""
    learner = learners(devices, rule)["device0"]
    for _ in range(rounds):
        learner.train(learner.epoch_steps(0.0), 0.0, np.random.default_rng(0))
    return learner.weights()


def test_fedavg_with_one_device_is_local_descent() -> None:
    rule = {"learning_rate": RATE, "shuffle": False}
    found = model_of(converse(fedavg, 1, rule, 3600, rounds=3))
    np.testing.assert_allclose(found, local_descent(1, rule, 3), atol=1e-7)


@pytest.mark.parametrize("devices", [2, 5])
def test_fedavg_with_one_step_on_all_samples_is_a_step_of_gradient_descent(devices: int) -> None:
    found = model_of(converse(fedavg, devices, WHOLE, 3600, rounds=1, local_steps=1))
    np.testing.assert_allclose(found, local_descent(1, WHOLE, 1), atol=1e-6)


def test_fedprox_without_its_pull_is_fedavg_and_with_a_strong_one_stays_near_where_it_was() -> None:
    rule = {"learning_rate": RATE, "shuffle": False}
    plain = model_of(converse(fedavg, 3, rule, 3600, rounds=2))
    start = learners(3, rule)[COORDINATOR].weights()
    moved = {
        mu: float(np.linalg.norm(model_of(converse(fedprox, 3, rule, 3600, rounds=2, mu=mu)) - start))
        for mu in (0.0, 1.0, 5.0)
    }
    np.testing.assert_array_equal(model_of(converse(fedprox, 3, rule, 3600, rounds=2, mu=0.0)), plain)
    assert moved[0.0] > moved[1.0] > moved[5.0] > 0


@pytest.mark.parametrize("name", sorted(QUICK))
def test_devices_of_one_class_each_learn_and_nothing_is_refused(name: str) -> None:
    task = TaskSpec("digits", partition=Chosen("pathological", {"classes": 1}))
    world = converse(ALGORITHMS[name], 10, {"learning_rate": RATE}, 2.0, task, **QUICK[name])
    held = [np.count_nonzero(each.label_counts(0.0)) for each in list(world.real_learners.values())[1:]]
    assert set(held) == {1}
    assert np.isfinite(model_of(world)).all()
    assert world.values("test_accuracy")
    assert not world.refused().keys() - {"late"}
