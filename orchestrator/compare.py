"""The loop above one run: each variant of a scenario planned first, then run, then set side by side.

All variants are planned before the first one starts, so that a mistake shows at once and not after an hour. A
variant that breaks is kept in the table as such and the others go on; Ctrl-C ends the loop with what there is.

Here they run one after another in this process, each shown as a single run is; `orchestrator.sweep` runs many.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from orchestrator.errors import EdgebedError, MachineCannotError, UsageError
from orchestrator.outcome import INTERRUPTED, Outcome, RunOptions, worst
from orchestrator.plan import Plan
from orchestrator.resume import Resume, held, kept
from orchestrator.terminal import Display

SCHEMA_VERSION = 1
FILE = "compare.json"
LONGEST_NAME = 150  # characters of a folder: file systems take 255 bytes

Execute = Callable[[Plan, str, RunOptions, Display], Outcome]


@dataclass(frozen=True)
class PlannedVariant:
    """One run of a comparison: its label (`algorithm=fedavg seed=2`) and its plan.

    `substrate` replaces that of the options, where a comparison is one of substrates. `claims` are what the whole
    comparison should show, as plain values in base units: the same for all its variants. `factors` are the words of
    the label by name, the seed among them.
    """

    label: str
    plan: Plan
    substrate: str | None = None
    claims: tuple[Mapping[str, Any], ...] = ()
    factors: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class VariantResult:
    """What came of one variant; `error` tells why there is no outcome. `lost`: how its process died, if it did."""

    label: str
    exit_code: int
    outcome: Outcome | None
    error: str | None = None
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """What came of all; `directory` holds the run directories and `compare.json`."""

    name: str
    directory: Path
    results: tuple[VariantResult, ...]
    planned: int  # variants that should have run
    claims: tuple[Mapping[str, Any], ...] = ()  # what the comparison should show, for `analysis.claims`
    factors: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # of each label that was planned

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
            "claims": [dict(claim) for claim in self.claims],
            "runs": [
                {
                    "label": result.label,
                    "factors": dict(self.factors.get(result.label, {})),
                    "exit_code": result.exit_code,
                    "error": result.error,
                    "lost": list(result.lost),
                    **(result.outcome.to_json() if result.outcome else {}),
                    "directory": folder_name(result.label),
                }
                for result in self.results
            ],
        }


class Results:
    """What has come of the variants so far, in their order; `compare.json` follows."""

    def __init__(self, variants: Sequence[PlannedVariant], directory: Path) -> None:
        self._order = [variant.label for variant in variants]
        self._found: dict[str, VariantResult] = {}
        factors = {variant.label: dict(variant.factors) for variant in variants}
        self._empty = Comparison(variants[0].plan.name, directory, (), len(variants), variants[0].claims, factors)

    @property
    def comparison(self) -> Comparison:
        """All together."""
        return replace(self._empty, results=tuple(self._found[each] for each in self._order if each in self._found))

    def add(self, result: VariantResult) -> None:
        """One more has come to its end."""
        self._found[result.label] = result

    def write(self) -> None:
        """Write `compare.json` whole, by renaming."""
        scratch = self._empty.directory / f"{FILE}.new"
        scratch.write_text(json.dumps(self.comparison.to_json(), indent=1), encoding="utf-8")
        scratch.replace(self._empty.directory / FILE)


def run_all(
    variants: Sequence[PlannedVariant],
    scenario_text: str,
    options: RunOptions,
    display: Display,
    execute: Execute,
    *,
    resume: Resume = Resume.NOTHING,
) -> Comparison:
    """Run all variants below `options.out`, one after another, and write `compare.json` there after each of them.

    Raises MachineCannotError at once (it would meet every variant); other errors of a run are part of the result.
    """
    with held(options.out):
        results, ahead = begin(variants, options, display.warn, resume)
        for number, variant in enumerate(ahead, start=len(variants) - len(ahead) + 1):
            display.variant(number, len(variants), variant.label)
            result = _run_one(variant, scenario_text, options, display, execute)
            results.add(result)
            results.write()
            if result.exit_code == INTERRUPTED:
                break
        return results.comparison


def begin(
    variants: Sequence[PlannedVariant], options: RunOptions, warn: Callable[[str], None], resume: Resume
) -> tuple[Results, list[PlannedVariant]]:
    """The results that are there already, and the variants that have yet to run; `compare.json` says the same.

    Raises UsageError where the folder holds what must not be lost (`orchestrator.resume`).
    """
    _refuse_one_folder_for_two(variants)
    results = Results(variants, options.out)
    there = kept({folder_name(each.label): each.plan for each in variants}, options, resume)
    ahead = []
    for variant in variants:
        outcome = there.get(folder_name(variant.label))
        if outcome is None:
            ahead.append(variant)
        else:
            results.add(VariantResult(variant.label, outcome.exit_code, outcome))
    if there:
        warn(f"{len(there)} of {len(variants)} runs are there already, by the same plans, and are kept")
    results.write()
    return results, ahead


def own_options(variant: PlannedVariant, options: RunOptions) -> RunOptions:
    """The options of one run of a comparison: its own folder, and its own substrate where it has one."""
    return replace(
        options, out=options.out / folder_name(variant.label), substrate=variant.substrate or options.substrate
    )


def folder_name(label: str) -> str:
    """A label as the name of a folder; a very long one ends in a hash of the whole."""
    name = re.sub(r"[^A-Za-z0-9_.=+]+", "-", label).strip("-.") or "run"
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}-{sha256(label.encode()).hexdigest()[:12]}"


def _refuse_one_folder_for_two(variants: Sequence[PlannedVariant]) -> None:
    labels: dict[str, str] = {}
    for variant in variants:
        other = labels.setdefault(folder_name(variant.label), variant.label)
        if other != variant.label:
            raise UsageError(
                f"the runs {other!r} and {variant.label!r} would share the folder {folder_name(other)}; "
                "give the values compared names of their own (arms, settings or factors)"
            )


def _run_one(
    variant: PlannedVariant, scenario_text: str, options: RunOptions, display: Display, execute: Execute
) -> VariantResult:
    try:
        outcome = execute(variant.plan, scenario_text, own_options(variant, options), display)
    except KeyboardInterrupt:
        return VariantResult(variant.label, INTERRUPTED, None, "interrupted")
    except MachineCannotError:
        raise
    except EdgebedError as error:
        display.warn(f"{variant.label}: {error}")
        return VariantResult(variant.label, error.exit_code, None, str(error))
    return VariantResult(variant.label, outcome.exit_code, outcome)
