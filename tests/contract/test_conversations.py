"""What algorithms say to each other, in good times and bad: no torch, no network, no real time."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from node_image import packing
from node_image.algorithms import centralized, fedasync, fedavg, fedbuff, fedprox, local_only
from node_image.parameters import read
from node_image.registry import ALGORITHMS
from node_image.runtime import Body
from tests.contract.conversation import COORDINATOR, PARTS, SIZE, Post, Sent, World, prompt

SYNCHRONOUS = ["fedavg", "fedprox"]
ASYNCHRONOUS = ["fedasync", "fedbuff"]
ON_ANY_MODEL = sorted(ALGORITHMS.keys() - {"eclm"})  # it needs a model of modules, which the fake learner has not
QUICK: dict[str, dict[str, Any]] = {
    "fedavg": {},
    "fedprox": {},
    "fedasync": {"local_steps": 1},
    "fedbuff": {"local_steps": 1},
}


def model_of(world: World) -> list[float]:
    """The coordinator's last checkpoint."""
    model = world.checkpoints[COORDINATOR]["model"]
    assert isinstance(model, np.ndarray)
    return [float(value) for value in model]


def ones(value: float = 1.0) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.full(SIZE, value, np.float32)


def lose(matches: Callable[[Sent], bool]) -> Post:
    """Messages that match are lost, all others arrive."""
    return lambda message: () if matches(message) else prompt(message)


# --- FedAvg ---


def test_a_fedavg_round_asks_every_device_once_and_averages_by_samples() -> None:
    world = World(fedavg, 3, rounds=4)
    for index, learner in enumerate(world.learners.values()):
        learner.drift, learner.own_samples = float(index), 10 * (index + 1)
    world.run(60)
    assert world.said() == Counter(join=3, model=12, update=12)
    assert world.values("round") == [1, 2, 3, 4]
    assert world.values("aggregated_updates") == [3, 3, 3, 3]
    mean_drift = (10 * 0 + 20 * 1 + 30 * 2) / 60
    assert model_of(world) == pytest.approx([4 * mean_drift] * SIZE)
    assert world.values("test_loss") == pytest.approx([mean_drift * number for number in (1, 2, 3, 4)])


def test_the_order_in_which_fedavg_updates_arrive_changes_no_bit_of_the_model() -> None:
    def run(delays: tuple[float, ...]) -> bytes:
        def post(message: Sent) -> tuple[float, ...]:
            return (delays[int(message.sender[-1])] if message.kind == "update" else 0.01,)

        world = World(fedavg, 4, post, rounds=1)
        for learner, drift in zip(world.learners.values(), (1e17, 1.0, -1e17, 1.0), strict=True):
            learner.drift = drift  # in float64, 1e17 + 1 is 1e17
        world.run(60)
        model = world.checkpoints[COORDINATOR]["model"]
        assert isinstance(model, np.ndarray)
        return model.tobytes()

    assert run((0.1, 0.2, 0.3, 0.4)) == run((0.4, 0.3, 0.2, 0.1)) == run((0.2, 0.4, 0.1, 0.3))


def test_a_device_that_never_answers_costs_fedavg_a_deadline_and_not_the_run() -> None:
    world = World(fedavg, 3, lose(lambda m: m.sender == "device1" and m.kind == "update"), rounds=5, deadline_s=2.0)
    world.run(60)
    assert world.values("aggregated_updates") == [2] * 5
    assert world.values("round_s") == pytest.approx([2.0] * 5)


def test_without_a_fixed_deadline_fedavg_waits_one_and_a_half_times_the_slowest_answer_it_saw() -> None:
    world = World(fedavg, 2, lose(lambda m: m.sender == "device1" and m.t > 1.0), rounds=20)
    world.run(60)
    answer_s = 0.01 + 0.1 + 0.01
    assert world.values("round_s")[0] == pytest.approx(answer_s)
    assert world.values("round_s")[-1] == pytest.approx(1.5 * answer_s)


