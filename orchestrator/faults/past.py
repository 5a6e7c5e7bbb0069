"""What became of the planned faults before a run was killed, read from its events: for whoever goes on with it. Pure.

What was over is not repeated. What was under way acts again for the time that is left of it, and what was ahead comes
as planned. A fault that waited for something, which had come to pass, is due as if nothing had been between.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from node_image.records import Record
from orchestrator.faults.schedule import FaultReport, again, unreported
from orchestrator.faults.watch import Watch
from orchestrator.plan import Condition, Plan, PlannedFault

if TYPE_CHECKING:
    from orchestrator.verify.history import Event

State = Literal["ahead", "under_way", "over"]


@dataclass(frozen=True)
class PastFault:
    """One fault. `at_s` and `heal_s` are its instants, also of one that had to wait for them; None: not known yet."""

    report: FaultReport
    state: State
    at_s: float | None
    heal_s: float | None
    because: str = ""  # what one that waited had seen
    ends_now: bool = False  # it is over because the run was killed: that is not written down yet


@dataclass(frozen=True)
class Past:
    """All faults, in the plan's order, as they stood at `at_s`.

    What was under way acts again once it is `due`; then `stands` is set.
    """

    at_s: float
    faults: tuple[PastFault, ...]
    due: asyncio.Event = field(default_factory=asyncio.Event)
    stands: asyncio.Event = field(default_factory=asyncio.Event)

    async def act_again(self) -> None:
        """Have what was under way act again, and wait until it does: all nodes are ready, and time stands still."""
        self.due.set()
        await self.stands.wait()

    def under_way(self) -> tuple[int, ...]:
        """Places in the plan of the faults that acted, those first that began first."""
        acted = [place for place, each in enumerate(self.faults) if each.state == "under_way"]
        return tuple(sorted(acted, key=lambda place: self.faults[place].report.injected_at_s or 0.0))


def past_of(plan: Plan, events: Sequence["Event"], records: Iterable[tuple[str | None, Record]], at_s: float) -> Past:
    """The faults of a plan at `at_s`, by the events and records (with who wrote them) of its run until then."""
    began_s = {int(event.details["fault"]): event.t for event in events if event.name == "fault_injected"}
    in_time = sorted(records, key=lambda each: each[1].t)
    return Past(at_s, tuple(_past(fault, events, in_time, began_s, at_s) for fault in plan.faults))


def _past(
    fault: PlannedFault,
    events: Sequence["Event"],
    records: Sequence[tuple[str | None, Record]],
    began_s: Mapping[int, float],
    at_s: float,
) -> PastFault:
    report, asked_s = unreported(fault), fault.at_s
    for event in events:
        if event.details.get("fault") != fault.index:
            continue
        since_s = float(event.details.get("since_s", event.t))
        match event.name:
            case "fault_injected":
                report = replace(report, injected_at_s=since_s, evidence=str(event.details["evidence"]))
                asked_s = event.details["asked_s"]
            case "fault_resumed":
                report = replace(report, evidence=again(report, event.t, str(event.details["evidence"])))
            case "fault_healed":
                report = replace(report, healed_at_s=since_s, heal_evidence=str(event.details["evidence"]))
            case "fault_failed":
                begun = since_s if report.injected_at_s is None else report.injected_at_s
                report = replace(report, injected_at_s=begun, error=str(event.details["error"]))
            case "fault_not_healed":
                report = replace(report, healed_at_s=since_s, error=f"not healed: {event.details['error']}")
    if report.injected_at_s is None:
        return _ahead(fault, report, records, began_s)
    heal_s = fault.heal_s
    if fault.lasts_s is not None and asked_s is not None:
        heal_s = asked_s + fault.lasts_s
    if report.healed_at_s is not None or report.error is not None:
        return PastFault(report, "over", asked_s, heal_s)
    if heal_s is not None and heal_s <= at_s:  # it was due to end just as the run was killed
        over = "its time was over as the run went on, and all was made anew without it"
        report = replace(report, healed_at_s=at_s, heal_evidence=over)
        return PastFault(report, "over", asked_s, heal_s, ends_now=True)
    return PastFault(report, "under_way", asked_s, heal_s)


def _ahead(
    fault: PlannedFault,
    report: FaultReport,
    records: Sequence[tuple[str | None, Record]],
    began_s: Mapping[int, float],
) -> PastFault:
    met = None if fault.when is None else first_met(fault.when, records, began_s)
    if fault.when is None or met is None:
        return PastFault(report, "ahead", fault.at_s, fault.heal_s)
    at_s = met[0] + fault.when.plus_s
    heal_s = None if fault.lasts_s is None else at_s + fault.lasts_s
    return PastFault(report, "ahead", at_s, heal_s, because=met[1])


def first_met(
    condition: Condition, records: Sequence[tuple[str | None, Record]], began_s: Mapping[int, float]
) -> tuple[float, str] | None:
    """When what a fault waits for had come to pass, and what was seen; None: it had not. Records in order of time."""
    if condition.after is not None:
        begun = began_s.get(condition.after)
        return None if begun is None else (begun, f"fault {condition.after} had begun")
    watch = Watch()
    for node, record in records:
        if record.metric == condition.metric:
            seen = watch.meets(condition, node, record)
            if seen is not None:
                return record.t, seen
            watch.add(node, record)
    return None
