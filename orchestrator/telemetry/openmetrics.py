"""A finished run as OpenMetrics text with timestamps: what a scraper would have read every second, had there been one.

Prometheus (`promtool tsdb create-blocks-from openmetrics`) and others take it in, so that an old run, or a simulated
one, fills the same dashboards. The run directory stays the record: this is the live endpoint's translation of it.
"""

import json
import time
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from node_image.records import Record
from orchestrator.errors import UsageError
from orchestrator.plan import Plan, plan_from_json
from orchestrator.receipt import Check
from orchestrator.summary import read_records
from orchestrator.telemetry.discovery import run_name
from orchestrator.telemetry.families import Family
from orchestrator.telemetry.present import Present
from orchestrator.telemetry.series import Series, header

STEP_S = 1.0
JOB = "edgebed"


@dataclass(frozen=True)
class Export:
    """What was written: the run's label, when it began and ended (Unix time), and how many samples."""

    run: str
    began_unix_s: float
    ended_unix_s: float
    samples: int


@dataclass
class _Past:
    """The values of one series, sample after sample, from grid instant `first` on."""

    texts: tuple[str, ...]
    first: int
    values: "array[float]" = field(default_factory=lambda: array("d"))


def export(directory: Path, file: IO[str], step_s: float = STEP_S, began_unix_s: float | None = None) -> Export:
    """Write a run directory's metrics, sampled every `step_s` seconds of the run.

    `began_unix_s` moves the run to another time. A counter that appears late is 0 one step before, so that its whole
    growth is seen. UsageError where the folder holds no run that can be read.
    """
    plan, environment = _plan(directory), _object(directory / "environment.json")
    start = began(directory) if began_unix_s is None else began_unix_s
    run = run_name(directory)
    present = Present(plan, _facts(environment), {"run": run, "instance": run, "job": JOB})
    present.checks(Check(**each) for each in _object(directory / "receipt.json").get("checks", ()))
    instants: list[str] = []
    past: dict[int, _Past] = {}
    for t in _walk(present, sorted(_said(directory, plan), key=lambda each: each[0]), step_s, start):
        _note(present, past, len(instants))
        instants.append(f"{start + t:.3f}")
    samples = 0
    for family, row in present.table.rows():
        file.write(header(family, openmetrics=True))
        for series in row:
            samples += _write(past[id(series)], instants, file)
    file.write("# EOF\n")
    return Export(run, start, float(instants[-1]), samples)


Said = tuple[float, str | None, Record | dict[str, Any]]  # run time, node (None: the orchestrator), record or event


def _said(directory: Path, plan: Plan) -> Iterator[Said]:
    """Everything the run directory says happened, file by file."""
    for record in read_records(directory / "records.jsonl"):
        yield record.t, None, record
    for node in plan.nodes:
        for record in read_records(directory / "nodes" / node.name / "records.jsonl"):
            yield record.t, node.name, record
    for event in read_events(directory):
        yield float(event["t"]), None, event


def read_events(directory: Path) -> Iterator[dict[str, Any]]:
    """Events of a run directory; a torn last line (a run that was killed) is skipped."""
    path = directory / "events.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("t"), int | float) and "event" in event:
            yield event


def _walk(present: Present, said: list[Said], step_s: float, began: float) -> Iterator[float]:
    """Let the run happen again; yields the instants of the grid, the last one when all has been said."""
    end = said[-1][0] if said else 0.0
    step = 0
    for t, node, what in said:
        while t > step * step_s:
            yield step * step_s
            step += 1
        if isinstance(what, Record):
            present.record(node, what)
        else:
            present.event(str(what["event"]), what, began + t)
    yield end


def _note(present: Present, past: dict[int, _Past], instant: int) -> None:
    for family, row in present.table.rows():
        for series in row:
            found = past.get(id(series))
            texts, values = zip(*series.samples(), strict=True)
            if found is None:
                found = past[id(series)] = _first(family, series, texts, instant)
            found.values.extend(values)


def _first(family: Family, series: Series, texts: tuple[str, ...], instant: int) -> _Past:
    if instant == 0 or family.kind not in ("counter", "histogram"):
        return _Past(texts, instant)
    return _Past(texts, instant - 1, array("d", [0.0] * len(texts)))


def _write(past: _Past, instants: list[str], file: IO[str]) -> int:
    width = len(past.texts)
    for number, value in enumerate(past.values):
        instant, place = divmod(number, width)
        file.write(f"{past.texts[place]}{value!r} {instants[past.first + instant]}\n")
    return len(past.values)


def _plan(directory: Path) -> Plan:
    try:
        return plan_from_json((directory / "plan.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{directory} holds no run: there is no plan.json") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{directory}/plan.json is broken or of another version of Edgebed: {error}") from error


def _object(path: Path) -> dict[str, Any]:
    """A JSON object of the run; empty where the run did not come so far."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _facts(environment: Mapping[str, Any]) -> dict[str, str]:
    named = {"run_id": "run_id", "substrate": "substrate", "git_rev": "commit"}
    return {label: str(environment[key]) for label, key in named.items() if environment.get(key)}


def began(directory: Path) -> float:
    """When the run began (Unix time, s). Of runs that do not say so: when their plan was written, but never so late
    that they would end after now."""
    said = _object(directory / "environment.json").get("began_unix_s")
    if isinstance(said, int | float):
        return float(said)
    lasted = max((float(event["t"]) for event in read_events(directory)), default=0.0)
    return min((directory / "plan.json").stat().st_mtime, time.time() - lasted)