def test_a_fedavg_update_that_comes_after_its_round_closed_is_counted_as_late() -> None:
    def post(message: Sent) -> tuple[float, ...]:
        return (3.0 if message.sender == "device1" and message.kind == "update" else 0.01,)

    world = World(fedavg, 2, post, rounds=5, deadline_s=2.0)
    world.run(60)
    assert world.refused()["late"] >= 1
    assert set(world.values("aggregated_updates")) == {1}


def test_duplicated_updates_count_once_in_fedavg() -> None:
    world = World(fedavg, 2, lambda m: (0.01, 0.011) if m.sender == "device0" and m.kind == "update" else (0.02,))
    world.run(3)
    assert set(world.values("aggregated_updates")) == {2}
    assert world.refused()["duplicate"] == len(world.values("round"))


def test_a_device_that_restarts_within_a_fedavg_round_is_asked_again() -> None:
    world = World(fedavg, 2, rounds=1)
    world.learners["device1"].step_s = 5.0
    world.at(2.0, lambda: world.crash("device1"))
    world.at(3.0, lambda: world.start("device1"))
    world.run(60)
    assert world.values("aggregated_updates") == [2]
    assert world.values("round_s")[0] == pytest.approx(3.0 + 5.0, abs=0.1)


def test_a_device_whose_update_was_lost_asks_for_the_model_again() -> None:
    lost = lose(lambda m: m.sender == "device0" and m.kind == "update" and m.t < 1.0)
    world = World(fedavg, 1, lost, rounds=2, rejoin_after_s=4.0)
    world.run(60)
    assert world.values("round") == [1, 2]
    assert world.said("device0") == Counter(join=2, update=3)


def test_a_fedavg_coordinator_goes_on_from_its_checkpoint() -> None:
    world = World(fedavg, 2, rounds=30)
    world.at(2.05, lambda: world.crash(COORDINATOR))
    world.at(6.0, lambda: world.start(COORDINATOR))
    world.run(60)
    before = [each.value for each in world.records if each.metric == "round" and each.t < 2.05]
    assert world.values("round") == [*before, *range(len(before) + 1, 31)]
    assert model_of(world) == [30.0] * SIZE


def test_a_coordinator_that_never_saved_starts_anew_and_devices_find_it() -> None:
    world = World(fedavg, 2, rounds=3, checkpoint_every=100, rejoin_after_s=2.0)
    world.at(0.05, lambda: world.crash(COORDINATOR))
    world.at(5.0, lambda: world.start(COORDINATOR))
    world.run(90)
    assert world.values("round") == [1, 2, 3]


def test_fedavg_asks_only_a_share_of_the_devices_and_not_always_the_same() -> None:
    world = World(fedavg, 10, rounds=8, fraction=0.25)
    world.run(60)
    asked: dict[int, set[str]] = {}
    for message in world.sent:
        if message.kind == "model":
            asked.setdefault(int(np.asarray(message.body["round"])), set()).add(message.dest)
    assert {len(devices) for devices in asked.values()} == {3}
    assert len(set().union(*asked.values())) > 3


def test_where_all_those_asked_are_gone_fedavg_asks_others() -> None:
    world = World(fedavg, 4, rounds=6, fraction=0.25, deadline_s=1.0)
    world.at(0.5, lambda: world.crash("device0", "device1", "device2"))
    world.run(60)
    assert world.values("round") == [1, 2, 3, 4, 5, 6]


def test_a_fedavg_round_stays_open_until_enough_updates_came() -> None:
    world = World(fedavg, 3, rounds=1, min_updates=3, deadline_s=1.0)
    world.learners["device2"].step_s = 7.0
    world.run(60)
    assert world.values("aggregated_updates") == [3]


def test_fedavg_waits_when_all_devices_are_gone_and_goes_on_when_one_returns() -> None:
    world = World(fedavg, 1, rounds=40)
    world.at(2.0, lambda: world.crash("device0"))
    world.at(30.0, lambda: world.start("device0"))
    world.run(100)
    assert world.values("round")[-1] == 40


