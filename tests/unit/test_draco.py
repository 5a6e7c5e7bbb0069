"""DRACO-like gossip: clocks of their own, rows that sum to 1, old models and floods refused."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from node_image.algorithms import draco
from node_image.runtime import Body
from orchestrator.plan import make_plan
from orchestrator.scenario import load_scenario
from tests.contract.conversation import SIZE, Sent, World, prompt
from tests.contract.worlds import run_in
from tests.unit.peers import PeerWorld, chance, full, ring

SCENARIO = """
name: draco
substrate: simulation
stop_after: 2 s
devices: [{group: pi, count: 5, profile: raspberry_pi_4, link: wifi_5}]
coordinator: none
topology: {kind: ring}
learning:
  task: {name: digits, partition: {kind: pathological, classes: 4}}
  model: {name: mlp}
  algorithm: {name: draco, local_steps: 4, evaluate_every: 0 s}
  rule: {name: backprop, learning_rate: 0.2}
"""


def world_of(devices: int, **parameters: float) -> PeerWorld:
    world = PeerWorld(draco, ring(devices), prompt, local_steps=1, **parameters)
    world.first = {name: float(index) for index, name in enumerate(world.devices)}
    for learner in world.learners.values():
        learner.drift = 0.0
    return world


def models(world: PeerWorld) -> list[float]:
    return [world.model(name) for name in world.devices]


def test_without_learning_all_models_come_to_one_between_the_first_ones() -> None:
    world = world_of(6)
    world.live(200)
    assert max(models(world)) - min(models(world)) < 1e-3
    assert 0.0 < world.model("device0") < 5.0


def test_equal_models_stay_as_they_are() -> None:
    world = world_of(4)
    world.first = dict.fromkeys(world.devices, 1.1)
    world.live(50)
    assert set(models(world)) == {float(np.float32(1.1))}
    assert world.recorded("gossip_exchanges")


def test_a_mixing_weighs_the_own_model_and_those_of_the_inbox_alike() -> None:
    world = PeerWorld(draco, full(3), local_steps=1, compute_every_s=1e6, transmit_every_s=1e6, mix_every_s=2.0)
    world.first = {"device0": 0.0, "device1": 3.0, "device2": 9.0}
    for learner in world.learners.values():
        learner.drift = 0.0
    world.live(60)
    assert models(world) == pytest.approx([4.0, 4.0, 4.0])


def test_clocks_tick_as_often_as_they_are_told_whatever_the_others_do() -> None:
    world = world_of(4, compute_every_s=1.0, transmit_every_s=0.5, mix_every_s=0.25)
    world.live(400)
    phases = [each for each in world.recorded("local_phase_s") if each.node == "device0"]
    mixings = [each for each in world.recorded("neighbours") if each.node == "device0"]
    assert len(phases) == pytest.approx(400 / (1.0 + 0.1), rel=0.2)
    assert len(mixings) == pytest.approx(400 / 0.25, rel=0.2)


def test_nothing_is_sent_twice_that_has_not_changed() -> None:
    world = world_of(3, compute_every_s=1e6, mix_every_s=1e6, transmit_every_s=0.1)
    world.live(100)
    assert world.said() == Counter(model=6)


def test_models_older_than_gamma_are_refused() -> None:
    world = PeerWorld(draco, ring(3), lambda m: (5.0,) if m.sender == "device0" else (0.01,), max_age_s=1.0)
    world.live(60)
    assert world.refused()["stale"] == len([m for m in world.sent if m.sender == "device0" and m.t < 55.0])
    assert world.recorded("gossip_exchanges")


def test_no_more_than_psi_models_are_accepted_in_a_period() -> None:
    world = world_of(5, compute_every_s=0.2, transmit_every_s=0.05, max_accepted=3, period_s=2.0, max_age_s=10.0)
    world.live(100)
    assert world.refused()["quota"] > 0
    for name in world.devices:
        accepted = [each.t for each in world.recorded("gossip_exchanges") if each.node == name]
        while accepted:  # a period begins with the first model after the last one
            within = [t for t in accepted if t < accepted[0] + 2.0]
            assert len(within) <= 3
            accepted = accepted[len(within) :]


def test_garbage_is_refused_and_loss_and_repeats_do_not_matter() -> None:
    world = PeerWorld(draco, ring(4), chance(1), local_steps=2)
    ones = np.ones(SIZE, np.float32)
    bodies: tuple[Body, ...] = (
        {},
        {"sent_s": 0.0, "model": np.ones(SIZE + 1, np.float32)},
        {"sent_s": "now", "model": ones},
        {"sent_s": float("nan"), "model": ones},
        {"sent_s": 0.0, "model": np.full(SIZE, np.inf, np.float32)},
    )

    def throw() -> None:
        for body in bodies:
            world.post(Sent(0.0, "device0", "device1", "model", body))
        world.post(Sent(0.0, "device0", "device1", "nonsense", {}))
        world.post(Sent(0.0, "device0", "device2", "model", bodies[1]))

    for t in (1.0, 2.0, 3.0, 4.0, 5.0):
        world.at(t, throw)
    world.live(60)
    assert {"wrong_shape", "wrong_field", "missing_field", "unknown_kind", "stranger"} <= world.refused().keys()
    assert all(world.model(name) > 20.0 for name in world.devices)


def test_a_dead_neighbour_delays_nobody_and_one_that_returns_is_drawn_in() -> None:
    world = PeerWorld(draco, full(3), local_steps=1)
    world.at(20.0, lambda: world.crash("device0"))
    world.at(60.0, lambda: world.start("device0"))
    world.live(120)
    phases = Counter(each.t // 20 for each in world.recorded("local_phase_s") if each.node == "device1")
    assert min(phases.values()) > 0.6 * max(phases.values())
    assert world.model("device0") > 0.6 * world.model("device1")


def test_a_device_without_neighbours_learns_alone_and_a_coordinator_has_no_part() -> None:
    world = World(draco, 2, local_steps=1)
    world.run(30)
    assert world.sent == []
    assert len(world.values("local_phase_s", "device1")) > 50


def test_devices_with_few_classes_each_learn_all_from_their_neighbours(tmp_path: Path) -> None:
    path = tmp_path / "draco.yaml"
    path.write_text(SCENARIO)
    ran = run_in("simulation", make_plan(load_scenario(path)), tmp_path / "run")
    assert ran.outcome.status == "complete", ran.outcome.notes
    accuracy = ran.outcome.summary["test_accuracy_device_mean"]
    assert accuracy is not None
    assert accuracy > 0.55, "each holds four of ten classes: alone it would reach 0.4"
