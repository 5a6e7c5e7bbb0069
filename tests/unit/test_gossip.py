"""Bilayer gossip: clusters, pairings and cumulative averages, over nets that lose, repeat and fall silent."""

import tracemalloc
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from node_image.aggregate import CumulativeMean
from node_image.algorithms import bilayer_gossip
from node_image.clustering import farthest_first, heads, k_means
from node_image.models import mcunet_small
from node_image.network import flatten
from node_image.runtime import Body
from orchestrator.plan import make_plan
from orchestrator.scenario import load_scenario
from tests.contract.conversation import SIZE, FakeLearner, Sent, World, prompt
from tests.contract.worlds import run_in
from tests.unit.peers import PeerWorld, chance, full, geometric, ring

SCENARIO = """
name: bilayer
substrate: simulation
stop_after: 60 s
devices: [{group: pi, count: 6, profile: raspberry_pi_4, link: wifi_5}]
coordinator: none
topology: {kind: random_geometric, area: 100 m, radio_range: 90 m}
learning:
  task: {name: digits, partition: {kind: pathological, classes: 4}}
  model: {name: mlp}
  algorithm: {name: bilayer_gossip, rounds: 25, evaluate_every: 0, clusters: 2}
  rule: {name: backprop, learning_rate: 0.2}
"""


@dataclass
class Labelled(FakeLearner):
    """Has so many samples of each class."""

    counts: tuple[int, ...] = ()

    def label_counts(self, now: float) -> NDArray[np.int64]:
        return np.array(self.counts, np.int64)


def placed(devices: int = 20, range_m: float = 45.0, seed: int = 0, **parameters: object) -> PeerWorld:
    adjacency, where = geometric(devices, range_m, seed)
    world = PeerWorld(bilayer_gossip, adjacency, prompt, **parameters)
    world.places = {name: (float(x), float(y)) for name, (x, y) in zip(world.devices, where, strict=True)}
    return world


def meetings(world: PeerWorld) -> dict[tuple[int, int], list[frozenset[str]]]:
    """Pairs that exchanged models, by round and phase: an accepted question and what was given for it."""
    asked = {(m.sender, m.dest, m.body["nonce"]): m.body for m in world.sent if m.kind == "ask" and "nonce" in m.body}
    found = defaultdict(list)
    for message in world.sent:
        question = asked.get((message.sender, message.dest, message.body["nonce"])) if message.kind == "give" else None
        if question is not None:
            when = int(np.asarray(question["round"])), int(np.asarray(question["phase"]))
            found[when].append(frozenset((message.sender, message.dest)))
    return found


def test_the_memory_of_the_cumulative_mean_does_not_grow_with_the_number_of_neighbours() -> None:
    size, peaks = 100_000, []
    for neighbours in (2, 20, 200):
        model = np.ones(size, np.float32)
        tracemalloc.start()
        mean = CumulativeMean()
        for number in range(neighbours):
            mean.add(model, 1 + number)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(peaks) - min(peaks) < 0.01 * model.nbytes
    assert max(peaks) < 3 * model.nbytes, "two models: sums have 64 bits"


def test_a_round_of_two_devices_ends_with_the_mean_weighted_by_samples() -> None:
    world = PeerWorld(bilayer_gossip, full(2), rounds=1, clusters=1)
    for index, learner in enumerate(world.learners.values()):
        learner.drift, learner.own_samples = 1.0 + index, 10 * (index + 1)
    world.live(60)
    mean = (10 * 1.0 + 20 * 2.0) / 30
    assert [world.model(name) for name in world.devices] == pytest.approx([mean, mean])
    assert world.said() == Counter(advert=2, ask=world.said()["ask"], accept=1, give=1)


def test_each_pair_of_a_phase_keeps_its_weighted_sum_and_nobody_is_in_two_pairs() -> None:
    world = placed(rounds=1, intra_phases=1, inter_phases=0)
    for index, learner in enumerate(world.learners.values()):
        learner.drift, learner.own_samples = float(index), 5 + index
    world.live(120)
    pairs = meetings(world)[1, 1]
    assert len(pairs) >= 5
    paired = [name for pair in pairs for name in pair]
    assert len(paired) == len(set(paired))
    for a, b in pairs:
        (i, n), (j, m) = ((world.learners[each].drift, world.learners[each].own_samples) for each in (a, b))
        assert n * world.model(a) + m * world.model(b) == pytest.approx(n * i + m * j, rel=1e-6)
    for name in set(world.devices) - set(paired):
        assert world.model(name) == world.learners[name].drift


