"""The receipt: what was asked of the emulation and what was found, measured before and during the run.

Before: real probe packets measure every directed link (probes.py). During: the shaper's lateness, waiting for the CPU,
and whether local steps took as long as the device profile says. What is out of tolerance makes the run `degraded`.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from node_image.records import Record
from orchestrator.plan import Plan

if TYPE_CHECKING:  # the history of a run knows its substrate, and that the receipt
    from orchestrator.verify.history import Event

STEP_TOLERANCE = 0.25
LATE = ("rtt_s", "lateness_p99_s", "background_lateness_p99_s", "waiting_for_cpu_ratio")  # more is too slow


@dataclass(frozen=True)
class Check:
    """One comparison. `ok` None: not compared, `why` says the reason."""

    what: str
    where: str
    asked: float | None
    found: float | None
    tolerance: float | None
    ok: bool | None
    why: str = ""

    def __str__(self) -> str:
        found = "nothing" if self.found is None else f"{self.found:.6g}"
        asked = "nothing" if self.asked is None else f"{self.asked:.6g}"
        tolerance = "" if self.tolerance is None else f" +- {self.tolerance:.3g}"
        return f"{self.where}: {self.what} is {found}, asked {asked}{tolerance}{'; ' if self.why else ''}{self.why}"


@dataclass
class Receipt:
    """All checks of a run, and facts that have no tolerance."""

    checks: list[Check] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def failed(self) -> list[Check]:
        """Checks out of tolerance."""
        return [check for check in self.checks if check.ok is False]

    def to_json(self, *, final: bool = True) -> dict[str, Any]:
        """As plain JSON values. Until the run has ended it is not `final`: what is watched during it is pending."""
        return {
            "ok": not self.failed(),
            "pending": not final,
            "checks": [asdict(check) for check in self.checks],
            "facts": self.facts,
        }


def slow_down_needed(checks: Iterable[Check], slow_down: float) -> float | None:
    """About how slow a run must be for this machine to keep up, from what it was late with; None where it did keep up.

    What is late in real time is late in the run's by that over `slow_down`: so each check that failed says by how much
    the run would have to be slower, and the worst of them counts. Rounded up to a half. What a link did too early or
    too fast is no matter of time and says nothing.
    """
    factors = [_times_too_late(check) for check in checks if check.ok is False]
    worst = max(factors, default=0.0)
    return math.ceil(2 * slow_down * worst) / 2 if worst > 1 else None


def cores_wanted(shares: Iterable[float | None], slow_down: float) -> float:
    """Cores that the devices' local steps need while all compute at once; `shares` of one core, None: not bounded."""
    return sum(share for share in shares if share is not None) / slow_down


def _times_too_late(check: Check) -> float:
    asked, found, tolerance = check.asked, check.found, check.tolerance
    if asked is None or found is None or tolerance is None:
        return 0.0
    if check.what == "rate_bps":
        return asked / found if 0 < found < asked else 0.0
    if check.what == "step_time_ratio":
        return found / asked
    if check.what in LATE:
        return (found - asked) / tolerance
    return 0.0


def check_records(events: "Iterable[Event]", receipt: Receipt) -> None:
    """How many records of each node came late, or never: figures that lack some are not true."""
    late, lost = Counter[str](), Counter[str]()
    for event in events:
        if event.name == "records_delayed":
            late[event.details["node"]] += event.details["late"]
            lost[event.details["node"]] += event.details["lost"]
        elif event.name == "node_records_lost":
            lost[event.details["node"]] += event.details["count"]
    why = "a fault cut the way of the records; these came when it was back, with their own times"
    for node, count in sorted(late.items()):
        receipt.checks.append(Check("records_late", node, None, float(count), None, None, why))
    for node, count in sorted(lost.items()):
        if count:
            why = "the figures of the run lack what they told"
            receipt.checks.append(Check("records_lost", node, 0.0, float(count), 0.0, False, why))


def check_steps(
    plan: Plan, nodes: Mapping[str, Iterable[Record]], calibration: dict[str, dict[str, float]], receipt: Receipt
) -> None:
    """Compare how long local steps took with what the cost model of each profile says (found / asked, median).

    Devices that a straggler, thermal or pause fault slows on purpose are left out; so is all that was not calibrated:
    other profiles, and steps of a part of the model.
    """
    disturbed = {
        name
        for fault in plan.faults
        if fault.kind in ("straggler", "thermal", "pause", "dropout")
        for name in fault.nodes
    }
    ratios: dict[str, list[float]] = {}
    for node in plan.nodes:
        asked = calibration.get(node.profile.name)
        if node.role == "device" and asked is not None and node.name not in disturbed:
            for record in nodes[node.name]:
                if record.metric == "local_step_s" and "of" not in record.labels:
                    ratios.setdefault(node.profile.name, []).append(record.value / asked["board_s"])
    for profile, found in sorted(ratios.items()):
        middle = median(found)
        ok = abs(middle - 1) <= STEP_TOLERANCE
        receipt.checks.append(Check("step_time_ratio", profile, 1.0, middle, STEP_TOLERANCE, ok))
