"""The receipt: what was asked of the emulation and what was found, measured before and during the run.

Before: real probe packets measure every directed link (probes.py). During: the shaper's lateness, waiting for the CPU,
and whether local steps took as long as the device profile says. What is out of tolerance makes the run `degraded`.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from orchestrator.plan import Plan
from orchestrator.summary import read_records

STEP_TOLERANCE = 0.25


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

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "ok": not self.failed(),
            "checks": [asdict(check) for check in self.checks],
            "facts": self.facts,
        }


def check_steps(plan: Plan, directory: Path, calibration: dict[str, dict[str, float]], receipt: Receipt) -> None:
    """Compare how long local steps took with what the cost model of each profile says (found / asked, median).

    Devices that a straggler or pause fault slows on purpose are left out; so is all where nothing was calibrated.
    """
    disturbed = {
        name for fault in plan.faults if fault.kind in ("straggler", "pause", "dropout") for name in fault.nodes
    }
    ratios: dict[str, list[float]] = {}
    for node in plan.nodes:
        asked = calibration.get(node.profile.name)
        if node.role == "device" and asked is not None and node.name not in disturbed:
            for record in read_records(directory / "nodes" / node.name / "records.jsonl"):
                if record.metric == "local_step_s":
                    ratios.setdefault(node.profile.name, []).append(record.value / asked["board_s"])
    for profile, found in sorted(ratios.items()):
        middle = median(found)
        ok = abs(middle - 1) <= STEP_TOLERANCE
        receipt.checks.append(Check("step_time_ratio", profile, 1.0, middle, STEP_TOLERANCE, ok))
