"""The failure schedule: order, evidence, healing, and what happens when a run ends in the middle of it."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, cast

import pytest

from node_image.records import Record
from orchestrator.faults.degrade import worsened
from orchestrator.faults.schedule import FaultReport, run_schedule
from orchestrator.faults.watch import Watch
from orchestrator.links.shape import BurstLoss, LinkShape
from orchestrator.plan import Condition, DirectedLink, Plan, PlannedFault, PlannedNode
from orchestrator.simulation.virtual_time import VirtualTimeLoop
from orchestrator.substrates.base import LinkCount, NodeUse, Resource, Substrate
from tests.plans import fault, star


class Levers:
    """Stands in for a substrate: notes every lever pulled, with its instant, on the loop's own clock."""

    def __init__(self, plan: Plan, broken: str = "") -> None:
        self.pulled: list[tuple[float, str]] = []
        self.shapes = {link.id: (link.shape, True) for link in plan.links}
        self._broken = broken
        self._plan = plan

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep_until(self, t: float) -> None:
        await asyncio.sleep(t - self.now())

    def _pull(self, what: str) -> str:
        if what.split()[0] == self._broken:
            raise RuntimeError(f"{what} did not work")
        self.pulled.append((round(self.now(), 6), what))
        return f"{what}: seen"

    async def kill(self, node: PlannedNode) -> str:
        return self._pull(f"kill {node.name}")

    def runs(self, node: PlannedNode) -> bool:
        return True

    async def terminate(self, node: PlannedNode, grace_s: float) -> str:
        return self._pull(f"terminate {node.name} {grace_s:g}")

    async def limit(self, node: PlannedNode, resource: Resource, most: int | None) -> str:
        return self._pull(f"limit {node.name} {resource} {most}")

    async def start(self, node: PlannedNode) -> None:
        self._pull(f"start {node.name}")

    async def pause(self, node: PlannedNode) -> str:
        return self._pull(f"pause {node.name}")

    async def resume(self, node: PlannedNode) -> str:
        return self._pull(f"resume {node.name}")

    async def slow(self, node: PlannedNode, factor: float) -> str:
        return self._pull(f"slow {node.name} {factor:g}")

    async def shape(self, link: DirectedLink, shape: LinkShape, *, up: bool = True) -> str:
        self.shapes[link.id] = (shape, up)
        return self._pull(f"shape {link.id} {'up' if up else 'down'}")

    async def block(self, pairs: frozenset[tuple[str, str]]) -> str:
        return self._pull(f"block {len(pairs)}")

    async def uses(self) -> dict[str, NodeUse]:
        return {node.name: NodeUse(0, 0, 0, 0, None) for node in self._plan.nodes}

    async def links(self) -> dict[str, LinkCount]:
        return {link.id: LinkCount(0, 0, 0, 0, {}) for link in self._plan.links}


def carry_out(plan: Plan, until_s: float, broken: str = "") -> tuple[Levers, list[FaultReport]]:
    """Run the schedule in virtual time and cancel it at `until_s`, as a run that ends does."""
    return carry_out_on(Levers(plan, broken), plan, until_s)


def carry_out_on(levers: Levers, plan: Plan, until_s: float) -> tuple[Levers, list[FaultReport]]:
    """The same, with levers of one's own."""
    reports = list[FaultReport]()

    async def run() -> None:
        task = asyncio.create_task(run_schedule(plan, cast(Substrate, levers), Watch(), lambda *_: None, reports))
        await asyncio.sleep(until_s)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    in_virtual_time(run())
    return levers, reports


