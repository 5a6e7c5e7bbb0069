"""Read run directories. Nothing else in `analysis` opens a file: tables, figures and reports get a `Run`.

    plan.json environment.json receipt.json result.json events.jsonl records.jsonl nodes/<name>/records.jsonl

A run that was stopped half-way lacks some of these; what is there is read, and `problems` says what is not.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from analysis.sound import sound
from node_image.records import Record

Parsed = TypeVar("Parsed")
ARGUMENTS_MARK = "# run with: "


class NotARunError(ValueError):
    """The folder is no run directory; the message says what was looked for."""


@dataclass(frozen=True)
class FaultWindow:
    """When a fault acts; `heal_s` None: to the end. `victims` are nodes or links, `touched` the devices among them or
    at their ends.
    """

    kind: str
    at_s: float
    heal_s: float | None
    victims: tuple[str, ...]
    touched: tuple[str, ...] = ()


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
    def is_workload(self) -> bool:
        """Whether it ran programs of somebody else's, which need not learn anything."""
        return bool(self.plan.get("workload"))

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
    def length_s(self) -> float:
        """How long it lasted: as its result says; of a run without one, until its last record."""
        lasted = self.summary.get("lasted_s")
        if lasted is not None:
            return float(lasted)
        return self.stop_after_s if self.result or not self.records else self.records[-1].record.t

    @property
    def faults(self) -> tuple[FaultWindow, ...]:
        """The failure schedule, as planned; of faults that waited for something, those that acted, as they did."""
        planned = self.plan.get("faults", ())
        windows = [self._window(each, each["at_s"], each["heal_s"]) for each in planned if each["at_s"] is not None]
        waited = [fault for fault in self.result.get("faults", ()) if fault["asked_at_s"] is None]
        acted = [fault for fault in waited if fault["injected_at_s"] is not None]
        return (*windows, *(self._window(each, each["injected_at_s"], each["healed_at_s"]) for each in acted))

    @property
    def acted(self) -> tuple[FaultWindow, ...]:
        """The faults as they acted, in order, by the run's result; of a run without one, as planned."""
        if not self.result:
            return self.faults
        faults = [fault for fault in self.result.get("faults", ()) if fault["injected_at_s"] is not None]
        windows = [self._window(fault, fault["injected_at_s"], fault["healed_at_s"]) for fault in faults]
        return tuple(sorted(windows, key=lambda window: window.at_s))

    def _window(self, fault: Mapping[str, Any], at_s: float, heal_s: float | None) -> FaultWindow:
        devices = {node["name"] for node in self.plan.get("nodes", ()) if node["role"] == "device"}
        touched = dict.fromkeys([*fault["nodes"], *(end for link in fault["links"] for end in link.split(">"))])
        victims = tuple(fault["nodes"] or fault["links"])
        return FaultWindow(fault["kind"], at_s, heal_s, victims, tuple(name for name in touched if name in devices))

    def fact(self, key: str) -> str:
        """A text that says where the run lived (`substrate`, `shaper`); `unknown` if nobody wrote it down."""
        for source in (self.environment, self.environment.get("substrate_facts", {}), self.result):
            if isinstance(source, Mapping) and isinstance(source.get(key), str):
                return str(source[key])
        return "unknown"

    def of(self, metric: str) -> Sequence[NodeRecord]:
        """The records of one metric, in order of time."""
        return self._by_metric.get(metric, ())

    @cached_property
    def _by_metric(self) -> Mapping[str, Sequence[NodeRecord]]:
        found: dict[str, list[NodeRecord]] = {}
        for entry in self.records:
            found.setdefault(entry.record.metric, []).append(entry)
        return found


@dataclass(frozen=True)
class Comparison:
    """Runs side by side: what was claimed of them, and which of those planned left nothing to read (and why)."""

    runs: tuple[Run, ...]
    claims: tuple[Mapping[str, Any], ...] = ()
    missing: tuple[str, ...] = ()