def test_a_fedavg_device_that_was_away_answers_only_the_newest_model() -> None:
    held_back = [0.0]

    def post(message: Sent) -> tuple[float, ...]:
        away = message.dest == "device1" and 1.0 < message.t < 9.0
        held_back[0] += away
        return (10.0 - message.t if away else 0.01,)

    world = World(fedavg, 2, post, deadline_s=1.0)
    world.run(10.5)
    assert held_back[0] > 5
    assert world.refused()["late"] <= 2  # it may have begun on the first that came


# --- FedAsync ---


def test_fedasync_draws_the_length_of_a_phase_where_told_so() -> None:
    world = World(fedasync, 1, local_steps=4, least_steps=2)
    world.run(60)
    assert set(world.learners["device0"].steps) == {2, 3, 4}
    always = World(fedasync, 1, local_steps=4)
    always.run(10)
    assert set(always.learners["device0"].steps) == {4}


def test_the_shortest_phase_is_no_longer_than_the_longest() -> None:
    with pytest.raises(ValueError, match=r"least_steps: must be at most local_steps, 4 \(found 5\)"):
        read(fedasync.Parameters, {"local_steps": 4, "least_steps": 5})


def test_fedasync_waits_for_nobody_and_counts_staleness() -> None:
    world = World(fedasync, 2, local_steps=1, checkpoint_every=1)
    world.learners["device1"].step_s = 2.0
    world.run(10)
    fast = sum(each.sender == "device0" and each.kind == "update" for each in world.sent)
    slow = sum(each.sender == "device1" and each.kind == "update" for each in world.sent)
    assert fast > 10 * slow > 0
    assert max(world.values("staleness")) > 10
    assert world.values("version") == list(range(1, len(world.values("version")) + 1))


def test_fedasync_mixes_as_the_closed_form_says() -> None:
    world = World(fedasync, 1, local_steps=1, mixing=0.5, staleness="constant", checkpoint_every=1)
    world.run(2)
    updates = len(world.values("version"))
    # One device, always fresh: each update is the model + 1, so that each mix adds 0.5.
    assert model_of(world) == pytest.approx([0.5 * updates] * SIZE)
    assert set(world.values("staleness")) == {0.0}


def test_fedasync_with_devices_of_every_speed_is_the_unrolled_closed_form() -> None:
    """G_T = prod(1 - a_i) G_0 + sum_i a_i prod_{j > i}(1 - a_j) u_i, u_i in order of arrival and a_i by staleness."""
    world = World(fedasync, 3, local_steps=1, mixing=0.3, checkpoint_every=1)
    for index, learner in enumerate(world.learners.values()):
        learner.drift, learner.step_s = 1.0 - index, 0.1 + 0.17 * index
    world.run(4)
    staleness = world.values("staleness")
    updates = [float(np.asarray(each.body["model"])[0]) for each in world.sent if each.kind == "update"]
    weights = [0.3 * (age + 1) ** -0.5 for age in staleness]
    assert len(updates) - len(weights) in (0, 1), "one may be on its way"
    assert max(staleness) >= 3
    terms = [a * np.prod([1 - b for b in weights[i + 1 :]]) * updates[i] for i, a in enumerate(weights)]
    assert model_of(world) == pytest.approx([sum(terms)] * SIZE, rel=1e-5)


@pytest.mark.parametrize(
    ("staleness", "expected"), [("constant", 0.6), ("hinge", 0.6 / (10 * (8 - 4) + 1)), ("polynomial", 0.6 / 3)]
)
def test_a_fedasync_update_weighs_what_its_staleness_function_says(staleness: str, expected: float) -> None:
    assert fedasync.weight(fedasync.Parameters(staleness=staleness), 8) == pytest.approx(expected)
    assert fedasync.weight(fedasync.Parameters(staleness=staleness), 0) == pytest.approx(0.6)


def test_fedasyncs_mixing_halves_at_the_versions_it_is_told() -> None:
    params = fedasync.Parameters(mixing=0.8, halve_mixing_every=10)
    assert [fedasync.weight(params, 0, version) for version in (0, 9, 10, 20, 35)] == [0.8, 0.8, 0.4, 0.2, 0.1]


