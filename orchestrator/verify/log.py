"""I10: the log. Events are numbered and in time, each has a cause, and each fault of the plan began and ended."""

from collections.abc import Iterator
from itertools import pairwise
from math import inf

from orchestrator.plan import PlannedFault
from orchestrator.verify.checked import Checked, judged
from orchestrator.verify.history import Event, History
from orchestrator.verify.spells import active

ID = "I10"
REAL_LATENESS_S = 2.0  # of a fault, on a busy machine
BEGAN, RESUMED, HEALED = "fault_injected", "fault_resumed", "fault_healed"
FAILED = ("fault_failed", "fault_not_healed")


def check(history: History) -> Checked:
    """See the table."""
    broken = [*_misnumbered(history), *_out_of_time(history), *_without_cause(history), *_unpaired(history)]
    broken += _not_as_planned(history)
    unsure = ["events were not numbered yet"] if any(event.number is None for event in history.events) else []
    return judged(ID, f"{len(history.events)} events, {len(history.plan.faults)} planned faults", broken, unsure)


def _misnumbered(history: History) -> Iterator[str]:
    for expected, event in enumerate(history.events, 1):
        if event.number is not None and event.number != expected:
            yield f"event {event.number} ({event.name}) is number {expected} of the log"
            return


def _out_of_time(history: History) -> Iterator[str]:
    for before, event in pairwise(history.events):
        if event.t < before.t - (0.0 if history.is_virtual else history.tolerance_s):
            yield f"event {event.name} at {event.t:g} s comes after {before.name} at {before.t:g} s"
    for name, records in history.nodes.items():
        for earlier, later in pairwise(records):
            if later.t < earlier.t - history.tolerance_s:
                yield f"{name} recorded {later.metric} at {later.t:g} s after {earlier.metric} at {earlier.t:g} s"
                break


def _without_cause(history: History) -> Iterator[str]:
    """Nodes start at the beginning and after a fault, and end by a fault, at the end of the run, or by themselves."""
    began = next((event.t for event in history.named("run_began")), inf)
    resumed = {event.t for event in history.named("run_resumed")}  # time stands still until all nodes are ready
    ended = history.ended_s
    for event in history.named("node_ready", "node_exited"):
        if event.name == "node_ready" and (event.t <= began or event.t in resumed):
            continue
        if event.name == "node_exited" and (
            not event.details["asked"] or (ended is not None and event.t >= ended - history.tolerance_s)
        ):
            continue
        if not _fault_of(history, event):
            yield f"{event.name} of {event.details['node']} at {event.t:g} s has no cause"


def _fault_of(history: History, event: Event) -> bool:
    """Whether a fault acted on this node by then."""
    for fault in history.faults:
        spell = active(fault)
        if spell is not None and event.details["node"] in fault.nodes and spell.from_s <= event.t + history.tolerance_s:
            return True
    return False


def _unpaired(history: History) -> Iterator[str]:
    acting: set[int] = set()
    known = {fault.index for fault in history.plan.faults}
    for event in history.named(BEGAN, RESUMED, HEALED, *FAILED):
        fault = int(event.details["fault"])
        if fault not in known:
            yield f"fault {fault} is not in the plan"
        if event.name == BEGAN:
            if fault in acting:
                yield f"fault {fault} began twice, at {event.t:g} s the second time"
            acting.add(fault)
        elif event.name == RESUMED and fault not in acting:
            yield f"fault {fault} acted again at {event.t:g} s, and had not acted before"
        elif event.name == HEALED and fault not in acting:
            yield f"fault {fault} ended at {event.t:g} s, and had not begun"
        if event.name not in (BEGAN, RESUMED):
            acting.discard(fault)
    if history.ended_s is not None:
        yield from (f"fault {fault} began and never ended" for fault in sorted(acting))


def _not_as_planned(history: History) -> Iterator[str]:
    """Each fault begins and ends at its instants, as far as the run came."""
    if history.ended_s is None:
        return
    slack_s = history.tolerance_s if history.is_virtual else REAL_LATENESS_S
    told = {fault.index: fault for fault in history.faults}
    acting_s = {int(event.details["fault"]): event.t for event in history.named(BEGAN)}  # some take a while to begin
    for planned in history.plan.faults:
        fault = told.get(planned.index)
        if fault is None:
            yield f"nothing is told of fault {planned.index} ({planned.kind})"
            continue
        at_s = _due_s(history, planned)
        if at_s is None:
            continue
        if fault.injected_at_s is None:
            if at_s < history.ended_s - slack_s:
                yield f"fault {planned.index} ({planned.kind}) was due at {at_s:g} s and never began"
            continue
        if not at_s - history.tolerance_s <= fault.injected_at_s <= at_s + slack_s:
            yield f"fault {planned.index} ({planned.kind}) was due at {at_s:g} s and began at {fault.injected_at_s:g} s"
        lasts_s = planned.lasts_s if planned.heal_s is None else planned.heal_s - at_s
        heal_s = min(
            history.ended_s, inf if lasts_s is None else max(acting_s.get(planned.index, at_s), at_s + lasts_s)
        )
        if fault.healed_at_s is not None and not heal_s - slack_s <= fault.healed_at_s <= heal_s + slack_s:
            yield f"fault {planned.index} ({planned.kind}) was to end at {heal_s:g} s, not {fault.healed_at_s:g} s"


def _due_s(history: History, planned: PlannedFault) -> float | None:
    """When a fault was due; None where it waited for a metric's value."""
    if planned.when is None:
        return planned.at_s
    if planned.when.after is None:
        return None
    begun = next(
        (event.t for event in history.named(BEGAN) if event.details["fault"] == planned.when.after),
        inf,  # it never was
    )
    return begun + planned.when.plus_s
