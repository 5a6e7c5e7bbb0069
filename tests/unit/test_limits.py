"""Limits of a node's means: what is asked of the kernel, of which life, and what explains an end."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from orchestrator.plan import PlannedNode
from orchestrator.substrates import limits
from orchestrator.substrates.base import NodeUse, Resource
from orchestrator.substrates.placed import Placed
from tests.plans import fault, star
from tests.unit.test_schedule import Levers, carry_out_on

ORDINARY_BYTES = 1 << 30
KILLED, OUT_OF_FILES = -9, 1


@dataclass
class PretendGroup:
    """A control group that does as it is told."""

    memory: int | None = ORDINARY_BYTES
    most_pids: int | None = None
    kills: int = 3
    refused: int = 5
    asked: list[tuple[str, int | None]] = field(default_factory=list)

    def memory_limit(self) -> int | None:
        return self.memory

    def set_memory(self, most: int | None) -> int | None:
        self.asked.append(("memory", most))
        self.memory = most
        return most

    def memory_bytes(self) -> int:
        return 1000

    def oom_kills(self) -> int:
        return self.kills

    def pids_limit(self) -> int | None:
        return self.most_pids

    def set_pids(self, most: int | None) -> int | None:
        self.asked.append(("pids", most))
        self.most_pids = most
        return most

    def pids_now(self) -> int:
        return 7

    def pids_refused(self) -> int:
        return self.refused


def placed() -> tuple[Placed, PretendGroup]:
    """A node that lives, in such a group."""
    group = PretendGroup()
    made = SimpleNamespace(
        node=SimpleNamespace(name="d-1"),
        group=group,
        limited=limits.Limited(),
        lives=True,
        process=SimpleNamespace(excused=lambda _: False),
    )
    return cast(Placed, made), group


def limit(node: Placed, resource: Resource, most: int | None) -> str:
    return asyncio.run(limits.limit(node, resource, most))


def excused(node: Placed, code: int) -> bool:
    return bool(cast(Any, node.process).excused(code))


def test_a_limit_is_set_read_back_and_what_was_before_is_there_again() -> None:
    node, group = placed()
    assert limit(node, "memory", 2_000_000) == "d-1: memory limit read back as 2.0 MB, it used 0.0 MB, oom_kill 0"
    assert limit(node, "pids", 0) == "d-1: pids.max read back as 7, it has 7 processes and threads"
    group.kills, group.refused = 4, 7
    assert limit(node, "memory", None) == f"d-1: memory limit read back as {ORDINARY_BYTES / 1e6:.1f} MB, oom_kill 1"
    assert limit(node, "pids", None) == "d-1: pids.max read back as max, 2 refused meanwhile"
    assert (group.memory, group.most_pids) == (ORDINARY_BYTES, None)


def test_a_second_limit_does_not_take_the_first_for_what_was_before() -> None:
    node, group = placed()
    for most in (2_000_000, 1_000_000, None):
        limit(node, "memory", most)
    assert group.memory == ORDINARY_BYTES


def test_a_new_life_is_held_to_what_is_in_force() -> None:
    node, group = placed()
    limit(node, "memory", 2_000_000)
    limit(node, "pids", 20)
    limits.release(node)
    assert (group.memory, group.most_pids) == (ORDINARY_BYTES, None)
    asyncio.run(limits.renew(node))
    assert (group.memory, group.most_pids) == (2_000_000, 20)


def test_only_a_limit_in_force_explains_an_end_and_memory_only_a_kill() -> None:
    node, _ = placed()
    limit(node, "memory", 2_000_000)
    assert excused(node, KILLED)
    assert not excused(node, OUT_OF_FILES), "who wants memory is killed for it, and ends in no other way"
    limit(node, "pids", 20)
    assert excused(node, OUT_OF_FILES)
    limit(node, "pids", None)
    limit(node, "memory", None)
    assert not excused(node, KILLED)


class Starving(Levers):
    """What limits a node ends it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.alive = True

    def runs(self, node: PlannedNode) -> bool:
        return self.alive

    async def limit(self, node: PlannedNode, resource: Resource, most: int | None) -> str:
        self.alive = self.alive and most is None
        return await super().limit(node, resource, most)

    async def start(self, node: PlannedNode) -> None:
        self.alive = True
        await super().start(node)

    async def uses(self) -> dict[str, NodeUse]:
        return {node.name: NodeUse(0, 0, 0, 1000, None) for node in self._plan.nodes}


@pytest.mark.parametrize("until_s", [8.0, 2.0])
def test_who_ended_for_want_is_started_again_unless_the_run_is_over(until_s: float) -> None:
    plan = star(faults=(fault("memory", 1.0, 3.0, nodes=("d-1",), parameters={"limit": None, "to": 0.25}),))
    levers, (report,) = carry_out_on(Starving(plan), plan, until_s)
    lifted_s = min(3.0, until_s)
    started = [(3.0, "start d-1")] if until_s > 3.0 else []
    assert levers.pulled == [(1.0, "limit d-1 memory 250"), (lifted_s, "limit d-1 memory None"), *started]
    assert report.heal_evidence is not None
    assert ("started again" if started else "left down, the run is over") in report.heal_evidence


@pytest.mark.parametrize(
    ("kind", "parameters", "most"), [("pids", {"limit": 40}, 40), ("descriptors", {"limit": None}, 0)]
)
def test_each_kind_limits_what_it_is_named_after(kind: str, parameters: dict[str, Any], most: int) -> None:
    plan = star(faults=(fault(kind, 1.0, 3.0, nodes=("d-1",), parameters=parameters),))
    levers, _ = carry_out_on(Levers(plan), plan, 8.0)
    assert [what for _, what in levers.pulled] == [f"limit d-1 {kind} {most}", f"limit d-1 {kind} None"]