def load_runs(paths: Iterable[Path]) -> list[Run]:
    """All runs of some folders; a comparison's folder stands for the runs in it. Raises NotARunError."""
    return [run for comparison in load_comparisons(paths) for run in comparison.runs]


def load_comparisons(paths: Iterable[Path]) -> list[Comparison]:
    """What each folder holds, a comparison or a single run; runs of two folders with one label say where they are from.

    Raises NotARunError.
    """
    paths = list(paths)
    found = [_comparison(path) if (path / "compare.json").is_file() else _alone(path) for path in paths]
    labels = [run.label for comparison in found for run in comparison.runs]
    if len(set(labels)) == len(labels):
        return found
    return [
        replace(each, runs=tuple(replace(run, label=f"{run.label} from={_one_word(path)}") for run in each.runs))
        for path, each in zip(paths, found, strict=True)
    ]


def _comparison(path: Path) -> Comparison:
    missing: list[str] = []
    content = dict(_object(path / "compare.json", missing))
    if "runs" not in content:  # it can still be told what lies in the folder
        content["runs"] = [{"label": folder.parent.name, "directory": folder.parent.name} for folder in _plans(path)]
    runs = []
    for entry in content["runs"]:
        folder = path / entry["directory"]
        if (folder / "plan.json").is_file():
            runs.append(load_run(folder, entry["label"]))
        else:  # a variant that broke before it had a plan has no folder to read
            missing.append(f"{entry['label']}: {entry.get('error') or 'it left no plan'}")
    unlisted = content.get("planned", 0) - len(content["runs"])
    if unlisted > 0:
        missing.append(f"{unlisted} of {content['planned']} planned runs have not ended, or did not begin")
    return Comparison(tuple(runs), tuple(content.get("claims", ())), tuple(missing))


def _plans(path: Path) -> list[Path]:
    return sorted(path.glob("*/plan.json"))


def _alone(path: Path) -> Comparison:
    """A run by itself; one that lies in a comparison keeps the label that it has there."""
    listing = path.parent / "compare.json"
    listed = _object(listing, []).get("runs", ()) if listing.is_file() else ()
    labels = [entry["label"] for entry in listed if entry["directory"] == path.name]
    return Comparison((load_run(path, labels[0] if labels else path.name),))


def _one_word(path: Path) -> str:
    return path.name.replace(" ", "_")


def load_run(directory: Path, label: str) -> Run:
    """One run. Raises NotARunError if there is no plan; what is broken or missing otherwise is in `problems`."""
    problems: list[str] = []
    plan_file = directory / "plan.json"
    if not plan_file.is_file():
        raise NotARunError(f"{directory} is not a run directory: it has no plan.json")
    return Run(
        directory=directory,
        label=label,
        plan=_object(plan_file, problems),
        result=_object(directory / "result.json", problems),
        receipt=_object(directory / "receipt.json", problems),
        environment=_object(directory / "environment.json", problems),
        events=tuple(_lines(directory / "events.jsonl", _event, problems)),
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
    except (OSError, ValueError) as error:
        problems.append(f"{path.name} is broken: {error}")
        return {}
    if not isinstance(value, dict):
        problems.append(f"{path.name} is not an object")
        return {}
    return sound(path.name, value, problems)


def _event(line: str) -> Mapping[str, Any]:
    """One event; raises ValueError on anything else."""
    event = json.loads(line)
    if not isinstance(event, dict) or "event" not in event:
        raise ValueError("not an event")
    return event


def _record(line: str) -> Record:
    """One record with figures that can be drawn; raises ValueError on anything else."""
    record = Record.from_line(line)
    if not (math.isfinite(record.t) and math.isfinite(record.value)):
        raise ValueError("not a figure")
    return record


def _records(directory: Path, problems: list[str]) -> tuple[NodeRecord, ...]:
    files = [directory / "records.jsonl", *sorted(directory.glob("nodes/*/records.jsonl"))]
    found = []
    for path in files:
        # The orchestrator's own records (energy, traffic) say in a label which node they are about.
        owner = "" if path.parent == directory else path.parent.name
        for record in _lines(path, _record, problems):
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