@pytest.mark.parametrize("dkmeans", ["exact", "onehop"])
def test_in_every_phase_the_pairs_are_a_matching_of_devices_that_have_not_met_in_the_round(dkmeans: str) -> None:
    world = placed(rounds=6, dkmeans=dkmeans)
    world.live(600)
    found = meetings(world)
    assert {number for number, _ in found} == {1, 2, 3, 4, 5, 6}
    for pairs in found.values():
        paired = [name for pair in pairs for name in pair]
        assert len(paired) == len(set(paired))
    for number in range(1, 7):
        in_round = [pair for (round_, _), pairs in found.items() if round_ == number for pair in pairs]
        assert len(in_round) == len(set(in_round))


def test_exact_clusters_are_those_of_lloyds_algorithm_on_all_places_once_all_know_all() -> None:
    world = placed(rounds=8)
    world.live(600)
    where = np.array([world.places[name] for name in world.devices], np.float32).astype(np.float64)
    labels, centroids = k_means(where, farthest_first(where, 4))
    head = heads(where, labels, centroids)
    said = {each.node: each.value for each in world.recorded("cluster")}
    assert [said[name] for name in world.devices] == [float(head[label]) for label in labels]


def test_partners_inside_are_of_the_same_cluster_and_partners_outside_of_another() -> None:
    world = placed(rounds=8)
    world.live(600)
    cluster = {each.node: each.value for each in world.recorded("cluster") if each.t > 0}
    for (number, phase), pairs in meetings(world).items():
        for a, b in pairs if number == 8 else ():
            assert (cluster[a] == cluster[b]) == (phase <= 3)
    layers = Counter(each.labels["layer"] for each in world.recorded("gossip_exchanges"))
    assert layers["intra"] > layers["inter"] > 0


def test_heads_alone_gossip_between_clusters_where_told_so() -> None:
    world = placed(rounds=8, range_m=70.0, inter="heads")
    world.live(600)
    head = {world.values("cluster", name)[-1] for name in world.devices}
    outside = [
        pair for (number, phase), pairs in meetings(world).items() if phase == 4 and number > 5 for pair in pairs
    ]
    assert outside
    assert all({float(name.removeprefix("device")) for name in pair} <= head for pair in outside)


def test_devices_without_places_are_clustered_by_their_labels() -> None:
    world = PeerWorld(bilayer_gossip, full(6), rounds=3, clusters=2)
    world.learners = {
        name: Labelled(index, counts=(9, 1) if index % 2 else (1, 9)) for index, name in enumerate(world.devices)
    }
    world.live(60)
    cluster = {each.node: each.value for each in world.recorded("cluster")}
    assert len({cluster[name] for name in world.devices[::2]}) == 1
    assert len({cluster[name] for name in world.devices[1::2]}) == 1
    assert cluster["device0"] != cluster["device1"]


def test_elected_heads_make_clusters_in_which_devices_gossip() -> None:
    world = placed(rounds=8, dkmeans="onehop", range_m=60.0)
    world.live(600)
    cluster = {each.node: each.value for each in world.recorded("cluster")}
    assert 1 <= len(set(cluster.values())) <= 10
    last = [each for each in world.recorded("gossip_exchanges") if each.labels["layer"] == "intra"]
    assert len(last) > 50


def test_an_isolated_device_keeps_what_it_learned() -> None:
    adjacency = np.zeros((3, 3), np.bool_)
    adjacency[1, 2] = adjacency[2, 1] = True
    world = PeerWorld(bilayer_gossip, adjacency, rounds=4)
    world.live(60)
    assert world.said("device0") == Counter()
    assert world.model("device0") == 4.0
    assert world.values("neighbours", "device0") == [0.0] * 4


def test_frozen_blocks_neither_change_nor_travel() -> None:
    world = PeerWorld(bilayer_gossip, full(2), rounds=3, frozen_blocks=1, clusters=1)
    world.live(60)
    assert {len(np.asarray(m.body["model"])) for m in world.sent if m.kind in ("accept", "give")} == {SIZE - 1}
    assert world.learners["device0"].held.tolist() == [0.0, 3.0, 3.0]


@pytest.mark.parametrize("seed", range(6))
def test_no_deadlock_over_a_net_that_loses_repeats_and_reorders(seed: int) -> None:
    adjacency, _ = geometric(12, 50.0, seed)
    world = PeerWorld(bilayer_gossip, adjacency, chance(seed), deadline_s=1.0, pair_timeout_s=0.5, clusters=2)
    for t in (1.0, 4.0):
        world.at(t, lambda: garbage(world))
    world.live(150)
    rounds = {name: max(world.values("round", name)) for name in world.devices if world.around[name]}
    assert min(rounds.values()) > 50
    assert max(rounds.values()) - min(rounds.values()) < 30
    assert {"wrong_shape", "missing_field", "unknown_kind", "stranger"} <= world.refused().keys()
    for pairs in meetings(world).values():
        paired = [name for pair in pairs for name in pair]
        assert Counter(paired).most_common(1)[0][1] <= 1


