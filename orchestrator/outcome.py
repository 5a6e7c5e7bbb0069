"""What a run is asked to do beside its plan, and what comes of it: the words between `run.py` and who calls it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from node_image.plugins import Plugin

Verdict = Literal["met", "missed", "unknown"]
Status = Literal["complete", "degraded", "broke", "timed_out", "interrupted"]

# From best to worst: a run that cannot be trusted is worse than one that missed its expectations.
EXIT_CODES = {0: "met", 1: "missed", 6: "degraded", 5: "timed out", 4: "broke", 3: "machine cannot", 2: "wrong usage"}
INTERRUPTED = 130


@dataclass(frozen=True)
class RunOptions:
    """How to run a plan, as the command line says. `out` is the run directory itself, made by the run."""

    out: Path
    substrate: str = "auto"
    shaper: str = "auto"
    keep: str = "on-failure"  # never | on-failure | always: the nodes' own files, after the run
    allow_degraded: bool = False
    data_dir: str | None = None
    probe: bool = True  # measure the links before the run, for the receipt
    boards: Path | None = None  # the inventory of physical boards
    insecure: bool = False  # nodes on boards speak to each other without TLS
    plugins: "tuple[Plugin, ...]" = ()  # the user's own files, in the registry already
    trust: bool = False  # run the programs that the scenario's workload names
    meter: str = ""  # measures this machine while the run learns, `name:key=value`; empty: none does


@dataclass(frozen=True)
class Finding:
    """An expectation, what was found (base units; None: nothing was), and the verdict."""

    text: str
    metric: str
    found: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Outcome:
    """What came of a run. `summary` holds its figures by metric, base units; `notes` what to know when reading them."""

    status: Status
    exit_code: int
    directory: Path
    summary: Mapping[str, float | None]
    expectations: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "directory": str(self.directory)}

    @staticmethod
    def from_json(found: Mapping[str, Any], directory: Path) -> "Outcome":
        """Inverse of `to_json`, of a run directory that may have been moved since."""
        findings = tuple(Finding(**each) for each in found["expectations"])
        return Outcome(
            found["status"], found["exit_code"], directory, found["summary"], findings, tuple(found["notes"])
        )


def worst(codes: list[int]) -> int:
    """The exit code of several runs together."""
    order = [*EXIT_CODES, INTERRUPTED]
    return max(codes, key=order.index, default=0)


def meaning(exit_code: int) -> str:
    """An exit code in words."""
    return "interrupted" if exit_code == INTERRUPTED else EXIT_CODES.get(exit_code, "unknown")
