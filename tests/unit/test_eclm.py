"""ECLM's conversation, with real small models in the world of fake nodes: who holds, trains and sends which modules."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from node_image.algorithms import eclm
from node_image.allowance import Allowance, budgets
from node_image.gating import holding
from node_image.learner import Learner, build
from node_image.message import frame_bytes
from node_image.modules import Layout, Update, combined, layout, understood
from node_image.runtime import Body
from node_image.spec import Chosen, Limits, TaskSpec
from node_image.submodel import Budget
from tests.contract.conversation import COORDINATOR, Post, Sent, World, prompt
from tests.contract.worlds import run_in
from tests.plans import star
from tests.unit.learners import node_spec

Vector = NDArray[np.float32]
SHAPE = (2, 4)
MODEL = {"width": 10, "hidden": 4, "layers": 2, "modules": 4, "top_k": 2}
MODULE, HEAD, FROZEN = 2 * 10 * 4 + 14, 10 * 11, 65 * 10 + 11 * 8


def learner(index: int = 0, devices: int = 2, public: int = 0) -> Learner:
    task = TaskSpec("digits", partition=Chosen("dirichlet"), public=public)
    return build(replace(node_spec(index, devices, task=task), model=Chosen("modular", MODEL)))


def opinionated(each: Learner) -> None:
    """Make a selector that tells digits apart, as a trained one would."""
    weights = each.weights()
    (selector,) = (part for part in each.parts if part.name == "1.selector.weight")
    weights[selector.start : selector.end] *= 20
    each.load(weights)


WHERE: Layout = layout(learner().parts, learner().head_start)


class ModularWorld(World):
    """A world whose nodes have modular models, and `limits` by name."""

    def __init__(self, devices: int = 2, post: Post = prompt, public: int = 0, **parameters: Any) -> None:
        super().__init__(eclm, devices, post, **{"local_steps": 1, "evaluate_every_s": 1e6, **parameters})
        self.macs_per_s = 2e6  # a local phase, with a look at the own samples, takes about 0.2 s
        self.limits: dict[str, Limits] = {}
        for index, name in enumerate((COORDINATOR, *self.devices)):
            self.real_learners[name] = learner(index - 1, devices, public)

    def start(self, name: str) -> None:
        super().start(name)
        self._nodes[name].limits = self.limits.get(name, Limits())

    def bodies(self, kind: str, of: str | None = None) -> list[Body]:
        """What was said in messages of a kind (sent by, or to, one node)."""
        return [each.body for each in self.sent if each.kind == kind and of in (None, each.sender, each.dest)]


def array(body: Body, name: str = "model") -> NDArray[Any]:
    value = body[name]
    assert isinstance(value, np.ndarray)
    return value


def held(body: Body) -> NDArray[np.bool_]:
    return understood(str(body["chosen"]), SHAPE)


def model_of(world: World) -> Vector:
    return array(world.checkpoints[COORDINATOR])


# --- what travels ---


def test_a_message_costs_64_bytes_and_four_for_each_weight_of_the_chosen_modules_and_the_head() -> None:
    world = ModularWorld(size=0.5, rounds=5)
    world.run(60)
    for kind in ("model", "update"):
        assert {frame_bytes(kind, body) for body in world.bodies(kind)} == {64 + 4 * (4 * MODULE + HEAD)}
    assert {int(held(body).sum()) for body in world.bodies("update")} == {4}


def test_that_holds_for_sixteen_modules_and_a_thousand_rounds() -> None:
    body: Body = {"base": 1000, "chosen": "ffff", "model": np.zeros(9, np.float32)}
    assert frame_bytes("model", body) == frame_bytes("update", body) == 64 + 36


def test_a_device_tells_its_means_and_one_number_a_module() -> None:
    world = ModularWorld(1, rounds=1)
    world.limits["device0"] = Limits(memory_bytes=10**6, rate_bps=1e6)
    world.run(60)
    (join,) = world.bodies("join")
    assert join.keys() == {"memory_bytes", "rate_bps", "importance"}
    assert array(join, "importance").reshape(SHAPE).sum(axis=1) == pytest.approx([1.0, 1.0])


# --- in rounds ---


def test_a_round_asks_every_device_once_and_combines_modules_by_their_importance() -> None:
    world = ModularWorld(3, size=0.6, rounds=1)
    world.run(60)
    assert world.said() == Counter(join=3, model=3, update=3)
    assert world.values("aggregated_updates") == [3]
    initial = learner().initial
    updates = []
    for device in world.devices:
        (join,), (update,) = world.bodies("join", device), world.bodies("update", device)
        weights = WHERE.unpacked(initial, array(update), held(update))
        updates.append(Update(weights, held(update), array(join, "importance").reshape(SHAPE)))
    np.testing.assert_array_equal(model_of(world), combined(WHERE, initial, updates))


def test_stem_selector_and_the_modules_that_a_device_does_not_hold_never_move_on_it() -> None:
    world = ModularWorld(2, size=0.3, rounds=4)
    world.run(60)
    np.testing.assert_array_equal(model_of(world)[WHERE.frozen()], learner().initial[WHERE.frozen()])
    used = np.logical_or.reduce([held(body) for body in world.bodies("model")])
    assert 2 <= used.sum() < 8
    changed = model_of(world) != learner().initial
    assert not changed[~WHERE.mask(used)].any()
    assert changed[WHERE.mask(used)].any()


def test_updates_that_come_in_another_order_change_no_bit() -> None:
    def run(delays: tuple[float, ...]) -> bytes:
        def post(message: Sent) -> tuple[float, ...]:
            return (delays[int(message.sender[-1])] if message.kind == "update" else 0.01,)

        world = ModularWorld(3, post, rounds=2)
        world.run(60)
        return model_of(world).tobytes()

    assert run((0.1, 0.2, 0.3)) == run((0.3, 0.2, 0.1))


def test_a_device_that_never_answers_costs_a_round_its_deadline_and_not_the_run() -> None:
    def post(message: Sent) -> tuple[float, ...]:
        return () if message.sender == "device1" and message.kind == "update" else (0.01,)

    world = ModularWorld(2, post, rounds=3, deadline_s=2.0)
    world.run(60)
    assert world.values("aggregated_updates") == [1, 1, 1]
    assert world.values("round_s") == pytest.approx([2.0] * 3)


def test_duplicates_and_late_updates_count_once_or_not_at_all() -> None:
    def post(message: Sent) -> tuple[float, ...]:
        first = 0.01 if message.sender == "device0" else 0.05
        return (first, first + 0.01, 3.0) if message.kind == "update" else (0.01,)

    world = ModularWorld(2, post, rounds=20)
    world.run(60)
    assert world.values("aggregated_updates") == [2] * 20
    assert world.refused().keys() == {"duplicate", "late"}


def test_a_device_that_restarts_within_a_round_is_asked_again() -> None:
    world = ModularWorld(2, lambda m: (5.0,) if m.sender == "device1" and m.kind == "update" and m.t < 1 else (0.01,))
    world.at(1.0, lambda: world.crash("device1"))
    world.at(2.0, lambda: world.start("device1"))
    world.run(4.0)
    assert world.values("aggregated_updates")[0] == 2
    assert world.values("round_s")[0] == pytest.approx(2.3, abs=0.3)


def test_a_device_that_joins_late_is_asked_at_once() -> None:
    world = ModularWorld(2, first_deadline_s=1.0)
    world.at(5.0, lambda: world.start("device1"))
    world.run(6.0, start=(COORDINATOR, "device0"))
    assert world.values("aggregated_updates")[0] == 1
    assert world.values("aggregated_updates")[-1] == 2


@pytest.mark.parametrize("mode", ["async", "sync"])
def test_devices_whose_messages_were_lost_ask_again(mode: str) -> None:
    world = ModularWorld(1, lambda m: () if 0.5 < m.t < 1.5 else (0.01,), mode=mode, rejoin_after_s=2.0)
    world.run(8)
    assert world.said("device0")["join"] >= 2
    assert max(each.t for each in world.sent if each.kind == "update") > 7


# --- as they come ---


def test_the_only_device_moves_its_modules_by_alpha_and_its_head_as_well() -> None:
    world = ModularWorld(1, mode="async", mixing=0.25, size=0.5, checkpoint_every=1)
    world.at(0.3, lambda: world.crash("device0"))
    world.run(1.0)
    (update,) = world.bodies("update")
    initial = learner(0, 1).initial
    trained = WHERE.unpacked(initial, array(update), held(update))
    np.testing.assert_allclose(model_of(world), 0.75 * initial + 0.25 * trained, rtol=1e-5, atol=1e-7)
    assert world.values("version") == [1.0]


def test_an_update_weighs_its_share_of_the_holders_importance_and_less_the_older_it_is() -> None:
    world = ModularWorld(2, lambda m: (1.0,) if m.kind == "update" and m.sender == "device1" else (0.01,), mode="async")
    world.at(0.4, lambda: world.crash("device0"))  # after its first update
    world.at(1.4, lambda: world.crash("device1"))
    world.run(2.0)
    worth = [array(world.bodies("join", name)[0], "importance").reshape(SHAPE) for name in world.devices]
    updates = [array(world.bodies("update", name)[0]) for name in world.devices]
    everything = np.ones(SHAPE, np.bool_)
    expected = initial = learner().initial.astype(np.float64)
    for number, (name, packed) in enumerate(zip(world.devices, updates, strict=True)):
        assert len(world.bodies("update", name)) == 1
        trained = WHERE.unpacked(learner().initial, packed, everything)
        alpha = 0.6 * (number + 1) ** -0.5
        weight = np.zeros(WHERE.size)
        for place in np.ndindex(SHAPE):
            share = worth[number][place] / (worth[0][place] + worth[1][place])
            weight[WHERE.starts[place] : WHERE.ends[place]] = alpha * share
        weight[WHERE.head :] = alpha / 2
        expected = (1 - weight) * expected + weight * trained
    assert world.values("staleness") == [0.0, 1.0]
    np.testing.assert_allclose(model_of(world), expected, rtol=1e-4, atol=1e-6)
    assert not np.array_equal(expected, initial)


def test_async_waits_for_nobody_and_counts_staleness_by_module() -> None:
    world = ModularWorld(2, lambda m: (2.0,) if m.sender == "device1" else (0.01,), mode="async")
    world.run(10)
    by = Counter(each.sender for each in world.sent if each.kind == "update")
    assert by["device0"] > 10 * by["device1"] > 0
    assert max(world.values("staleness")) > 10


# --- who holds what ---


def test_each_device_gets_what_its_own_means_allow() -> None:
    world = ModularWorld(3, rounds=1)
    fixed = 4 * FROZEN + 8 * HEAD
    world.limits["device1"] = Limits(memory_bytes=fixed + 8 * 3 * MODULE)
    world.limits["device2"] = Limits(memory_bytes=fixed + 8 * 2 * MODULE)
    world.run(60)
    counts = {each.labels["peer"]: each.value for each in world.records if each.metric == "held_modules"}
    assert counts == {"device0": 8, "device1": 3, "device2": 2}


def test_a_device_that_nothing_fits_is_told_why_asks_ever_more_rarely_and_holds_nobody_up() -> None:
    world = ModularWorld(2, rejoin_after_s=2.0)
    world.macs_per_s = 1e5
    world.limits["device1"] = Limits(memory_bytes=1000)
    world.run(100)
    assert world.refused().keys() == {"unfit_memory"}
    assert {body["constraint"] for body in world.bodies("unfit")} == {"memory"}
    assert 2 <= world.said("device1")["join"] <= 6
    assert world.said("device1").keys() == {"join"}
    assert set(world.values("aggregated_updates")) == {1}
    assert max(world.values("round_s")) < 5.0


def test_a_device_whose_samples_change_asks_for_other_modules_and_is_sent_the_new_ones_alone() -> None:
    world = ModularWorld(1, size=0.5)
    for each in world.real_learners.values():
        opinionated(each)
    device = world.real_learners["device0"]
    sevens = np.flatnonzero(device.task.train_y == 7)[:50]
    noughts = np.flatnonzero(device.task.train_y == 0)[:50]
    device.own = noughts
    world.at(2.0, lambda: setattr(device, "own", sevens))
    world.run(4.0)
    asked = [each for each in world.sent if each.kind == "moved"]
    assert len(asked) == 1
    assert asked[0].t == pytest.approx(2.0, abs=0.2)
    (answer,) = world.bodies("modules")
    before = next(body for body in world.bodies("model") if body["base"] == answer["base"])
    new = held(answer) & ~held(before)
    assert 0 < new.sum() < held(answer).sum()
    assert frame_bytes("modules", answer) == 64 + 4 * MODULE * new.sum()
    after = next(body for body in world.bodies("update") if body["base"] == answer["base"])
    assert after["chosen"] == answer["chosen"]
    assert not world.refused()


def test_where_no_other_modules_come_in_time_a_device_goes_on_with_those_it_has() -> None:
    world = ModularWorld(1, lambda m: () if m.kind == "modules" else (0.01,), moved_by=0.0, swap_within_s=0.5)
    world.real_learners["device0"].own = world.real_learners["device0"].own[:40]
    world.at(1.0, lambda: setattr(world.real_learners["device0"], "own", np.arange(700, 760)))
    world.run(5.0)
    assert world.said()["modules"] >= 1
    assert max(each.t for each in world.sent if each.kind == "update") > 4
    assert not world.refused()


# --- crashes and nonsense ---


@pytest.mark.parametrize("mode", ["async", "sync"])
def test_a_coordinator_goes_on_from_its_checkpoint_and_nobody_need_tell_it_again(mode: str) -> None:
    world = ModularWorld(3, mode=mode, size=0.5, checkpoint_every=1)
    world.limits["device2"] = Limits(memory_bytes=1000)
    world.at(2.0, lambda: world.crash(COORDINATOR))
    world.at(4.0, lambda: world.start(COORDINATOR))
    world.run(6.0)
    joins = [each for each in world.sent if each.kind == "join"]
    assert len(joins) == 3
    versions = world.values("version")
    assert versions == list(range(1, len(versions) + 1))
    assert {each.sender for each in world.sent if each.kind == "update" and each.t > 5.5} == {"device0", "device1"}


GARBAGE: tuple[tuple[str, Body], ...] = (
    ("nonsense", {}),
    ("join", {}),
    ("join", {"importance": np.full(8, 2.0, np.float32)}),
    ("join", {"importance": np.full(7, 0.2, np.float32)}),
    ("join", {"importance": np.full(8, 0.2, np.float32), "memory_bytes": -1}),
    ("join", {"importance": np.full(8, 0.2, np.float32), "rate_bps": "fast"}),
    ("moved", {"base": 10**6, "importance": np.full(8, 0.2, np.float32)}),
    ("moved", {}),
    ("update", {}),
    ("update", {"base": 0, "chosen": "0", "model": np.zeros(HEAD, np.float32)}),
    ("update", {"base": 0, "chosen": "fff", "model": np.zeros(HEAD, np.float32)}),
    ("update", {"base": 0, "chosen": 3, "model": np.zeros(HEAD, np.float32)}),
    ("update", {"base": 0, "chosen": "ff", "model": np.zeros(HEAD, np.float32)}),
    ("update", {"base": 10**6, "chosen": "1", "model": np.zeros(MODULE + HEAD, np.float32)}),
    ("update", {"base": 0, "chosen": "1", "model": np.full(MODULE + HEAD, np.nan, np.float32)}),
    ("model", {"base": 0, "chosen": "ff", "model": np.zeros(3, np.float32)}),
    ("model", {"base": "no", "chosen": "1", "model": np.zeros(MODULE + HEAD, np.float32)}),
    ("modules", {"base": 0, "chosen": "ff", "model": np.ones(5, np.float32)}),
    ("install", {"model": np.zeros(2, np.float32)}),
    ("unfit", {}),
)


@pytest.mark.parametrize("mode", ["async", "sync"])
def test_garbage_is_counted_and_stops_nobody(mode: str) -> None:
    world = ModularWorld(2, mode=mode, rejoin_after_s=2.0)

    def throw() -> None:
        for kind, body in GARBAGE:
            world.post(Sent(0.0, "device0", COORDINATOR, kind, body))
            world.post(Sent(0.0, COORDINATOR, "device1", kind, body))

    for t in (0.005, 0.5, 2.0):
        world.at(t, throw)
    world.run(6)
    assert {
        "missing_field",
        "wrong_field",
        "wrong_shape",
        "not_finite",
        "unknown_kind",
        "late",
    } <= world.refused().keys()
    late = {each.sender for each in world.sent if each.kind == "update" and each.t > 5}
    assert late == set(world.devices)
    assert np.isfinite(model_of(world)).all()


def test_a_device_sends_nothing_that_it_was_not_asked_for() -> None:
    world = ModularWorld(1, size=0.3)
    world.at(1.001, lambda: world.post(forged(world)))
    world.run(3)
    assert set(world.refused()) <= {"unasked", "late", "duplicate"}
    assert world.refused().total() == 1


def forged(world: ModularWorld) -> Sent:
    """An update of modules that the device does not hold."""
    last = world.bodies("model")[-1]
    foreign = ~held(last)
    text = format(sum(1 << int(place) for place in np.flatnonzero(foreign)), "x")
    packed = np.zeros(WHERE.length(foreign), np.float32)
    return Sent(0.0, "device0", COORDINATOR, "update", {"base": last["base"], "chosen": text, "model": packed})


def test_a_model_without_modules_is_refused_with_what_to_choose() -> None:
    world = World(eclm, 1)
    world.real_learners[COORDINATOR] = build(node_spec(-1))
    with pytest.raises(AssertionError) as raised:
        world.run(1.0, start=(COORDINATOR,))
    assert "choose the model `modular`" in str(raised.value.__cause__)


# --- the cloud first ---


def test_the_cloud_trains_first_and_installs_stem_and_selector_once_on_every_device() -> None:
    world = ModularWorld(2, public=100, offline_steps=30, rounds=3, rejoin_after_s=0.5)
    world.run(60)
    assert world.said()["install"] == 2
    assert len(world.values("load_imbalance")) == 1
    frozen = WHERE.frozen()
    trained = array(world.bodies("install")[0])
    assert (trained != learner().initial[frozen]).any()
    assert len(trained) == FROZEN
    np.testing.assert_array_equal(model_of(world)[frozen], trained)
    assert world.values("round") == [1, 2, 3]


def test_without_public_samples_there_is_nothing_to_train_the_cloud_on() -> None:
    world = ModularWorld(1, offline_steps=30, rounds=1)
    world.run(60)
    assert world.said() == Counter(join=1, model=1, update=1)


def test_a_device_that_restarts_after_the_cloud_trained_gets_stem_and_selector_again() -> None:
    world = ModularWorld(1, public=100, offline_steps=5)
    world.at(2.0, lambda: world.crash("device0"))
    world.at(3.0, lambda: world.start("device0"))
    world.run(6.0)
    assert world.said()["install"] == 2
    assert max(each.t for each in world.sent if each.kind == "update") > 5.5


def test_with_the_cloud_alone_devices_learn_nothing_and_test_what_they_were_given() -> None:
    world = ModularWorld(2, public=100, offline_steps=30, online=False, evaluate_every_s=1.0)
    world.run(10)
    assert world.said() == Counter(join=4, install=2, model=2)
    for device in world.devices:
        assert len(world.values("test_accuracy", device)) >= 4
    assert len(world.values("test_accuracy")) == 1


# --- what is charged ---


def test_a_device_is_charged_for_the_modules_it_holds_alone() -> None:
    entire = learner()
    three = np.zeros(SHAPE, np.bool_)
    three[0, 1] = three[1, 0] = three[1, 3] = True
    view = holding(entire, three, entire.weights())
    stem, selector, head, module = 64 * 10, 10 * 8, 10 * 10, 2 * 10 * 4
    cost = view.cost(2, 0.0, WHERE.mask(three))
    forward = stem + selector + head + 3 * module
    backward = selector + head + 3 * module  # it ends at the block of modules, whose selector it cannot tell apart
    assert cost.macs == 64 * (forward + 2 * backward)
    assert cost.ops < entire.cost(2, 0.0, WHERE.mask(three)).ops
    assert view.evaluation_cost().macs == 297 * forward


def test_budgets_are_what_is_left_after_stem_selector_and_head() -> None:
    allowance = Allowance(0.5, 4, 0.25, compute_s=2.0, transfer_s=4.0, steps=10, batch=32)
    limits = Limits(memory_bytes=100_000, macs_per_s=1e6, rate_bps=8_000.0)
    found = {each.name: each for each in budgets(learner(), WHERE, allowance, limits)}
    expected = {
        "size": (MODULE, 4 * MODULE),
        "memory": (8 * MODULE, 25_000 - 4 * FROZEN - 8 * HEAD),
        "compute": (3 * 320 * 80, 2e6 - 320 * (64 * 10 + 10 * 8 + 3 * 100)),
        "transfer": (4 * MODULE, 4_000 - 64 - 4 * HEAD),
    }
    assert {name: (int(np.unique(each.costs)[0]), each.amount) for name, each in found.items()} == expected
    unlimited = budgets(learner(), WHERE, allowance, Limits())
    assert [each.name for each in unlimited] == ["size"]
    assert isinstance(unlimited[0], Budget)


# --- a whole run ---


@pytest.mark.parametrize("mode", ["async", "sync"])
def test_it_learns_digits_in_simulation_within_its_budget(mode: str, tmp_path: Path) -> None:
    algorithm = Chosen("eclm", {"mode": mode, "size": 0.5, "offline_steps": 40, "local_steps": 5})
    task = TaskSpec("digits", public=200)
    plan = star(3, algorithm=algorithm, model=Chosen("modular", MODEL), task=task, stop_after_s=1.0)
    ran = run_in("simulation", plan, tmp_path / "run")
    assert ran.outcome.status == "complete", ran.outcome.notes
    accuracy = ran.outcome.summary["test_accuracy"]
    assert accuracy is not None
    assert accuracy > 0.4
    assert {record["value"] for record in ran.records("coordinator", "held_modules")} == {4.0}
