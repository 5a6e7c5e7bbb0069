"""The loop above one run: each variant of a scenario planned first, then run one after another, then set side by side.

All variants are planned before the first one starts, so that a mistake shows at once and not after an hour. A
variant that breaks is kept in the table as such and the others go on; Ctrl-C ends the loop with what there is.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.errors import EdgebedError, MachineCannotError
from orchestrator.outcome import INTERRUPTED, Outcome, RunOptions, worst
from orchestrator.plan import Plan
from orchestrator.terminal import Display

SCHEMA_VERSION = 1

Execute = Callable[[Plan, str, RunOptions, Display], Outcome]


@dataclass(frozen=True)
class PlannedVariant:
    """One run of a comparison: its label (`algorithm=fedavg seed=2`) and its plan.

    `substrate` replaces that of the options, where a comparison is one of substrates.
    """

    label: str
    plan: Plan
    substrate: str | None = None


@dataclass(frozen=True)
class VariantResult:
    """What came of one variant; `error` tells why there is no outcome."""

    label: str
    exit_code: int
    outcome: Outcome | None
    error: str | None = None


@dataclass(frozen=True)
class Comparison:
    """What came of all; `directory` holds the run directories and `compare.json`."""

    name: str
    directory: Path
    results: tuple[VariantResult, ...]
    planned: int  # variants that should have run

    @property
    def exit_code(self) -> int:
        """That of the worst variant; interrupted, if some never ran."""
        missing = [INTERRUPTED] if len(self.results) < self.planned else []
        return worst([result.exit_code for result in self.results] + missing)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; directories are relative to the comparison's own."""
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "planned": self.planned,
            "exit_code": self.exit_code,
            "runs": [
                {
                    "label": result.label,
                    "exit_code": result.exit_code,
                    "error": result.error,
                    **(result.outcome.to_json() if result.outcome else {}),
                    "directory": folder_name(result.label),
                }
                for result in self.results
            ],
        }


def run_all(
    variants: Sequence[PlannedVariant], scenario_text: str, options: RunOptions, display: Display, execute: Execute
) -> Comparison:
    """Run all variants below `options.out` and write `compare.json` there after each of them.

    Raises MachineCannotError at once (it would meet every variant); other errors of a run are part of the result.
    """
    options.out.mkdir(parents=True, exist_ok=True)
    results: list[VariantResult] = []
    comparison = Comparison(variants[0].plan.name, options.out, (), len(variants))
    for number, variant in enumerate(variants, start=1):
        display.variant(number, len(variants), variant.label)
        result = _run_one(variant, scenario_text, options, display, execute)
        results.append(result)
        comparison = replace(comparison, results=tuple(results))
        _write(comparison)
        if result.exit_code == INTERRUPTED:
            break
    return comparison


def folder_name(label: str) -> str:
    """A label as the name of a folder."""
    return re.sub(r"[^A-Za-z0-9_.=+]+", "-", label).strip("-.") or "run"


def _run_one(
    variant: PlannedVariant, scenario_text: str, options: RunOptions, display: Display, execute: Execute
) -> VariantResult:
    own = replace(
        options,
        out=options.out / folder_name(variant.label),
        substrate=variant.substrate or options.substrate,
    )
    try:
        outcome = execute(variant.plan, scenario_text, own, display)
    except KeyboardInterrupt:
        return VariantResult(variant.label, INTERRUPTED, None, "interrupted")
    except MachineCannotError:
        raise
    except EdgebedError as error:
        display.warn(f"{variant.label}: {error}")
        return VariantResult(variant.label, error.exit_code, None, str(error))
    return VariantResult(variant.label, outcome.exit_code, outcome)


def _write(comparison: Comparison) -> None:
    text = json.dumps(comparison.to_json(), indent=1)
    scratch = comparison.directory / "compare.json.new"
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(comparison.directory / "compare.json")