def garbage(world: PeerWorld) -> None:
    near, far = world.around["device0"][0], next(n for n in world.devices[1:] if n not in world.around["device0"])
    one, point = np.ones(1, np.int32), np.ones((1, 1), np.float32)
    bodies: tuple[tuple[str, Body], ...] = (
        ("advert", {}),
        (
            "advert",
            {"round": 1, "head": 0, "neighbours": 1, "who": one, "rounds": one, "points": np.ones(1, np.float32)},
        ),
        ("advert", {"round": 2**40, "head": 0, "neighbours": 1, "who": one, "rounds": one, "points": point}),
        ("ask", {"round": 1}),
        ("accept", {"nonce": 10**6, "samples": 1, "model": np.ones(SIZE + 1, np.float32)}),
        ("give", {"nonce": 10**6, "samples": 0, "model": np.ones(SIZE, np.float32)}),
        ("busy", {}),
        ("busy", {"nonce": 1, "final": 3}),
        ("gone", {"nonce": "none"}),
        ("nonsense", {}),
    )
    for kind, body in bodies:
        world.post(Sent(0.0, "device0", near, kind, body))
        world.post(Sent(0.0, "device0", far, kind, body))


def test_a_neighbour_that_dies_between_question_and_answer_costs_a_timeout_and_no_more() -> None:
    world = PeerWorld(bilayer_gossip, full(4), pair_timeout_s=2.0, deadline_s=3.0, clusters=1)
    world.at(10.05, lambda: world.crash("device2"))
    world.live(60)
    late = [each.value for each in world.recorded("neighbours") if each.t > 20.0]
    assert set(late) == {2.0}
    assert max(each.value for each in world.recorded("round_s") if each.t > 25.0) < 1.0


def test_who_accepted_a_device_that_gave_up_is_told_and_is_free_again() -> None:
    slow = lambda m: (3.0,) if m.kind == "accept" and m.t < 2.0 else (0.01,)  # noqa: E731  # one line says it all
    world = PeerWorld(bilayer_gossip, full(2), slow, rounds=30, pair_timeout_s=1.0, clusters=1)
    world.live(60)
    assert world.said()["gone"] >= 1
    assert world.refused()["late"] >= 1
    assert [world.values("round", name)[-1] for name in world.devices] == [30, 30]


def test_a_device_that_comes_back_goes_on_in_the_others_round() -> None:
    world = PeerWorld(bilayer_gossip, full(3), deadline_s=1.0, clusters=1, checkpoint_every=3)
    world.at(5.0, lambda: world.crash("device0"))
    world.at(25.0, lambda: world.start("device0"))
    world.live(50)
    last = {name: world.values("round", name)[-1] for name in world.devices}
    assert max(last.values()) - min(last.values()) <= 1
    assert [each.value for each in world.recorded("neighbours") if each.node == "device1"][-1] == 2.0


def test_a_device_is_not_kept_waiting_by_neighbours_that_still_learn() -> None:
    world = PeerWorld(bilayer_gossip, ring(3), rounds=10, deadline_s=2.0, clusters=1)
    world.learners["device0"].step_s = 8.0
    world.live(300)
    assert max(each.value for each in world.recorded("round_s") if each.node == "device1") < 8.0


def test_a_coordinator_has_no_part_in_it() -> None:
    world = World(bilayer_gossip, 2, rounds=3)
    world.run(30)
    assert world.sent == []
    assert world.values("round", "device1") == [1, 2, 3]


def test_the_classifier_of_the_small_mcunet_is_what_follows_its_eight_blocks() -> None:
    network = flatten(mcunet_small.build(mcunet_small.Parameters(), (3, 32, 32), 10))
    start = min(part.start for part in network.parts if part.child >= 8)
    assert start == 57_168
    assert len(network.weights) - start == (96 + 1) * 128 + (128 + 1) * 64 + (64 + 1) * 10
    assert max(layer.macs for layer in network.layers if layer.child == 8) == 96 * 128


@pytest.mark.parametrize("dkmeans", ["exact", "onehop"])
def test_devices_with_few_classes_each_learn_more_from_their_partners(dkmeans: str, tmp_path: Path) -> None:
    path = tmp_path / "bilayer.yaml"
    path.write_text(SCENARIO)
    plan = make_plan(load_scenario(path, (f"learning.algorithm.dkmeans={dkmeans}",)))
    ran = run_in("simulation", plan, tmp_path / "run")
    assert ran.outcome.status == "complete", ran.outcome.notes
    accuracy = ran.outcome.summary["test_accuracy_device_mean"]
    assert accuracy is not None
    assert accuracy > 0.6, "each holds four of ten classes: alone it would reach 0.4"