def test_a_duplicated_fedasync_update_is_neither_mixed_in_nor_answered() -> None:
    world = World(fedasync, 1, lambda m: (0.01, 0.02) if m.kind == "update" else (0.01,), local_steps=1)
    world.run(5)
    models, updates = world.said()["model"], world.said()["update"]
    assert world.refused()["duplicate"] in (updates, updates - 1)
    assert models - updates in (0, 1)


def test_duplicated_models_do_not_start_a_second_conversation_for_good() -> None:
    world = World(fedasync, 1, lambda m: (0.01, 0.05) if m.kind == "model" else (0.01,), local_steps=1)
    world.run(20)
    assert world.said()["update"] < 20 / 0.1
    assert world.said()["model"] < 20 / 0.1


def test_a_fedasync_update_that_is_too_old_is_refused_and_answered_with_the_new_model() -> None:
    world = World(fedasync, 2, local_steps=1, max_staleness=4)
    world.learners["device1"].step_s = 2.0
    world.run(10)
    assert world.refused()["stale"] == 4
    assert max(world.values("staleness")) <= 4
    assert sum(each.dest == "device1" and each.kind == "model" for each in world.sent) == 1 + 4


def test_a_fedasync_device_that_lost_its_answer_asks_again() -> None:
    world = World(fedasync, 1, lose(lambda m: m.kind == "model" and 1.0 < m.t < 1.5), local_steps=1, rejoin_after_s=3.0)
    world.run(20)
    assert world.said("device0")["join"] == 2
    assert max(each.t for each in world.sent if each.kind == "update") > 19


def test_a_fedasync_coordinator_goes_on_from_its_checkpoint_and_devices_with_it() -> None:
    world = World(fedasync, 3, local_steps=1, checkpoint_every=2)
    world.at(5.0, lambda: world.crash(COORDINATOR))
    world.at(8.0, lambda: world.start(COORDINATOR))
    world.run(12)
    versions = world.values("version")
    after = [each.value for each in world.records if each.metric == "version" and each.t > 8.0]
    assert 0 <= max(versions[: -len(after)]) - (after[0] - 1) < 2
    assert {each.sender for each in world.sent if each.kind == "update" and each.t > 11} == set(world.devices)
    assert min(world.values("staleness")) >= 0


def test_fedasync_evaluates_by_the_clock_and_only_what_changed() -> None:
    world = World(fedasync, 1, local_steps=1, evaluate_every_s=2.0)
    world.at(5.0, lambda: world.crash("device0"))
    world.run(20)
    assert len(world.values("test_accuracy")) == 3


@pytest.mark.parametrize("name", [*ASYNCHRONOUS, *SYNCHRONOUS])
def test_the_coordinators_learner_ends_with_the_newest_model(name: str) -> None:
    world = World(ALGORITHMS[name], 2, checkpoint_every=1)
    world.run(5.3)
    assert world.learners[COORDINATOR].held.tolist() == model_of(world) != [0.0] * SIZE


# --- FedAvg: over-selection ---


def test_with_over_selection_a_fedavg_round_closes_when_as_many_as_wanted_answered() -> None:
    world = World(fedavg, 6, rounds=10, fraction=0.5, over_selection=0.4, deadline_s=50.0)
    world.learners["device5"].step_s = 4.0
    world.run(200)
    asked = Counter(str(each.body["round"]) for each in world.sent if each.kind == "model")
    assert set(asked.values()) == {5}, "ceil(1.4 x 3)"
    assert set(world.values("aggregated_updates")) == {3}
    assert max(world.values("round_s")) < 1.0, "nobody waited for the slowest"
    assert world.refused().keys() == {"late"}, "its work, and what came fourth and fifth, was in vain"


def test_without_over_selection_every_device_that_was_asked_is_waited_for() -> None:
    world = World(fedavg, 4, rounds=3, deadline_s=50.0)
    world.learners["device3"].step_s = 4.0
    world.run(60)
    assert world.values("aggregated_updates") == [4, 4, 4]
    assert not world.refused()