def in_virtual_time(job: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(job)


def test_a_crash_kills_at_its_instant_and_starts_again_at_its_heal() -> None:
    plan = star(faults=(fault("crash", 2.0, 5.0, nodes=("d-1",)),))
    levers, (report,) = carry_out(plan, 8.0)
    assert levers.pulled == [(2.0, "kill d-1"), (5.0, "start d-1")]
    assert (report.injected_at_s, report.healed_at_s) == (2.0, 5.0)
    assert report.evidence == "kill d-1: seen"


def test_a_run_that_ends_during_a_crash_leaves_the_node_down() -> None:
    plan = star(faults=(fault("crash", 2.0, 50.0, nodes=("d-1",)),))
    levers, (report,) = carry_out(plan, 8.0)
    assert levers.pulled == [(2.0, "kill d-1")]
    assert report.heal_evidence == "d-1: left down, the run is over"


def test_nodes_are_told_to_end_and_a_crash_meanwhile_finds_them_down() -> None:
    plan = star(
        faults=(
            fault("stop", 2.0, 5.0, nodes=("d-1", "d-2"), index=0, parameters={"grace": 3.0}),
            fault("crash", 3.0, 4.0, nodes=("d-1",), index=1),
        )
    )
    levers, (_, crash) = carry_out(plan, 8.0)
    assert [what for _, what in levers.pulled] == ["terminate d-1 3", "terminate d-2 3", "start d-1", "start d-2"]
    assert crash.evidence == "d-1: already down by fault 0"


def test_of_two_limits_the_tightest_holds_and_the_last_to_go_lifts_it() -> None:
    plan = star(
        faults=(
            fault("pids", 1.0, 3.0, nodes=("d-1",), index=0, parameters={"limit": 20}),
            fault("pids", 2.0, 4.0, nodes=("d-1",), index=1, parameters={"limit": 30}),
        )
    )
    levers, _ = carry_out(plan, 8.0)
    assert levers.pulled == [
        (1.0, "limit d-1 pids 20"),
        (2.0, "limit d-1 pids 20"),
        (3.0, "limit d-1 pids 30"),
        (4.0, "limit d-1 pids None"),
    ]


@pytest.mark.parametrize("heal_s", [None, 50.0])
def test_a_run_that_ends_during_a_pause_thaws_first(heal_s: float | None) -> None:
    plan = star(faults=(fault("pause", 2.0, heal_s, nodes=("d-1", "d-2")),))
    levers, _ = carry_out(plan, 8.0)
    assert [what for _, what in levers.pulled] == ["pause d-1", "pause d-2", "resume d-1", "resume d-2"]


def test_two_degrades_of_one_link_add_up_and_each_takes_back_only_its_own() -> None:
    links = ("d-1>coordinator",)
    plan = star(
        faults=(
            fault("degrade", 1.0, 5.0, links=links, index=0, parameters={"add_delay": 0.1}),
            fault("degrade", 2.0, 3.0, links=links, index=1, parameters={"loss": 0.5}),
        )
    )
    seen: list[LinkShape] = []
    levers = Levers(plan)

    async def run() -> None:
        reports: list[FaultReport] = []
        task = asyncio.create_task(run_schedule(plan, cast(Substrate, levers), Watch(), lambda *_: None, reports))
        for _ in range(6):
            await asyncio.sleep(1.0 + 1e-3)
            seen.append(levers.shapes[links[0]][0])
        await task

    in_virtual_time(run())
    assert [round(shape.delay_s, 3) for shape in seen] == [0.105, 0.105, 0.105, 0.105, 0.005, 0.005]
    assert [shape.loss for shape in seen] == [0, 0.5, 0, 0, 0, 0]


def test_a_link_held_down_by_two_faults_comes_up_with_the_second_heal() -> None:
    faults = tuple(
        fault("disconnect", at, heal, nodes=("d-1",), index=index) for index, (at, heal) in enumerate([(1, 3), (2, 6)])
    )
    levers, _ = carry_out(star(faults=faults), 8.0)
    ups = [(at, what) for at, what in levers.pulled if what == "shape d-1>coordinator up"]
    assert ups == [(6.0, "shape d-1>coordinator up")]


def test_a_flapping_link_ends_up_whenever_the_run_ends() -> None:
    parameters = {"every": 1.0, "down": 0.4}
    for end in (1.1, 1.5, 2.05, 2.7):
        plan = star(faults=(fault("flap", 1.0, None, links=("d-1>coordinator",), parameters=parameters),))
        levers, _ = carry_out(plan, end)
        assert levers.shapes["d-1>coordinator"][1], f"down after a run of {end} s"


def test_partitions_add_up_and_the_last_heal_blocks_nothing() -> None:
    faults = (
        fault("partition", 1, 4, nodes=("d-1",), parameters={"direction": "both"}, index=0),
        fault("partition", 2, 3, nodes=("d-2",), parameters={"direction": "out"}, index=1),
    )
    levers, _ = carry_out(star(faults=faults), 8.0)
    assert [what for _, what in levers.pulled] == ["block 4", "block 5", "block 4", "block 0"]


def test_a_fault_that_fails_is_reported_without_evidence_and_the_others_go_on() -> None:
    faults = (
        fault("crash", 1, 2, nodes=("d-1",), index=0),
        fault("pause", 3, 4, nodes=("d-2",), index=1),
    )
    _, (crash, pause) = carry_out(star(faults=faults), 8.0, broken="kill")
    assert crash.evidence is None
    assert crash.error == "kill d-1 did not work"
    assert pause.evidence is not None


def test_a_fault_waits_for_a_value_then_so_long_and_lasts_as_long_as_asked() -> None:
    waiting = PlannedFault(
        0, "pause", None, None, ("d-1",), (), {}, when=Condition("round", 3.0, None, None, 1.5), lasts_s=2.0
    )
    plan = star(faults=(waiting,))
    levers, watch, reports = Levers(plan), Watch(), list[FaultReport]()

    async def run() -> None:
        task = asyncio.create_task(run_schedule(plan, cast(Substrate, levers), watch, lambda *_: None, reports))
        for round_ in range(1, 6):
            await asyncio.sleep(1.0)
            watch.add("coordinator", Record(levers.now(), "round", float(round_)))
        await task

    in_virtual_time(run())
    assert levers.pulled == [(4.5, "pause d-1"), (6.5, "resume d-1")]
    assert (reports[0].asked_at_s, reports[0].injected_at_s) == (None, 4.5)
    assert reports[0].asked_when == "once round is at least 3, 1.5 s later"


def test_a_fault_follows_another() -> None:
    first = fault("crash", 2.0, 9.0, nodes=("d-1",), index=0)
    second = PlannedFault(1, "pause", None, None, ("d-2",), (), {}, when=Condition(None, None, None, 0, 1.0))
    levers, _ = carry_out(star(faults=(first, second)), 4.0)
    assert levers.pulled[:2] == [(2.0, "kill d-1"), (3.0, "pause d-2")]


def test_a_fault_whose_time_never_comes_has_no_evidence() -> None:
    never = PlannedFault(0, "pause", None, None, ("d-1",), (), {}, when=Condition("round", 3.0, None, None, 0.0))
    levers, (report,) = carry_out(star(faults=(never,)), 9.0)
    assert levers.pulled == []
    assert (report.evidence, report.error) == (None, None)


def test_counters_count_over_all_nodes_for_a_fault_that_waits() -> None:
    watch = Watch()

    async def run() -> None:
        waiting = asyncio.create_task(watch.until(Condition("aggregated_updates", 3.0, None, None, 0.0)))
        await asyncio.sleep(0.1)
        watch.add("a", Record(0.1, "aggregated_updates", 2.0))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        watch.add("b", Record(0.2, "aggregated_updates", 1.0))
        assert await waiting == "aggregated_updates was 3"

    in_virtual_time(run())


def test_overlapping_pauses_end_with_the_last_and_slowings_multiply() -> None:
    pauses = [
        fault("pause", at, heal, nodes=("d-1",), index=index) for index, (at, heal) in enumerate([(1, 4), (2, 6)])
    ]
    slow = [
        fault("straggler", at, heal, nodes=("d-2",), index=index, parameters={"speed": 0.5})
        for index, (at, heal) in enumerate([(1, 4), (2, 6)], 2)
    ]
    levers, _ = carry_out(star(faults=(*pauses, *slow)), 8.0)
    assert [each for each in levers.pulled if each[1].endswith("d-1")] == [(1.0, "pause d-1"), (6.0, "resume d-1")]
    assert [each for each in levers.pulled if "slow" in each[1]] == [
        (1.0, "slow d-2 0.5"),
        (2.0, "slow d-2 0.25"),
        (4.0, "slow d-2 0.5"),
        (6.0, "slow d-2 1"),
    ]


def test_a_frozen_node_that_dies_is_not_frozen_in_its_next_life() -> None:
    faults = (fault("pause", 1, 6, nodes=("d-1",), index=0), fault("crash", 2, 4, nodes=("d-1",), index=1))
    levers, _ = carry_out(star(faults=faults), 8.0)
    assert [what for _, what in levers.pulled[:4]] == ["pause d-1", "resume d-1", "kill d-1", "start d-1"]


def test_a_degrade_changes_all_that_it_names_on_top_of_what_is_there() -> None:
    shape = LinkShape(rate_bps=1e6, delay_s=0.01, jitter_s=0.001, loss=0.5, duplicate=0.1)
    how = {
        "rate_share": 0.25,
        "add_delay": 0.02,
        "add_jitter": 0.003,
        "loss": 0.5,
        "duplicate": None,
        "corrupt": 0.2,
        "queue": 3000.0,
        "burst_loss": {"to_bad": 0.01, "to_good": 0.2, "loss_good": 0.0, "loss_bad": 1.0},
    }
    worse = worsened(shape, how)
    assert (worse.rate_bps, worse.loss, worse.duplicate) == (2.5e5, 0.75, 0.1)
    assert (worse.delay_s, worse.jitter_s, worse.corrupt) == pytest.approx((0.03, 0.004, 0.2))
    assert worse.queue_bytes == 3000
    assert worse.burst_loss == BurstLoss(0.01, 0.2, 0.0, 1.0)
