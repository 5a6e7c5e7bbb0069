"""What is to be said of a run that was killed and went on: when, how long it was down, and what of it nobody saw."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.faults import FAULTS
from orchestrator.interrupted import Traces
from orchestrator.receipt import Check
from orchestrator.verify.history import Event

LOST_WITHIN_S = 0.7  # records are at their node for up to 0.2 s, and at the orchestrator for up to 0.5 s
BEFORE = "before the run was killed at"
UNSEEN = "what watched it was killed with the run at"


def resumptions(events: Sequence[Event]) -> list[dict[str, float]]:
    """Each time that the run went on: when (run time), how long it was down (real), until when all had been counted."""
    return [
        {
            "at_s": event.t,
            "down_s": float(event.details["down_s"]),
            "counted_until_s": float(event.details["counted_until_s"]),
        }
        for event in events
        if event.name == "run_resumed"
    ]


def in_notes(events: Sequence[Event]) -> list[str]:
    """The same for people."""
    return [
        f"killed and resumed at {each['at_s']:.2f} s of the run, after {each['down_s']:.0f} real seconds that are none "
        "of its time: all nodes began anew, the coordinator from its checkpoint; nobody counted bytes, CPU and joules "
        f"between {each['counted_until_s']:.2f} s and then, and records of the last {LOST_WITHIN_S:g} real seconds are "
        "lost"
        for each in resumptions(events)
    ]


def unknown_of_faults(events: Sequence[Event]) -> list[str]:
    """Faults that acted when the run was killed, and of which something is not known since: the run is degraded."""
    return [
        f"fault {event.details['fault']} ({event.details['kind']}) acted when the run was killed at {event.t:.2f} s, "
        f"and nobody knows any more {forgotten}"
        for event in events
        if event.name == "fault_resumed" and (forgotten := FAULTS[str(event.details["kind"])].forgets)
    ]


def died_before(events: Sequence[Event]) -> list[str]:
    """Nodes that ended by themselves before the run was killed."""
    names = {str(e.details["node"]) for e in events if e.name == "node_exited" and not e.details["asked"]}
    if not names:
        return []
    return [f"ended by themselves before the run was killed, which no fault asked for: {', '.join(sorted(names))}"]


def checks_before(directory: Path, past: Traces) -> list[Check]:
    """What the receipt knew before the run was killed, and what its substrate had watched of itself."""
    known = [*_receipt(directory), *past.counted.watched]
    checks = [each if BEFORE in each.why or UNSEEN in each.why else _dated(each, past.at_s) for each in known]
    if not past.counted.watched:
        why = f"{UNSEEN} {past.at_s:.2f} s: how late packets were until then nobody can tell"
        checks.append(Check("lateness_p99_s", "links", None, None, None, None, why))
    return checks


def _dated(check: Check, at_s: float) -> Check:
    when = f"{BEFORE} {at_s:.2f} s"
    return replace(check, why=f"{check.why}; {when}" if check.why else when)


def _receipt(directory: Path) -> list[Check]:
    try:
        raw: dict[str, Any] = json.loads((directory / "receipt.json").read_text(encoding="utf-8"))
        return [Check(**each) for each in raw["checks"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # it was killed before it had probed its links