def test_over_selection_asks_no_more_devices_than_there_are() -> None:
    world = World(fedavg, 2, rounds=3, over_selection=3.0)
    world.run(60)
    assert world.values("aggregated_updates") == [2, 2, 2]


# --- FedProx ---


def test_fedprox_pulls_towards_the_model_received_and_averages_as_fedavg_does() -> None:
    prox, plain = World(fedprox, 3, rounds=4, mu=0.3), World(fedavg, 3, rounds=4)
    for world in (prox, plain):
        world.run(60)
    assert set(prox.learners["device0"].pulls) == {0.3}
    assert set(plain.learners["device0"].pulls) == {0.0}
    assert model_of(prox) == model_of(plain)
    assert prox.said() == plain.said()


def test_fedprox_stragglers_do_part_of_the_work_and_send_what_they_have() -> None:
    world = World(fedprox, 4, rounds=20, local_steps=10, stragglers=0.5)
    world.run(600)
    assert set(world.values("aggregated_updates")) == {4}
    steps = [step for learner in world.learners.values() for step in learner.steps]
    part = [step for step in steps if step < 10]
    assert min(steps) >= 1
    assert max(steps) == 10
    assert 0.25 < len(part) / len(steps) < 0.6, "half, less those who drew all ten"
    assert len(set(part)) > 5


def test_a_slow_fedprox_device_does_the_steps_there_is_time_for() -> None:
    world = World(fedprox, 2, rounds=5, local_steps=10, phase_s=1.0)
    world.learners["device1"].step_s = 0.45
    world.run(60)
    assert world.learners["device0"].steps == [10] * 5
    assert world.learners["device1"].steps == [10, 2, 2, 2, 2], "before the first it does not know"


# --- FedBuff ---


def test_fedbuff_takes_a_step_of_the_mean_change_when_the_buffer_is_full() -> None:
    world = World(fedbuff, 3, local_steps=1, buffer=3, server_rate=0.5, checkpoint_every=1)
    for index, learner in enumerate(world.learners.values()):
        learner.drift = float(index)
    world.run(0.14)  # one update of each
    assert world.values("version") == [1]
    assert world.values("aggregated_updates") == [3]
    assert model_of(world) == pytest.approx([0.5 * (0 + 1 + 2) / 3] * SIZE)


def test_fedbuff_answers_every_update_at_once_with_the_newest_model() -> None:
    world = World(fedbuff, 2, local_steps=1, buffer=5)
    world.run(10)
    updates = world.said()["update"]
    assert world.said()["model"] - updates in (0, 1, 2)
    assert len(world.values("version")) == sum(world.values("aggregated_updates")) / 5
    assert updates / 5 - len(world.values("version")) < 2
    assert not world.refused()


def test_a_stale_fedbuff_change_weighs_less() -> None:
    world = World(fedbuff, 2, local_steps=1, buffer=1, polynomial_a=0.5, checkpoint_every=1)
    world.learners["device0"].drift = 0.0
    world.learners["device1"].step_s = 1.0
    world.run(1.1)
    staleness = max(world.values("staleness"))
    assert staleness > 5
    assert model_of(world) == pytest.approx([(staleness + 1) ** -0.5] * SIZE)


def test_fedbuff_with_a_buffer_of_one_is_fedasync_while_nothing_is_stale() -> None:
    buffered = World(fedbuff, 1, local_steps=1, buffer=1, server_rate=0.6, checkpoint_every=1)
    mixed = World(fedasync, 1, local_steps=1, mixing=0.6, proximal=0.0, checkpoint_every=1)
    for world in (buffered, mixed):
        world.run(5)
    assert len(mixed.values("version")) > 20
    assert buffered.values("version") == mixed.values("version")
    assert model_of(buffered) == pytest.approx(model_of(mixed), rel=1e-5)


def test_a_duplicated_fedbuff_update_counts_once_although_the_version_stays() -> None:
    world = World(fedbuff, 1, lambda m: (0.01, 0.02) if m.kind == "update" else (0.01,), local_steps=1, buffer=4)
    world.run(5)
    assert world.refused()["duplicate"] in (world.said()["update"], world.said()["update"] - 1)
    assert sum(world.values("aggregated_updates")) <= world.said()["update"]


