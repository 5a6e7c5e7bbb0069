"""Read run directories. Nothing else in `analysis` opens a file: tables, figures and reports get a `Run`.

    plan.json environment.json receipt.json result.json events.jsonl records.jsonl nodes/<name>/records.jsonl

A run that was stopped half-way lacks some of these; what is there is read, and `problems` says what is not.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from node_image.records import Record

Parsed = TypeVar("Parsed")
ARGUMENTS_MARK = "# run with: "


class NotARunError(ValueError):
    """The folder is no run directory; the message says what was looked for."""


@dataclass(frozen=True)
class FaultWindow:
    """When a fault acted; `heal_s` None: to the end. Requested instants, from the plan."""

    kind: str
    at_s: float
    heal_s: float | None
    victims: tuple[str, ...]


@dataclass(frozen=True)
class NodeRecord:
    """A record and the node it is about."""

    node: str
    record: Record


@dataclass(frozen=True)
class Run:
    """One run as its directory tells it. `label` tells runs of a comparison apart; `records` are in order of time."""

    directory: Path
    label: str
    plan: Mapping[str, Any]
    result: Mapping[str, Any] = field(default_factory=dict)
    receipt: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[Mapping[str, Any], ...] = ()
    records: tuple[NodeRecord, ...] = ()
    problems: tuple[str, ...] = ()
    arguments: str = ""  # what the command line changed of the scenario, as options

    @property
    def name(self) -> str:
        """Name of the scenario."""
        return str(self.plan.get("name", self.directory.name))

    @property
    def stop_after_s(self) -> float:
        """Length of the run as planned."""
        return float(self.plan.get("stop_after_s", 0.0))

    @property
    def summary(self) -> Mapping[str, float | None]:
        """The run's figures by metric, base units."""
        summary = self.result.get("summary")
        return summary if isinstance(summary, dict) else {}

    @property
    def faults(self) -> tuple[FaultWindow, ...]:
        """The failure schedule, as planned."""
        return tuple(
            FaultWindow(fault["kind"], fault["at_s"], fault["heal_s"], tuple(fault["nodes"] or fault["links"]))
            for fault in self.plan.get("faults", ())
        )

    def fact(self, key: str) -> str:
        """A text that says where the run lived (`substrate`, `shaper`); `unknown` if nobody wrote it down."""
        for source in (self.environment, self.environment.get("substrate_facts", {}), self.result):
            if isinstance(source, Mapping) and isinstance(source.get(key), str):
                return str(source[key])
        return "unknown"

    def of(self, metric: str) -> Iterator[NodeRecord]:
        """The records of one metric, in order of time."""
        return (entry for entry in self.records if entry.record.metric == metric)


def load_runs(paths: Iterable[Path]) -> list[Run]:
    """All runs of some folders; a comparison's folder stands for the runs in it. Raises NotARunError."""
    runs = []
    for path in paths:
        if (path / "compare.json").is_file():
            listed = json.loads((path / "compare.json").read_text(encoding="utf-8"))["runs"]
            # A variant that broke before it had a plan has no folder to read.
            listed = [entry for entry in listed if (path / entry["directory"] / "plan.json").is_file()]
            runs += [load_run(path / entry["directory"], entry["label"]) for entry in listed]
        else:
            runs.append(load_run(path, path.name))
    return runs


def load_run(directory: Path, label: str) -> Run:
    """One run. Raises NotARunError if there is no plan; anything else that is missing or broken is in `problems`."""
    problems: list[str] = []
    plan_file = directory / "plan.json"
    if not plan_file.is_file():
        raise NotARunError(f"{directory} is not a run directory: it has no plan.json")
    try:
        plan = json.loads(plan_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise NotARunError(f"{plan_file} is broken: {error}") from error
    return Run(
        directory=directory,
        label=label,
        plan=plan,
        result=_object(directory / "result.json", problems),
        receipt=_object(directory / "receipt.json", problems),
        environment=_object(directory / "environment.json", problems),
        events=tuple(_lines(directory / "events.jsonl", json.loads, problems)),
        records=_records(directory, problems),
        problems=tuple(problems),
        arguments=_arguments(directory / "scenario.yaml"),
    )


def _arguments(scenario: Path) -> str:
    """`edgebed run` leaves what it changed in a comment at the end of the scenario's copy."""
    if not scenario.is_file():
        return ""
    last = scenario.read_text(encoding="utf-8", errors="replace").rstrip().rpartition("\n")[2]
    return last.removeprefix(ARGUMENTS_MARK) if last.startswith(ARGUMENTS_MARK) else ""


def _object(path: Path, problems: list[str]) -> Mapping[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        problems.append(f"{path.name} is missing")
        return {}
    except ValueError as error:
        problems.append(f"{path.name} is broken: {error}")
        return {}
    if not isinstance(value, dict):
        problems.append(f"{path.name} is not an object")
        return {}
    return value


def _records(directory: Path, problems: list[str]) -> tuple[NodeRecord, ...]:
    files = [directory / "records.jsonl", *sorted(directory.glob("nodes/*/records.jsonl"))]
    found = []
    for path in files:
        # The orchestrator's own records (energy, traffic) say in a label which node they are about.
        owner = "" if path.parent == directory else path.parent.name
        for record in _lines(path, Record.from_line, problems):
            found.append(NodeRecord(owner or record.labels.get("node", ""), record))
    if not found:
        problems.append("no records")
    return tuple(sorted(found, key=lambda entry: entry.record.t))


def _lines(path: Path, parse: Callable[[str], Parsed], problems: list[str]) -> list[Parsed]:
    if not path.is_file():
        return []
    parsed = []
    broken = 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            parsed.append(parse(line))
        except ValueError:
            broken += 1
    if broken:
        problems.append(f"{path.parent.name}/{path.name}: {broken} broken lines left out")
    return parsed
