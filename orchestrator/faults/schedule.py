"""The failure schedule at work: each fault is injected and healed at its instant, and what was seen is written down."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Any

from orchestrator.errors import EdgebedError
from orchestrator.faults import FAULTS
from orchestrator.faults.base import Exporter, Injected, World
from orchestrator.faults.links import hold, release
from orchestrator.faults.watch import Watch
from orchestrator.plan import Plan, PlannedFault
from orchestrator.substrates.base import Substrate

if TYPE_CHECKING:  # it reads what is written here
    from orchestrator.faults.past import Past, PastFault

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


def unreported(fault: PlannedFault) -> FaultReport:
    """Of a fault that is ahead."""
    when = None if fault.when is None else str(fault.when)
    return FaultReport(fault.index, fault.kind, fault.nodes, fault.links, fault.at_s, fault.heal_s, asked_when=when)


async def run_schedule(
    plan: Plan,
    substrate: Substrate,
    watch: Watch,
    log: Log,
    reports: list[FaultReport],
    exporter: Exporter | None = None,
    past: "Past | None" = None,
) -> None:
    """Inject and heal every fault of the plan; keeps `reports` (one a fault, in order) up to date.

    Faults that wait for something wait for `watch`, which sees the records. `exporter`: where live metrics are read. Of
    a run that was killed and goes on, `past` says how its faults stood: what was under way acts again before time
    goes on.

    When cancelled it heals what acts, and returns only after the last heal: the nodes are stopped after that.
    """
    world = World(plan, substrate, {}, {}, {}, {}, {}, {}, watch, log, exporter=exporter)
    reports[:] = [unreported(fault) for fault in plan.faults] if past is None else [each.report for each in past.faults]
    moving = any(link.away for link in plan.links)
    acting: dict[int, Injected] = {}
    if past is not None:
        try:
            await past.due.wait()
            acting = await _again(past, world, log, reports)
            if moving:
                await _as_far_as_they_are(world, log, past.at_s)
        finally:
            past.stands.set()
    tasks = []
    for position, fault in enumerate(plan.faults):
        told = None if past is None else past.faults[position]
        if told is None or told.state == "ahead":
            job = _one(fault, position, world, log, reports, told)
        elif position in acting:
            job = _rest(_instants(fault, told), acting[position], position, world, log, reports)
        else:
            continue
        tasks.append(asyncio.create_task(job, name=f"fault {fault.index} ({fault.kind})"))
    if moving:
        from_s = -inf if past is None else past.at_s
        tasks.append(asyncio.create_task(_contacts(world, log, from_s), name="contacts"))
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


async def _again(past: "Past", world: World, log: Log, reports: list[FaultReport]) -> dict[int, Injected]:
    """Have those faults act again that acted when the run was killed; what was injected, by place in the plan."""
    acting = {}
    for told in past.faults:
        if told.report.injected_at_s is not None:
            world.watch.began(told.report.index)
        if told.ends_now:
            fault = next(each for each in world.plan.faults if each.index == told.report.index)
            log("fault_healed", _details(fault, told.heal_s, str(told.report.heal_evidence), past.at_s))
    for position in past.under_way():
        fault, report = _instants(world.plan.faults[position], past.faults[position]), reports[position]
        kind = FAULTS[fault.kind]
        try:
            injected = await (kind.again or kind.inject)(fault, world)
        except (EdgebedError, OSError, TimeoutError, RuntimeError) as error:
            reports[position] = replace(report, error=f"after the run was killed: {error}")
            log("fault_failed", {"fault": fault.index, "kind": fault.kind, "error": str(error)})
            continue
        acting[position] = injected
        reports[position] = replace(report, evidence=again(report, past.at_s, injected.evidence))
        log("fault_resumed", _details(fault, fault.at_s, injected.evidence, past.at_s))
    return acting


def again(report: FaultReport, at_s: float, evidence: str) -> str:
    """The evidence of a fault that acted, and acts again."""
    return f"{report.evidence}; again after the run was killed at {at_s:g} s: {evidence}"


def _instants(fault: PlannedFault, told: "PastFault") -> PlannedFault:
    return replace(fault, at_s=told.at_s, heal_s=told.heal_s)


async def _as_far_as_they_are(world: World, log: Log, at_s: float) -> None:
    """Take down the links whose ends are out of range of each other at an instant."""
    away = [
        link.id
        for link in world.plan.links
        if any(from_s <= at_s and (to_s is None or at_s < to_s) for from_s, to_s in link.away)
    ]
    if away:
        log("links_out_of_range", {"links": away, "evidence": await hold(world, OUT_OF_RANGE, tuple(away), None)})


async def _contacts(world: World, log: Log, since_s: float) -> None:
    """Take links down while their ends are out of range of each other, and up again when they are back.

    What changed until `since_s` is as it should be.
    """
    changes: dict[float, dict[bool, list[str]]] = defaultdict(lambda: {True: [], False: []})
    for link in world.plan.links:
        for from_s, to_s in link.away:
            changes[from_s][False].append(link.id)
            if to_s is not None:
                changes[to_s][True].append(link.id)
    for at_s, ids in sorted(changes.items()):
        if at_s <= since_s:
            continue
        await world.substrate.sleep_until(at_s)
        if lost := tuple(ids[False]):
            log("links_out_of_range", {"links": list(lost), "evidence": await hold(world, OUT_OF_RANGE, lost, None)})
        if back := tuple(ids[True]):
            log("links_in_range", {"links": list(back), "evidence": await release(world, OUT_OF_RANGE, back)})


async def _one(
    fault: PlannedFault,
    position: int,
    world: World,
    log: Log,
    reports: list[FaultReport],
    told: "PastFault | None" = None,
) -> None:
    fault, why = await _due(fault, world, told)
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
    log("fault_injected", {**_details(fault, fault.at_s, injected.evidence, at), **why})
    await _rest(fault, injected, position, world, log, reports, cancelled=cancelled)


async def _rest(
    fault: PlannedFault,
    injected: Injected,
    position: int,
    world: World,
    log: Log,
    reports: list[FaultReport],
    *,
    cancelled: bool = False,
) -> None:
    """Let a fault act until its time is over, or the run's, and heal it."""
    try:
        if not cancelled and fault.heal_s is not None:
            await world.substrate.sleep_until(fault.heal_s)
        elif not cancelled:
            await asyncio.Event().wait()  # for ever: until the run ends
    finally:
        await _heal(fault, injected, position, world, log, reports)


async def _due(fault: PlannedFault, world: World, told: "PastFault | None") -> tuple[PlannedFault, dict[str, str]]:
    """Wait for the fault's instant, or for what it waits for; then its instants are known, and what it had seen."""
    if told is not None and told.because:
        assert told.at_s is not None, "what it waits for has come to pass"
        await world.substrate.sleep_until(told.at_s)
        return _instants(fault, told), {"because": told.because}
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
    log("fault_healed", _details(fault, fault.heal_s, evidence, at))


def _details(fault: PlannedFault, asked_s: float | None, evidence: str, since_s: float) -> dict[str, Any]:
    """Of an event: it is written once it was seen to be, and what it tells of began at `since_s`."""
    return {
        "fault": fault.index,
        "kind": fault.kind,
        "nodes": list(fault.nodes),
        "links": list(fault.links),
        "asked_s": asked_s,
        "since_s": round(since_s, 6),
        "evidence": evidence,
    }
