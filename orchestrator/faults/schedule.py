"""The failure schedule at work: each fault is injected and healed at its instant, and what was seen is written down."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.errors import EdgebedError
from orchestrator.faults import FAULTS
from orchestrator.faults.base import Injected, World
from orchestrator.plan import Plan, PlannedFault
from orchestrator.substrates.base import Substrate

Log = Callable[[str, dict[str, Any]], None]  # event name, details


@dataclass(frozen=True)
class FaultReport:
    """What became of one planned fault. Without `evidence` nobody can say that it acted."""

    index: int
    kind: str
    nodes: tuple[str, ...]
    links: tuple[str, ...]
    asked_at_s: float
    asked_heal_s: float | None
    injected_at_s: float | None = None
    healed_at_s: float | None = None
    evidence: str | None = None
    heal_evidence: str | None = None
    error: str | None = None


async def run_schedule(plan: Plan, substrate: Substrate, log: Log, reports: list[FaultReport]) -> None:
    """Inject and heal every fault of the plan; keeps `reports` (one a fault, in order) up to date.

    When cancelled it heals what acts, and returns only after the last heal: the nodes are stopped after that.
    """
    world = World(plan, substrate, {}, {}, {})
    reports[:] = [
        FaultReport(fault.index, fault.kind, fault.nodes, fault.links, fault.at_s, fault.heal_s)
        for fault in plan.faults
    ]
    tasks = [
        asyncio.create_task(_one(fault, position, world, log, reports), name=f"fault {fault.index} ({fault.kind})")
        for position, fault in enumerate(plan.faults)
    ]
    if not tasks:
        return
    try:
        await asyncio.wait(tasks)  # not gather: that would cancel the faults before they know that the run is over
    finally:
        world.ending = True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _one(fault: PlannedFault, position: int, world: World, log: Log, reports: list[FaultReport]) -> None:
    await world.substrate.sleep_until(fault.at_s)
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
    log("fault_injected", _details(fault, fault.at_s, injected.evidence))
    try:
        if not cancelled and fault.heal_s is not None:
            await world.substrate.sleep_until(fault.heal_s)
        elif not cancelled:
            await asyncio.Event().wait()  # for ever: until the run ends
    finally:
        await _heal(fault, injected, position, world, log, reports)


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