def test_after_a_crash_fedbuff_refuses_changes_of_models_it_no_longer_knows_and_goes_on() -> None:
    world = World(fedbuff, 3, local_steps=1, checkpoint_every=1)
    for learner in world.learners.values():
        learner.step_s = 1.0
    world.at(5.5, lambda: world.crash(COORDINATOR))
    world.at(5.9, lambda: world.start(COORDINATOR))
    world.run(20)
    assert world.refused() == Counter(unknown_base=3)
    assert max(each.t for each in world.records if each.metric == "version") > 18


# --- fewer bits, fewer neurons ---


def forms(world: World, kind: str) -> set[str]:
    """In which fields models or updates travelled."""
    return {field for each in world.sent if each.kind == kind for field in each.body if field[1:].isdigit()}


@pytest.mark.parametrize("name", [*ASYNCHRONOUS, *SYNCHRONOUS])
def test_in_8_bits_both_ways_the_model_is_nearly_that_of_32_bits(name: str) -> None:
    exact, coded = (World(ALGORITHMS[name], 3, **QUICK[name], bits=bits, checkpoint_every=1) for bits in (32, 8))
    for world in (exact, coded):
        for index, learner in enumerate(world.learners.values()):
            learner.drift = 1.0 + index
        world.run(5)
    assert exact.said() == coded.said()
    assert forms(coded, "model") == forms(coded, "update") == {"q8"}
    assert model_of(coded) == pytest.approx(model_of(exact), rel=0.02)


@pytest.mark.parametrize("name", [*ASYNCHRONOUS, *SYNCHRONOUS])
def test_sending_a_model_in_few_bits_takes_nothing_from_the_model(name: str) -> None:
    """A device that changes nothing says just that: what it compares with are the weights as they arrived."""
    world = World(ALGORITHMS[name], 1, **QUICK[name], bits=3, checkpoint_every=1)
    world.learners["device0"].drift = 0.0
    start = np.array([0.3, 1.0, -0.2], np.float32)
    world.checkpoints[COORDINATOR] = {"round": 0, "version": 0, "model": start}
    world.run(5)
    assert world.values("version")[-1] > 5
    assert model_of(world) == start.tolist()
    arrived = packing.unpack_model(packing.pack_model(start, PARTS, 3), PARTS)
    assert world.learners["device0"].held.tolist() == arrived.tolist() != start.tolist()


@pytest.mark.parametrize("name", [*ASYNCHRONOUS, *SYNCHRONOUS])
def test_updates_too_small_for_the_codes_of_the_model_are_not_lost(name: str) -> None:
    world = World(ALGORITHMS[name], 1, **QUICK[name], bits=3, checkpoint_every=1)
    world.learners["device0"].drift = 0.001
    world.checkpoints[COORDINATOR] = {"round": 0, "version": 0, "model": ones()}
    world.run(5)
    assert min(model_of(world)) > 1.005, "a step of the codes is 0.33"


@pytest.mark.parametrize("bits", [8, 32])
@pytest.mark.parametrize("name", [*ASYNCHRONOUS, *SYNCHRONOUS])
def test_devices_that_train_some_neurons_send_those_and_move_nothing_else(name: str, bits: int) -> None:
    world = World(ALGORITHMS[name], 2, **QUICK[name], bits=bits, checkpoint_every=1)
    for learner in world.learners.values():
        learner.selected = np.array([False, True, True])
    world.run(5)
    assert forms(world, "update") == {f"p{bits}"}
    frozen, *head = model_of(world)
    assert frozen == 0.0
    assert min(head) > 1.0


@pytest.mark.parametrize("name", ASYNCHRONOUS)
def test_an_update_in_few_bits_on_a_model_that_was_not_sent_is_refused(name: str) -> None:
    world = World(ALGORITHMS[name], 1, bits=8)
    forged = packing.pack_update(ones(0.0), ones(), PARTS, 8)
    world.at(1.0, lambda: world.post(Sent(1.0, "device0", COORDINATOR, "update", {"base": 7, "phase": 9, **forged})))
    world.run(5)
    assert world.refused() == Counter(unknown_base=1)


