"""The failure schedule at work: each fault is injected and healed at its instant, and what was seen is written down."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.errors import EdgebedError
from orchestrator.faults import FAULTS
from orchestrator.faults.base import Exporter, Injected, World
from orchestrator.faults.links import hold, release
from orchestrator.faults.watch import Watch
from orchestrator.plan import Plan, PlannedFault
from orchestrator.substrates.base import Substrate

OUT_OF_RANGE = -1  # stands for a fault's index where the planned movement of devices holds a link down
Log = Callable[[str, dict[str, Any]], None]  # event name, details


@dataclass(frozen=True)
class FaultReport:
    """What became of one planned fault. Without `evidence` nobody can say that it acted."""

    index: int
    kind: str
    nodes: tuple[str, ...]
    links: tuple[str, ...]
    asked_at_s: float | None  # None: it waited for something, `asked_when`
    asked_heal_s: float | None
    injected_at_s: float | None = None
    healed_at_s: float | None = None
    evidence: str | None = None
    heal_evidence: str | None = None
    error: str | None = None
    asked_when: str | None = None


async def run_schedule(
    plan: Plan,
    substrate: Substrate,
    watch: Watch,
    log: Log,
    reports: list[FaultReport],
    exporter: Exporter | None = None,
) -> None:
    """Inject and heal every fault of the plan; keeps `reports` (one a fault, in order) up to date.

    Faults that wait for something wait for `watch`, which sees the records. `exporter`: where live metrics are read.

    When cancelled it heals what acts, and returns only after the last heal: the nodes are stopped after that.
    """
    world = World(plan, substrate, {}, {}, {}, {}, {}, {}, watch, log, exporter=exporter)
    reports[:] = [
        FaultReport(
            fault.index,
            fault.kind,
            fault.nodes,
            fault.links,
            fault.at_s,
            fault.heal_s,
            asked_when=None if fault.when is None else str(fault.when),
        )
        for fault in plan.faults
    ]
    tasks = [
        asyncio.create_task(_one(fault, position, world, log, reports), name=f"fault {fault.index} ({fault.kind})")
        for position, fault in enumerate(plan.faults)
    ]
    tasks += (
        [asyncio.create_task(_contacts(world, log), name="contacts")] if any(link.away for link in plan.links) else []
    )
    if not tasks:
        return
    try:
        await asyncio.wait(tasks)  # not gather: that would cancel the faults before they know that the run is over
    finally:
        world.ending = True
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for problem in ended:  # faults tell their own in their reports; what else goes wrong breaks the run
        if isinstance(problem, Exception):
            raise problem


async def _contacts(world: World, log: Log) -> None:
    """Take links down while their ends are out of range of each other, and up again when they are back."""
    changes: dict[float, dict[bool, list[str]]] = defaultdict(lambda: {True: [], False: []})
    for link in world.plan.links:
        for from_s, to_s in link.away:
            changes[from_s][False].append(link.id)
            if to_s is not None:
                changes[to_s][True].append(link.id)
    for at_s, ids in sorted(changes.items()):
        await world.substrate.sleep_until(at_s)
        if lost := tuple(ids[False]):
            log("links_out_of_range", {"links": list(lost), "evidence": await hold(world, OUT_OF_RANGE, lost, None)})
        if back := tuple(ids[True]):
            log("links_in_range", {"links": list(back), "evidence": await release(world, OUT_OF_RANGE, back)})


async def _one(fault: PlannedFault, position: int, world: World, log: Log, reports: list[FaultReport]) -> None:
    fault, why = await _due(fault, world)
    at = world.substrate.now()
    injecting = asyncio.ensure_future(FAULTS[fault.kind].inject(fault, world))
    cancelled = False
    try:
        injected = await asyncio.shield(injecting)
    except asyncio.CancelledError:
        cancelled = True  # half-injected is no state to leave behind: finish, then heal
        injected = await injecting
    except (EdgebedError, OSError, TimeoutError, RuntimeError) as error:
        reports[position] = replace(reports[position], injected_at_s=at, error=str(error))
        log("fault_failed", {"fault": fault.index, "kind": fault.kind, "error": str(error)})
        return
    reports[position] = replace(reports[position], injected_at_s=at, evidence=injected.evidence)
    world.watch.began(fault.index)
    log("fault_injected", {**_details(fault, fault.at_s, injected.evidence), **why})
    try:
        if not cancelled and fault.heal_s is not None:
            await world.substrate.sleep_until(fault.heal_s)
        elif not cancelled:
            await asyncio.Event().wait()  # for ever: until the run ends
    finally:
        await _heal(fault, injected, position, world, log, reports)


async def _due(fault: PlannedFault, world: World) -> tuple[PlannedFault, dict[str, str]]:
    """Wait for the fault's instant, or for what it waits for; then its instants are known, and what it had seen."""
    if fault.when is None:
        assert fault.at_s is not None, "a plan gives one or the other"
        await world.substrate.sleep_until(fault.at_s)
        return fault, {}
    seen = await world.watch.until(fault.when)
    at_s = world.substrate.now() + fault.when.plus_s
    await world.substrate.sleep_until(at_s)
    heal_s = None if fault.lasts_s is None else at_s + fault.lasts_s
    return replace(fault, at_s=at_s, heal_s=heal_s), {"because": seen}


async def _heal(
    fault: PlannedFault, injected: Injected, position: int, world: World, log: Log, reports: list[FaultReport]
) -> None:
    at = world.substrate.now()
    try:
        evidence = await injected.heal()
    except (EdgebedError, OSError, TimeoutError, RuntimeError) as error:
        reports[position] = replace(reports[position], healed_at_s=at, error=f"not healed: {error}")
        log("fault_not_healed", {"fault": fault.index, "kind": fault.kind, "error": str(error)})
        return
    reports[position] = replace(reports[position], healed_at_s=at, heal_evidence=evidence)
    log("fault_healed", _details(fault, fault.heal_s, evidence))


def _details(fault: PlannedFault, asked_s: float | None, evidence: str) -> dict[str, Any]:
    return {
        "fault": fault.index,
        "kind": fault.kind,
        "nodes": list(fault.nodes),
        "links": list(fault.links),
        "asked_s": asked_s,
        "evidence": evidence,
    }
