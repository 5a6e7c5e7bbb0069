"""DSGD: what devices that mix in rounds say, come to, and survive."""

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from node_image.algorithms import dsgd
from node_image.learner import build
from node_image.mixing import metropolis, spectral_gap
from node_image.runtime import Body
from node_image.spec import Chosen, TaskSpec
from orchestrator.plan import make_plan
from orchestrator.scenario import load_scenario
from tests.contract.conversation import COORDINATOR, SIZE, Sent, World
from tests.contract.worlds import run_in
from tests.unit.learners import node_spec
from tests.unit.peers import PeerWorld, chance, forget, full, ring

SCENARIO = """
name: gossip
substrate: simulation
stop_after: 60 s
devices: [{group: pi, count: 5, profile: raspberry_pi_4, link: wifi_5}]
coordinator: none
topology: {kind: ring}
learning:
  task: {name: digits, partition: {kind: pathological, classes: 2}}
  model: {name: mlp}
  algorithm: {name: dsgd, local_steps: 4, rounds: 100, evaluate_every: 0}
  rule: {name: backprop, learning_rate: 0.2}
"""


def start_apart(world: PeerWorld) -> None:
    """Weights differ, and nobody learns anything."""
    world.first = {name: float(index) for index, name in enumerate(world.devices)}
    for learner in world.learners.values():
        learner.drift = 0.0


def test_a_round_mixes_the_models_of_all_neighbours_with_metropolis_weights() -> None:
    adjacency = ring(5)
    adjacency[0, 2] = adjacency[2, 0] = True
    world = PeerWorld(dsgd, adjacency, rounds=1)
    start_apart(world)
    world.live(30)
    expected = metropolis(adjacency) @ np.arange(5.0)
    assert [world.model(name) for name in world.devices] == pytest.approx(expected.tolist(), rel=1e-6)
    assert world.said() == Counter(model=int(adjacency.sum()))


def test_what_each_device_learned_in_its_local_steps_is_added_whole() -> None:
    world = PeerWorld(dsgd, ring(4), rounds=3)
    for index, learner in enumerate(world.learners.values()):
        learner.drift = float(index)
    world.live(30)
    assert np.mean([world.model(name) for name in world.devices]) == pytest.approx(3 * np.mean([0, 1, 2, 3]))


def test_the_mean_of_the_models_moves_by_minus_the_learning_rate_times_the_mean_gradient() -> None:
    rate, spec = 0.25, {"learning_rate": 0.25, "batch_size": 10_000, "shuffle": False}
    world = PeerWorld(dsgd, ring(4), rounds=1, evaluate_every=0)
    world.macs_per_s = 1e9
    for index, name in enumerate(world.devices):
        task = TaskSpec("digits", partition=Chosen("in_order"))
        world.real_learners[name] = build(node_spec(index, 4, task=task, model="linear", rule=spec))
    before, gradients = [], []
    for index, learner in enumerate(world.real_learners.values()):
        w = np.random.default_rng(index).normal(0, 0.1, learner.parameters).astype(np.float32)
        learner.load(w)
        learner.train(1, 0.0, np.random.default_rng(0))
        before.append(w.astype(np.float64))
        gradients.append((w - learner.weights()) / rate)
        learner.load(w)
    world.live(100)
    after = np.mean([learner.weights() for learner in world.real_learners.values()], axis=0)
    np.testing.assert_allclose(after, np.mean(before, axis=0) - rate * np.mean(gradients, axis=0), atol=1e-6)


def test_the_squared_distance_from_consensus_shrinks_by_the_spectral_gap_each_round() -> None:
    adjacency, squared = ring(7), []
    for rounds in range(1, 6):
        world = PeerWorld(dsgd, adjacency, rounds=rounds)
        start_apart(world)
        world.live(60)
        models = np.array([world.model(name) for name in world.devices])
        assert models.mean() == pytest.approx(3.0, rel=1e-6)
        squared.append(float(((models - 3.0) ** 2).sum()))
    factor = (1.0 - spectral_gap(adjacency)) ** 2
    assert all(later <= factor * earlier * 1.0001 for earlier, later in itertools.pairwise(squared))


def test_a_device_without_neighbours_learns_alone() -> None:
    world = PeerWorld(dsgd, np.zeros((1, 1), np.bool_), rounds=5)
    world.live(30)
    assert world.sent == []
    assert world.model("device0") == 5.0
    assert [each.value for each in world.recorded("neighbours")] == [0.0] * 5


def test_a_dead_neighbour_costs_three_deadlines_and_no_more() -> None:
    world = PeerWorld(dsgd, ring(4), rounds=200, deadline_s=3.0)
    world.at(2.0, lambda: world.crash("device1"))
    world.live(60)
    lasted = [each.value for each in world.recorded("round_s") if each.node == "device2"]
    assert sum(each > 2.9 for each in lasted) == 3
    assert len(lasted) == 200