# --- devices that have little to offer ---


@pytest.mark.parametrize("name", [*ASYNCHRONOUS, *SYNCHRONOUS])
def test_a_device_without_samples_never_joins_and_the_others_learn(name: str) -> None:
    parameters = QUICK[name] | ({"first_deadline_s": 5.0} if name in SYNCHRONOUS else {})
    world = World(ALGORITHMS[name], 3, **parameters)
    world.learners["device1"].own_samples = 0
    world.run(15)
    assert not world.said("device1")
    assert world.values("version")[-1] > 3
    assert not world.refused()


@pytest.mark.parametrize("name", [*ASYNCHRONOUS, *SYNCHRONOUS])
def test_an_update_of_a_model_three_versions_old_is_refused_or_weighs_less(name: str) -> None:
    def late(message: Sent) -> tuple[float, ...]:  # the first model that device1 gets comes when it is old
        first = message.dest == "device1" and message.kind == "model" and message.t < 0.1
        return (1.0,) if first else (0.01,)

    parameters = QUICK[name] | ({"deadline_s": 0.2} if name in SYNCHRONOUS else {})
    world = World(ALGORITHMS[name], 4, late, **parameters)
    world.run(10)
    if name in SYNCHRONOUS:
        assert world.refused() in (Counter(late=1), Counter(late=2)), "it may have gone on with one that was closing"
    else:
        assert max(world.values("staleness")) >= 3
        assert not world.refused()
    assert max(each.t for each in world.sent if each.sender == "device1" and each.kind == "update") > 9


@pytest.mark.parametrize("name", ASYNCHRONOUS)
def test_an_update_older_than_allowed_is_refused_as_stale_and_its_sender_goes_on(name: str) -> None:
    world = World(ALGORITHMS[name], 4, local_steps=1, max_staleness=2)
    world.learners["device1"].step_s = 1.0
    world.run(10)
    assert world.refused().keys() == {"stale"}
    assert max(world.values("staleness")) <= 2
    assert max(each.t for each in world.sent if each.sender == "device1" and each.kind == "update") > 9


# --- Centralised ---


def test_centralized_collects_every_sample_exactly_once() -> None:
    world = World(centralized, 3, lambda m: (0.01, 0.02), chunk_samples=4, resend_after_s=1.0)
    for learner in world.learners.values():
        learner.own_samples = 50
    world.run(20)
    assert sorted(world.learners[COORDINATOR].taken) == [100 * k + j for k in range(3) for j in range(50)]
    assert world.said()["samples"] <= 2.2 * 3 * 13  # each chunk twice at most, and the first messages


def test_centralized_sends_what_was_lost_again() -> None:
    lost = lose(lambda m: m.kind in ("samples", "have") and m.t < 3.0 and int(m.t * 1000) % 2 == 0)
    world = World(centralized, 3, lost, chunk_samples=2, resend_after_s=1.0)
    world.run(30)
    assert sorted(world.learners[COORDINATOR].taken) == [100 * k + j for k in range(3) for j in range(10)]


def test_a_centralized_coordinator_that_restarts_keeps_its_model_and_gets_the_samples_again() -> None:
    world = World(centralized, 2, chunk_samples=5, resend_after_s=1.0, local_steps=1, checkpoint_every=1)
    world.at(5.0, lambda: world.crash(COORDINATOR))
    world.at(6.0, lambda: world.start(COORDINATOR))
    world.run(20)
    assert sorted(world.learners[COORDINATOR].taken) == [100 * k + j for k in range(2) for j in range(10)]
    assert model_of(world)[0] > world.learners[COORDINATOR].phases


def test_a_centralized_device_that_restarts_sends_only_what_is_missing() -> None:
    world = World(centralized, 1, chunk_samples=2, resend_after_s=1.0)
    world.at(0.035, lambda: world.crash("device0"))
    world.at(2.0, lambda: world.start("device0"))
    world.run(10)
    assert world.learners[COORDINATOR].taken == list(range(10))


