"""ELABiP: what device and coordinator say to each other, in good times and bad, what it costs, and that it learns."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from node_image import distillation, knowledge, readout
from node_image.algorithms import elabip
from node_image.algorithms.elabip_parameters import Parameters
from node_image.kd.strategy import Setting
from node_image.kd.student import StudentPrior, StudentPupil
from node_image.learner import Learner
from node_image.message import frame_bytes
from node_image.network import Mask, Part
from node_image.outcomes import DivergedError, Evaluation, Phase
from node_image.packing import RefusedError
from node_image.parameters import read
from node_image.plasticity import RATES
from node_image.runtime import Body, Cost
from node_image.spec import Chosen, TaskSpec
from tests.contract.conversation import COORDINATOR, FakeLearner, Post, Sent, World, prompt
from tests.contract.worlds import run_in
from tests.plans import star

Vector = NDArray[np.float32]
FEATURES, CLASSES, BELOW, PUBLIC = 4, 3, 5, 6
HEAD = CLASSES * (FEATURES + 1)
PARTS = (
    Part("0.weight", 0, BELOW, (BELOW, 1), 0),
    Part("1.weight", BELOW, BELOW + CLASSES * FEATURES, (CLASSES, FEATURES), 1),
    Part("1.bias", BELOW + CLASSES * FEATURES, BELOW + HEAD, (CLASSES,), 1),
)
SIZE = PARTS[-1].end
SECONDS_PER_MAC = 1e-5  # a phase of the readout takes 0.2 s


@dataclass
class TinyLearner:
    """A sample is its number; its class is that number modulo 3, and its features show the class and little else.

    Feature weights shift all features by their mean. Training moves those that may a `drift` of the way to 1 and takes
    0.1 s. Eight samples are there at first; the others come at `arriving` a second (None: all are there).
    """

    index: int
    drift: float = 0.25
    own_samples: int = 60
    arriving: float | None = None
    diverges: bool = False
    provisioned: bool = True
    parameters: int = SIZE
    parts: tuple[Part, ...] = PARTS
    head_start: int = BELOW
    ready_s: float = 0.0
    phases: int = 0
    held: Vector = field(default_factory=lambda: np.zeros(SIZE, np.float32))
    taken: list[int] = field(default_factory=list)

    @property
    def public(self) -> NDArray[np.uint8]:
        return np.arange(PUBLIC if self.provisioned else 0, dtype=np.uint8)

    def weights(self) -> Vector:
        return self.held.copy()

    def load(self, weights: Vector) -> None:
        assert weights.dtype == np.float32
        assert weights.shape == (SIZE,)
        assert np.isfinite(weights).all()
        self.held = weights

    def samples(self, now: float) -> int:
        return self.own_samples if self.arriving is None else min(self.own_samples, int(8 + now * self.arriving))

    def until_phase_s(self, now: float) -> float:
        return 0.0

    def cost(self, steps: int, now: float, trainable: Mask | None = None) -> Cost:
        return Cost(0.1 / SECONDS_PER_MAC, 0)

    def train(self, steps: int, now: float, rng: np.random.Generator, *args: Any) -> Phase:
        if self.diverges:
            raise DivergedError("told to")
        (trainable,) = args[1:]
        self.held = self.held + np.where(trainable, self.drift * (1 - self.held), 0).astype(np.float32)
        self.phases += 1
        return Phase(1.0, steps, steps)

    def raw(self, first: int, count: int, now: float = 0.0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        chosen = np.arange(first, min(first + count, self.own_samples), dtype=np.uint8)
        return chosen, chosen % CLASSES

    def features(self, x: NDArray[np.uint8]) -> Vector:
        noise = 0.1 * np.sin(np.outer(x.astype(np.float64) + 10 * self.index, np.arange(1, FEATURES + 1)))
        shown = np.eye(CLASSES, FEATURES)[x % CLASSES] + noise + self.held[:BELOW].mean()
        found: Vector = shown.astype(np.float32)
        return found

    def narrower(self, share: float) -> "TinyLearner":
        """As wide as this one, with a memory of its own."""
        return replace(self, held=np.zeros(SIZE, np.float32), phases=0)

    def features_cost(self, samples: int) -> Cost:
        return Cost(float(samples), 0)

    def evaluation_cost(self) -> Cost:
        return Cost(1.0, 0)

    def evaluate(self, weights: Vector | None = None) -> Evaluation:
        tested = self.held if weights is None else weights
        labels = np.arange(30) % CLASSES
        h = readout.extended(self.features(np.arange(30, dtype=np.uint8)))
        found = readout.accuracy(readout.unflatten(tested[BELOW:], CLASSES), h, labels)
        return Evaluation(found, float(tested[0]), {}, len(labels))


class Town(World):
    """A world of tiny learners; `make` gives each life of a node its learner."""

    def __init__(self, devices: int = 2, post: Post = prompt, **parameters: Any) -> None:
        super().__init__(cast(Any, elabip), devices, post, **parameters)
        self.macs_per_s = 1 / SECONDS_PER_MAC
        self.make: Callable[[int], TinyLearner] = TinyLearner

    def start(self, name: str) -> None:
        index = self.devices.index(name) if name in self.devices else -1
        self.real_learners[name] = cast(Learner, self.make(index))
        super().start(name)

    def learner(self, name: str = COORDINATOR) -> TinyLearner:
        return cast(TinyLearner, self.real_learners[name])

    def bodies(self, kind: str, sender: str | None = None) -> list[Body]:
        return [each.body for each in self.sent if each.kind == kind and sender in (None, each.sender)]


def test_the_fake_has_what_the_contract_fake_has() -> None:
    assert {"weights", "load", "samples", "train", "features"} <= set(dir(TinyLearner)) & set(dir(FakeLearner))


def lose(matches: Callable[[Sent], bool]) -> Post:
    return lambda message: () if matches(message) else prompt(message)


def array(body: Body, *names: str) -> NDArray[np.generic]:
    (value,) = (each for name, each in body.items() if isinstance(each, np.ndarray) and (not names or name in names))
    return value


KINDS = ("features", "full", "logits", "none", "stats", "student")


def way(kd: str) -> dict[str, Any]:
    """Parameters of a way to share knowledge: a full student is one of kd student."""
    return {"kd": "student", "student": "full", "beta": 0.3} if kd == "full" else {"kd": kd}


# --- the conversation ---


@pytest.mark.parametrize("kd", KINDS)
def test_devices_learn_what_the_coordinator_then_knows(kd: str) -> None:
    town = Town(3, **way(kd), ridge=0.1)
    town.run(20)
    assert town.refused().keys() <= {"frozen"}
    assert town.values("test_accuracy")[-1] > 0.9
    assert town.values("aggregated_updates")


def test_features_are_trained_together_until_enough_exchanges_were_made_and_then_frozen() -> None:
    town = Town(3, critical_exchanges=2)
    town.run(10)
    used = [each for each in town.sent if each.kind == "features" and each.dest == COORDINATOR]
    assert len(used) - town.refused()["frozen"] == 2 * 3
    assert town.said()["frozen"] == 3
    frozen = [town.learner(name).held[:BELOW].tobytes() for name in (COORDINATOR, *town.devices)]
    assert len(set(frozen)) == 1, "the same features everywhere, bit for bit"
    assert town.learner().held[0] > 0
    freed = min(each.t for each in town.sent if each.kind == "frozen")
    assert all(each.t >= freed for each in town.sent if each.kind in ("update", "prior"))


def test_a_fast_device_does_not_wait_for_a_slow_one_to_end_the_critical_period() -> None:
    town = Town(2, lambda m: (100.0,) if m.sender == "device1" and m.kind == "features" else (0.01,))
    town.run(20)
    assert town.said("device0")["features"] == 4
    assert town.values("plasticity", "device0")


def test_without_a_critical_period_nobody_trains_or_sends_features() -> None:
    town = Town(2, critical_exchanges=0)
    town.run(5)
    assert town.said().keys() == {"join", "prior", "update"}
    assert {town.learner(name).phases for name in town.devices} == {0}


def test_both_ends_agree_on_the_prior_bit_for_bit() -> None:
    parts = tuple(Part(p.name, p.start - BELOW, p.end - BELOW, p.shape, p.child) for p in PARTS[1:])
    rng = np.random.default_rng(0)
    initial = rng.normal(size=HEAD).astype(np.float32)
    setting = Setting(Parameters(), parts, initial, np.empty((0, FEATURES + 1), np.float32))
    prior, pupil = StudentPrior(setting), StudentPupil(setting)
    body, reference = prior.body("device0")
    pupil.adopt(body)
    np.testing.assert_array_equal(pupil.reference, reference)
    np.testing.assert_array_equal(readout.flatten(pupil.weights), reference)
    step = np.abs(initial).max() / 127
    np.testing.assert_allclose(reference, initial, atol=step / 2 + 1e-6)


def test_the_student_prior_mixes_by_staleness_as_fedasync_does() -> None:
    parts = tuple(Part(p.name, p.start - BELOW, p.end - BELOW, p.shape, p.child) for p in PARTS[1:])
    zeros = np.zeros(HEAD, np.float32)
    prior = StudentPrior(Setting(Parameters(bits=32), parts, zeros, np.empty((0, 1), np.float32)))
    prior.take("device0", {"model": np.ones(HEAD, np.float32)}, zeros, 0)
    prior.take("device1", {"model": np.full(HEAD, 2.0, np.float32)}, zeros, 3)
    a = 0.6 / 2
    np.testing.assert_allclose(prior.vector(), (1 - a) * 0.6 + a * 2.0, rtol=1e-6)


def test_an_answer_comes_at_once_and_to_its_sender_alone() -> None:
    town = Town(3)
    town.run(8)
    answered = Counter(each.sender for each in town.sent if each.kind == "update")
    heard = Counter(each.dest for each in town.sent if each.kind == "prior")
    for device in town.devices:
        assert 0 <= heard[device] - answered[device] <= 1


@pytest.mark.parametrize("window", [{"broadcast_every": 4}, {"window_s": 0.5}])
def test_in_windows_everybody_hears_the_prior_together_and_nobody_waits_for_it(window: dict[str, Any]) -> None:
    town = Town(3, critical_exchanges=0, **window)
    town.run(6)
    at = Counter(each.t for each in town.sent if each.kind == "prior")  # at first, as answers to who joined
    assert set(at.values()) == {3}
    if "window_s" in window:
        times = sorted(at)
        assert min(b - a for a, b in pairwise(times)) >= 0.5
    else:
        assert len(at) == len(town.values("version")) // 4 + 1
    assert len(town.bodies("update")) > 3 * len(at)
    assert town.values("test_accuracy")[-1] > 0.9


def test_a_device_sends_only_every_so_many_phases() -> None:
    town = Town(1, critical_exchanges=0, send_every=3)
    town.run(3)
    phases = [body["phase"] for body in town.bodies("update")]
    assert phases == list(range(3, 3 * len(phases) + 1, 3))
    assert len(phases) > 3


def test_a_personal_prior_is_nearer_to_what_the_device_said_than_the_global_one() -> None:
    parts = tuple(Part(p.name, p.start - BELOW, p.end - BELOW, p.shape, p.child) for p in PARTS[1:])
    zeros, none = np.zeros(HEAD, np.float32), np.empty((0, 1), np.float32)
    prior = StudentPrior(Setting(Parameters(bits=32, prior="personal", personal_share=0.25), parts, zeros, none))
    prior.take("device0", {"model": np.ones(HEAD, np.float32)}, zeros, 0)
    np.testing.assert_allclose(prior.body("device0")[1], 0.75 * 0.6 + 0.25 * 1.0, rtol=1e-6)
    np.testing.assert_allclose(prior.body("device1")[1], 0.6, rtol=1e-6)


@pytest.mark.parametrize("kd", KINDS)
def test_without_a_prior_devices_hear_nothing_but_an_acknowledgement(kd: str) -> None:
    town = Town(2, **way(kd), prior="none", critical_exchanges=0, ridge=0.1)
    town.run(8)
    assert all(not isinstance(value, np.ndarray) for body in town.bodies("prior") for value in body.values())
    assert town.values("test_accuracy")[-1] > 0.9


def test_open_features_go_on_learning_and_travel_with_the_readout() -> None:
    town = Town(2, open_features=True, critical_exchanges=1)
    town.run(10)
    sizes = {array(body).size for body in town.bodies("update")}
    assert sizes == {SIZE + 4 * len(PARTS)}
    assert town.learner("device0").phases > 10
    assert town.learner().held[0] > 0.5, "the coordinator's features moved on"


def test_open_features_go_as_far_as_the_plasticity_is_of_the_highest_rate() -> None:
    def moved(rate: float) -> float:
        town = Town(1, kd="none", bits=32, agent="fixed", plasticity=rate, critical_exchanges=0)
        town.run(1.0)
        first = town.bodies("update")[0]
        return float(cast(Vector, array(first, "model"))[0])

    assert moved(RATES[-1]) == pytest.approx(0.25)
    assert moved(RATES[-1] / 5) == pytest.approx(0.05)


def test_devices_record_what_their_agent_chose_and_how_it_paid() -> None:
    town = Town(2)
    town.run(5)
    chosen = town.values("plasticity", "device0")
    assert set(chosen) <= set(RATES)
    assert len(set(chosen)) > 1
    for metric in ("reward", "divergence", "held_out_accuracy"):
        assert len(town.values(metric, "device0")) == len(chosen)


# --- bad times ---


@pytest.mark.parametrize("kd", KINDS)
def test_a_duplicated_update_is_taken_in_once_and_not_answered(kd: str) -> None:
    town = Town(1, lambda m: (0.01, 0.011) if m.kind in ("update", "features") else (0.01,), **way(kd))
    town.run(5)
    updates = town.said("device0")["update"]
    assert town.refused()["duplicate"] in (updates, updates - 1)
    assert town.said()["prior"] <= updates + 1
    assert len(town.values("version")) <= updates + 2


def test_sums_of_samples_count_once_whatever_is_lost_or_comes_twice() -> None:
    fates: list[tuple[float, ...]] = [(), (0.01,), (0.01, 0.4)]
    rng = np.random.default_rng(0)

    def post(message: Sent) -> tuple[float, ...]:
        return fates[rng.integers(3)] if message.t < 25 and message.kind in ("update", "prior") else (0.01,)

    town = Town(2, post, kd="stats", reply_within_s=0.5, ridge=1.0)
    town.make = partial(TinyLearner, arriving=2.0)
    town.run(60)
    h = np.concatenate(
        [readout.extended(town.learner(name).features(town.learner(name).raw(0, 60)[0])) for name in town.devices]
    )
    labels = np.tile(np.arange(60) % CLASSES, 2)
    pooled = distillation.ridge(distillation.sums(h, labels, CLASSES), 1.0)
    np.testing.assert_allclose(town.learner().held[BELOW:], readout.flatten(pooled), atol=1e-4)
    first = [body["first"] for body in town.bodies("update", "device0")]
    assert len(set(first)) > 3, "in several parts, as samples arrived"


def test_sums_go_on_where_they_were_after_either_end_crashed() -> None:
    town = Town(2, kd="stats", reply_within_s=0.5, rejoin_after_s=2.0, ridge=1.0, checkpoint_every=3)
    town.make = partial(TinyLearner, arriving=4.0)
    town.at(3.0, lambda: town.crash("device0"))
    town.at(4.0, lambda: town.start("device0"))
    town.at(6.0, lambda: town.crash(COORDINATOR))
    town.at(8.0, lambda: town.start(COORDINATOR))
    town.run(60)
    h = np.concatenate(
        [readout.extended(town.learner(name).features(town.learner(name).raw(0, 60)[0])) for name in town.devices]
    )
    pooled = distillation.ridge(distillation.sums(h, np.tile(np.arange(60) % CLASSES, 2), CLASSES), 1.0)
    np.testing.assert_allclose(town.learner().held[BELOW:], readout.flatten(pooled), atol=1e-4)


def test_a_device_whose_answer_was_lost_learns_on_and_tells_again_ever_more_rarely() -> None:
    town = Town(1, lose(lambda m: m.kind == "prior" and 1.0 < m.t < 60), critical_exchanges=0, reply_within_s=1.0)
    town.run(80)
    alone = [each.t for each in town.sent if each.kind == "update" and 1.0 < each.t < 60]
    gaps = np.diff(alone)
    assert all(later > 1.5 * earlier for earlier, later in pairwise(gaps[1:]))
    learnt = [each.t for each in town.records if each.metric == "local_phase_s" and 20 < each.t < 55]
    assert len(learnt) > 10 * len(alone)
    assert max(each.t for each in town.sent if each.kind == "update") > 75, "and it speaks again afterwards"


def test_a_device_long_without_a_prior_falls_to_the_lowest_rate() -> None:
    town = Town(
        1,
        lose(lambda m: m.kind == "prior" and m.t > 1.0),
        critical_exchanges=0,
        agent="fixed",
        reply_within_s=0.2,
        max_offline_phases=5,
    )
    town.run(10)
    rates = town.values("plasticity", "device0")
    assert rates[0] == 0.1
    assert set(rates[-20:]) == {RATES[0]}


@pytest.mark.parametrize("kind", ["features", "frozen", "prior"])
def test_a_device_that_hears_nothing_at_first_asks_again(kind: str) -> None:
    town = Town(1, lose(lambda m: m.sender == COORDINATOR and m.kind == kind and m.t < 2.0), rejoin_after_s=1.0)
    town.run(30)
    assert town.said("device0")["join"] >= 2
    assert town.values("plasticity", "device0")


def test_an_update_that_is_too_old_is_refused_and_answered() -> None:
    town = Town(
        2,
        lambda m: (2.0 if m.sender == "device1" and m.kind == "update" else 0.01,),
        critical_exchanges=0,
        max_staleness=3,
    )
    town.run(12)
    assert town.refused()["stale"] >= 3
    assert max(town.values("staleness")) <= 3
    assert sum(each.dest == "device1" and each.kind == "prior" for each in town.sent) >= 4


def test_a_device_that_builds_on_a_prior_of_some_versions_ago_is_taken_in_with_its_staleness() -> None:
    slow = 0.5
    town = Town(2, lambda m: (slow if m.sender == "device1" and m.kind == "update" else 0.01,), critical_exchanges=0)
    town.run(5)
    assert max(town.values("staleness")) >= 3
    assert "unknown_base" not in town.refused()


def test_a_device_that_restarts_gets_the_frozen_features_and_goes_on() -> None:
    town = Town(2)
    town.at(5.0, lambda: town.crash("device0"))
    town.at(6.0, lambda: town.start("device0"))
    town.run(12)
    assert town.said()["frozen"] == 3
    assert {each.t > 7 for each in town.sent if each.kind == "update" and each.sender == "device0"} == {True, False}
    assert town.refused().keys() <= {"frozen"}
    np.testing.assert_array_equal(town.learner("device0").held[:BELOW], town.learner().held[:BELOW])


def test_features_that_come_after_the_freeze_change_nothing() -> None:
    town = Town(2)
    late: Body = {"base": 0, "q8": np.full(BELOW + 4, 130, np.uint8)}
    town.at(5.0, lambda: town.post(Sent(5.0, "device0", COORDINATOR, "features", late)))
    held: list[Vector] = []
    town.at(4.9, lambda: held.append(town.learner().held[:BELOW].copy()))
    town.run(8)
    assert town.refused()["frozen"] >= 1
    np.testing.assert_array_equal(town.learner().held[:BELOW], held[0])


@pytest.mark.parametrize("kd", KINDS)
def test_a_coordinator_goes_on_from_its_checkpoint_and_devices_with_it(kd: str) -> None:
    town = Town(3, **way(kd), checkpoint_every=2, rejoin_after_s=2.0, reply_within_s=1.0, ridge=0.1)
    town.make = partial(TinyLearner, arriving=3.0)
    town.at(5.0, lambda: town.crash(COORDINATOR))
    town.at(7.0, lambda: town.start(COORDINATOR))
    town.run(30)
    before = [each.value for each in town.records if each.metric == "version" and each.t < 5]
    after = [each.value for each in town.records if each.metric == "version" and each.t > 7]
    assert after[0] > max(before), "versions of the lost life are not used again"
    assert town.said()["frozen"] == 3, "and features are not trained again"
    assert {each.sender for each in town.sent if each.kind == "update" and each.t > 8} == set(town.devices)
    assert town.values("test_accuracy")[-1] > 0.9


def test_a_coordinator_that_crashes_in_the_critical_period_goes_on_with_it() -> None:
    town = Town(2, critical_exchanges=10, checkpoint_every=2, rejoin_after_s=2.0)
    town.at(0.5, lambda: town.crash(COORDINATOR))
    town.at(3.0, lambda: town.start(COORDINATOR))
    town.run(20)
    assert town.said()["frozen"] == 2
    assert town.values("plasticity", "device1")
    used = town.said("device0")["features"] + town.said("device1")["features"]
    assert 20 <= used <= 20 + 2 + 2 + 2, "those since the checkpoint, those on their way, and late ones come on top"


def test_devices_without_a_coordinator_wait_and_speak_ever_more_rarely() -> None:
    town = Town(2)
    town.run(200, start=("device0", "device1"))
    assert len(town.sent) <= 2 * 5
    assert town.said().keys() == {"join"}


def test_a_learner_that_diverges_is_counted_and_the_run_goes_on() -> None:
    town = Town(2, rejoin_after_s=1.0)
    town.make = lambda index: TinyLearner(index, diverges=index == 0)
    town.run(30)
    assert town.refused()["diverged"] > 0
    assert town.values("plasticity", "device0"), "the other device ends the critical period for both"


def test_a_device_without_public_samples_refuses_to_take_part_in_logits() -> None:
    town = Town(2, kd="logits", rejoin_after_s=1.0)
    town.make = lambda index: TinyLearner(index, provisioned=index != 0)
    town.run(20)
    assert town.refused()["no_public_samples"] > 1
    assert town.said("device0")["update"] == 0
    assert town.values("plasticity", "device1")


def test_what_the_public_samples_cost_is_counted_once_a_run() -> None:
    town = Town(3, kd="logits", checkpoint_every=1)
    town.at(4.0, lambda: town.crash(COORDINATOR))
    town.at(5.0, lambda: town.start(COORDINATOR))
    town.run(8)
    assert town.values("provision_bytes") == [3 * PUBLIC]


NAN = np.full(HEAD, np.nan, np.float32)
GARBAGE: tuple[tuple[str, Body], ...] = (
    ("nonsense", {}),
    ("join", {}),
    ("join", {"phase": -1}),
    ("update", {}),
    ("update", {"base": "old", "phase": 10**6}),
    ("update", {"base": 10**6, "phase": 10**6, "first": 0, "z": np.zeros(4, np.uint8)}),
    ("features", {"base": True}),
    ("features", {"base": 0, "q8": np.zeros(3, np.uint8)}),
    ("frozen", {"q8": np.zeros(3, np.uint8)}),
    ("prior", {"base": 1, "devices": 0}),
    ("prior", {"base": 1, "devices": 2, "z": 5, "held": -1}),
    ("prior", {"base": 1, "devices": 2, "z": np.zeros(1, np.uint8), "held": 0, "model": NAN}),
)
FRESH_GARBAGE: tuple[Body, ...] = (
    {"z": np.zeros(1, np.uint8), "first": 0, "model": NAN},
    {"z": np.zeros(1, np.float32), "first": 0, "q8": np.zeros(1, np.uint8)},
    {"z": 3, "first": -2, "q99": np.zeros(1, np.uint8)},
    {},
)


@pytest.mark.parametrize("kd", KINDS)
def test_garbage_is_counted_and_stops_nobody(kd: str) -> None:
    town = Town(2, **way(kd), rejoin_after_s=1.0, reply_within_s=1.0, ridge=0.1)
    town.make = partial(TinyLearner, arriving=3.0)

    def throw() -> None:
        for kind, body in GARBAGE:
            town.post(Sent(0.0, "device0", COORDINATOR, kind, body))
            town.post(Sent(0.0, COORDINATOR, "device1", kind, body))

    def forge() -> None:
        """Updates that are right but for their knowledge."""
        base = next(
            each.body["base"] for each in reversed(town.sent) if each.kind == "prior" and each.dest == "device0"
        )
        for number, body in enumerate(FRESH_GARBAGE):
            forged: Body = {"base": base, "phase": 10**7 + number, **body}
            town.post(Sent(0.0, "device0", COORDINATOR, "update", forged))

    for t in (0.05, 0.5, 2.0):
        town.at(t, throw)
    for t in (5.0, 5.1):
        town.at(t, forge)
    town.run(25)
    assert {"missing_field", "wrong_field", "wrong_shape", "unknown_kind"} <= town.refused().keys()
    assert {each.node for each in town.records if each.metric == "plasticity" and each.t > 20} == set(town.devices)
    assert town.values("test_accuracy")[-1] > 0.9
    assert np.isfinite(town.learner().held).all()


@pytest.mark.parametrize("kd", KINDS)
def test_the_same_town_gives_the_same_conversation(kd: str) -> None:
    def run() -> list[tuple[float, str, str, str, bytes]]:
        town = Town(3, **way(kd))
        town.run(4)
        return [
            (each.t, each.sender, each.dest, each.kind, b"".join(np.asarray(v).tobytes() for v in each.body.values()))
            for each in town.sent
        ]

    assert run() == run()


# --- parameters ---


@pytest.mark.parametrize(
    "given", [{"bits": 20}, {"kd": "stats", "prior": "personal"}, {"kd": "logits", "open_features": True}]
)
def test_what_does_not_go_together_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"bits|kd"):
        read(Parameters, given)


# --- bytes ---


@pytest.mark.parametrize("bits", [4, 8, 32])
def test_the_frames_of_a_run_are_as_long_as_the_formulas_say(bits: int) -> None:
    """One block of 64 bytes holds prefix, header and MAC; every tensor has a scale of its own (32 bits: none).

    So the head (weight and bias) has two scales.
    """

    def frames(kind: str, **parameters: Any) -> set[int]:
        town = Town(2, bits=bits, **parameters)
        town.run(6)
        found = [each for each in town.sent if each.kind == kind and each.sender != COORDINATOR]
        assert found
        return {frame_bytes(each.kind, each.body) for each in found}

    def coded(count: int, scales: int) -> int:
        return -(-count * bits // 8) + (4 * scales if bits < 32 else 0)

    assert frames("features") == {64 + coded(BELOW, 1)}
    assert frames("update", kd="student") == {64 + coded(HEAD, 2)}
    assert frames("update", kd="none") == {64 + coded(SIZE, 3)}
    assert frames("update", kd="logits") == {64 + coded(PUBLIC * CLASSES, 0) + 4 * CLASSES}
    assert frames("update", kd="features") == {64 + coded(2 * CLASSES * FEATURES, 2) + 4 * CLASSES}
    width = FEATURES + 1  # the constant is a feature to the regression
    assert frames("update", kd="stats") == {64 + 4 * (width * (width + 1) // 2 + width * CLASSES) + 4}


def test_the_readout_of_a_large_model_costs_its_codes_two_scales_and_one_block() -> None:
    codes = np.zeros(10 * 1025 + 8, np.uint8)
    assert frame_bytes("update", {"base": 60_000, "phase": 60_000, "q8": codes}) == 64 + 10 * 1025 + 8
    assert frame_bytes("prior", {"base": 60_000, "devices": 100, "q8": codes}) == 64 + 10 * 1025 + 8


def test_sums_take_a_second_block_for_their_header_once_they_count_in_ten_thousands() -> None:
    """They say from which sample on they are, besides version and phase; together that is 4 bytes too many."""
    z = np.zeros(60_000, np.uint8)
    assert frame_bytes("update", {"base": 100, "phase": 100, "first": 60_000, "z": z}) == 64 + 60_000
    assert frame_bytes("update", {"base": 60_000, "phase": 60_000, "first": 60_000, "z": z}) == 128 + 60_000


# --- the whole ---


@pytest.mark.parametrize(("kd", "least"), [("student", 0.7), ("stats", 0.7), ("logits", 0.7)])
def test_it_learns_digits_in_simulation(kd: str, least: float, tmp_path: Path) -> None:
    algorithm = Chosen("elabip", {"kd": kd, "evaluate_every_s": 1.0})
    plan = star(3, algorithm=algorithm, task=TaskSpec("digits", public=100), stop_after_s=1.5)
    ran = run_in("simulation", plan, tmp_path / "run")
    assert ran.outcome.status == "complete", ran.outcome.notes
    accuracy = ran.outcome.summary["test_accuracy"]
    assert accuracy is not None
    assert accuracy > least


def test_unpacking_names_what_is_wrong() -> None:
    with pytest.raises(RefusedError) as refused:
        knowledge.row_of_bytes({"z": np.zeros((2, 2), np.uint8)}, "z")
    assert refused.value.reason == "wrong_shape"