def test_a_neighbour_that_comes_back_goes_on_in_the_others_round_from_their_models() -> None:
    world = PeerWorld(dsgd, full(3), deadline_s=1.0, checkpoint_every=5)
    world.at(1.0, lambda: world.crash("device0"))
    world.at(20.0, lambda: world.start("device0"))
    world.live(40)
    own = [each for each in world.recorded("round") if each.node == "device0" and each.t > 20.0]
    others = [each for each in world.recorded("round") if each.node == "device1"]
    assert abs(own[-1].value - others[-1].value) <= 1
    assert own[0].value + 5 < own[-1].value
    models = [world.model(name) for name in world.devices]
    assert max(models) - min(models) < 3.0, "a round's learning adds 1"
    assert {each.value for each in world.recorded("neighbours") if each.t > 30.0} == {2.0}


def test_a_model_of_a_round_that_is_over_is_refused() -> None:
    world = PeerWorld(dsgd, full(3), deadline_s=1.0)
    stale: Body = {"round": 1, "degree": 2, "model": np.full(SIZE, 1e6, np.float32)}
    world.at(10.0, lambda: world.post(Sent(10.0, "device0", "device1", "model", stale)))
    world.live(20)
    assert world.refused()["late"] == 1
    assert world.model("device1") < 1e5


@pytest.mark.parametrize("seed", range(4))
def test_rounds_go_on_over_a_net_that_loses_repeats_and_reorders(seed: int) -> None:
    world = PeerWorld(dsgd, ring(5), chance(seed), deadline_s=1.0)
    for t in (1.0, 3.0, 5.0):
        world.at(t, lambda: garbage(world))
    world.live(90)
    rounds = {name: max(world.values("round", name)) for name in world.devices}
    assert min(rounds.values()) > 50
    assert max(rounds.values()) - min(rounds.values()) <= 4
    assert {"wrong_shape", "missing_field", "unknown_kind", "stranger", "duplicate"} <= world.refused().keys()


def garbage(world: PeerWorld) -> None:
    bodies: tuple[Body, ...] = (
        {},
        {"round": 1, "degree": 2, "model": np.ones(SIZE + 1, np.float32)},
        {"round": 1, "degree": 0, "model": np.ones(SIZE, np.float32)},
        {"round": 1, "degree": 2, "model": np.full(SIZE, np.nan, np.float32)},
    )
    for body in bodies:
        world.post(Sent(0.0, "device0", "device1", "model", body))
    world.post(Sent(0.0, "device0", "device1", "nonsense", {}))
    world.post(Sent(0.0, "device3", "device1", "model", bodies[1]))


def test_a_device_that_diverges_still_passes_on_its_neighbours_models() -> None:
    world = PeerWorld(dsgd, ring(3), rounds=4)
    world.learners["device1"].diverges = True
    world.live(60)
    assert world.values("round", "device1")[-1] == 4, "each failure costs it a second, then it catches up"
    assert world.model("device1") > 0.0


def test_a_silent_neighbour_is_heard_again_as_soon_as_it_speaks() -> None:
    world = PeerWorld(dsgd, full(2), forget(lambda m: 5.0 < m.t < 10.0 and m.sender == "device0"), deadline_s=1.0)
    world.live(20)
    heard = [(each.t, each.value) for each in world.recorded("neighbours") if each.node == "device1"]
    assert {value for t, value in heard if t < 5.0 or t > 12.0} == {1.0}
    assert {value for t, value in heard if 6.5 < t < 10.0} == {0.0}


def test_a_coordinator_has_no_part_in_it() -> None:
    world = World(dsgd, 2, rounds=3)
    world.run(30)
    assert world.sent == []
    assert world.values("round", "device1") == [1, 2, 3]
    assert world.values("test_accuracy", COORDINATOR) == []


@pytest.mark.parametrize("topology", ["{kind: ring}", "{kind: random_geometric, area: 100 m, radio_range: 90 m}"])
def test_devices_with_few_classes_each_learn_all_from_their_neighbours(topology: str, tmp_path: Path) -> None:
    path = tmp_path / "gossip.yaml"
    path.write_text(SCENARIO.replace("{kind: ring}", topology))
    ran = run_in("simulation", make_plan(load_scenario(path)), tmp_path / "run")
    assert ran.outcome.status == "complete", ran.outcome.notes
    accuracy = ran.outcome.summary["test_accuracy_device_min"]
    assert accuracy is not None
    assert accuracy > 0.4, "each holds two of ten classes: alone it would reach 0.2"