# --- local only ---


def test_local_only_devices_say_nothing_and_evaluate_by_the_clock() -> None:
    world = World(local_only, 2, local_steps=5, evaluate_every_s=2.0)
    world.run(9.5)
    assert world.sent == []
    assert len(world.values("test_accuracy", "device0")) == 4
    assert world.values("test_accuracy") == []


# --- all of them ---

GARBAGE: tuple[tuple[str, Body], ...] = (
    ("nonsense", {}),
    ("update", {}),
    ("update", {"round": "one", "base": -1, "phase": 1, "n": 5, "model": ones()}),
    ("update", {"round": 1, "base": 0, "phase": 2, "n": True, "model": np.ones(SIZE + 1, np.float32)}),
    ("update", {"round": 1, "base": 0, "phase": 3, "n": 1, "model": ones(float("nan"))}),
    ("update", {"round": 1, "base": 0, "phase": 3, "n": 1, "model": ones(float("inf"))}),
    ("update", {"round": 1, "base": 0, "phase": 3, "n": 1, "model": np.ones(SIZE, np.float64)}),
    ("update", {"round": 1, "base": 0, "phase": 3, "n": 1, "model": 3}),
    ("model", {"round": 10**9, "base": 10**9, "model": np.ones((SIZE, 1), np.float32)}),
    ("samples", {"first": 0}),
    ("samples", {"first": 0, "x": 1, "y": 2}),
    ("samples", {"first": 10, "x": np.zeros(4, np.uint8), "y": np.zeros(3, np.uint8)}),
    ("have", {"next": "all"}),
    ("have", {"next": -3}),
)


@pytest.mark.parametrize("name", ON_ANY_MODEL)
def test_garbage_is_counted_and_stops_nobody(name: str) -> None:
    world = World(ALGORITHMS[name], 2)

    def throw() -> None:
        for kind, body in GARBAGE:
            world.post(Sent(0.0, "device0", COORDINATOR, kind, body))
            if name != "local_only":
                world.post(Sent(0.0, COORDINATOR, "device1", kind, body))

    for t in (0.05, 0.5, 2.0, 4.01):
        world.at(t, throw)
    world.run(30)
    if name != "local_only":
        assert world.refused().total() > len(GARBAGE)
    if name not in ("local_only", "elabip"):  # elabip charges for mathematics of its own, at one operation a second
        assert {each.t > 20 for each in world.records if each.metric == "local_phase_s"} >= {True}
    if name in (*ASYNCHRONOUS, *SYNCHRONOUS):
        assert {"missing_field", "wrong_field", "wrong_shape", "not_finite", "unknown_kind"} <= world.refused().keys()


@pytest.mark.parametrize("name", ["centralized", "local_only", *ASYNCHRONOUS, *SYNCHRONOUS])
def test_a_learner_that_diverges_is_counted_and_the_run_goes_on(name: str) -> None:
    world = World(ALGORITHMS[name], 2)
    world.learners["device0"].diverges = True
    if name == "centralized":  # there it is the coordinator that learns
        world.at(5.0, lambda: setattr(world.learners[COORDINATOR], "diverges", True))
    world.run(200)
    assert world.refused()["diverged"] > 0
    assert world.values("local_phase_s", COORDINATOR if name == "centralized" else "device1")


@pytest.mark.parametrize("name", ON_ANY_MODEL)
def test_devices_without_a_coordinator_wait_and_speak_ever_more_rarely(name: str) -> None:
    world = World(ALGORITHMS[name], 2)
    world.run(200, start=("device0", "device1"))
    assert len(world.sent) <= 2 * 21
    assert world.said().keys() <= {"join"}


@pytest.mark.parametrize("name", ON_ANY_MODEL)
def test_the_same_world_gives_the_same_conversation(name: str) -> None:
    def run() -> list[tuple[float, str, str, str]]:
        world = World(ALGORITHMS[name], 3)
        world.run(5)
        return [(each.t, each.sender, each.dest, each.kind) for each in world.sent]

    assert run() == run()
