"""A run that was killed, by `kill -9` or with its machine: whether it can be gone on with, and what it has left.

Its directory holds the plan, what was recorded until the last flush, and the nodes' checkpoints. In virtual time the
same plan gives the same bytes, so the run is made again. In real time it goes on at its last recorded instant (ADR 9).
"""

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from node_image.records import Record
from orchestrator.errors import UsageError
from orchestrator.faults.past import Past, past_of
from orchestrator.plan import Plan, plan_from_json
from orchestrator.rundir import MADE, SCHEMA_VERSION
from orchestrator.so_far import SoFar, is_sampled
from orchestrator.substrates import SUBSTRATES
from orchestrator.summary import read_run
from orchestrator.telemetry.collector import ending
from orchestrator.verify.history import Event, read_events


@dataclass(frozen=True)
class Interrupted:
    """A run that was killed: its plan and how that was run."""

    directory: Path
    plan: Plan
    substrate: str
    shaper: str


@dataclass(frozen=True)
class Traces:
    """What a run that was killed has recorded, in order, and the instant of its own time at which it goes on.

    `counted` is the last whole sample of the counters; `down_s` how long (real time) nothing was written. It `is_over`
    where nothing was left but to judge it.
    """

    at_s: float
    counted: SoFar
    down_s: float
    written_unix_s: float
    events: tuple[Event, ...]
    nodes: Mapping[str, Sequence[Record]]
    own: Sequence[Record]
    faults: Past
    is_over: bool

    @property
    def records(self) -> Iterable[tuple[str | None, Record]]:
        """All records, with who wrote them (None: the orchestrator)."""
        yield from ((name, record) for name, records in self.nodes.items() for record in records)
        yield from ((None, record) for record in self.own)

    @property
    def lived(self) -> tuple[str, ...]:
        """The nodes that lived when the run was killed."""
        last = {e.details["node"]: e.name for e in self.events if e.name in ("node_started", "node_exited")}
        resumed = [number for number, event in enumerate(self.events) if event.name == "run_resumed"]
        since = {e.details["node"] for e in self.events[resumed[-1] if resumed else 0 :] if e.name == "node_started"}
        return tuple(sorted(str(name) for name, event in last.items() if event == "node_started" and name in since))


def find_interrupted(directory: Path) -> Interrupted:
    """The run in a directory, if it was killed; UsageError says why there is none to go on with, and what to do."""
    if (directory / "compare.json").is_file():
        raise UsageError(
            f"{directory} is a comparison; to go on with it: edgebed sweep SCENARIO --resume --out {directory}"
        )
    if (directory / "result.json").exists():
        raise UsageError(f"the run in {directory} has its result already: edgebed report {directory}")
    made = _made(directory)
    try:
        plan = plan_from_json((directory / "plan.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{directory} has no plan that can be read ({error or type(error).__name__}), so nobody knows what ran "
            f"there; what it recorded: edgebed serve {directory}; to begin anew: edgebed run with another --out"
        ) from error
    substrate = str(made["substrate"])
    kind = SUBSTRATES.get(substrate)
    if kind is None or (kind.real_time and "resume" not in kind.can):
        why = "this Edgebed does not know it" if kind is None else kind.why_not["resume"]
        raise UsageError(f"a run on {substrate} cannot be gone on with: {why}; begin it anew")
    if plan.workload is not None:
        raise UsageError(
            f"the nodes of {plan.name} run programs of one's own, which know nothing of an earlier life; begin it anew"
        )
    return Interrupted(directory, plan, substrate, str(made["shaper"]))


def _made(directory: Path) -> dict[str, str]:
    """How the run was made, by an Edgebed that writes what this one reads."""
    path = directory / MADE
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        version, made = raw["schema_version"], {"substrate": raw["substrate"], "shaper": raw["shaper"]}
    except FileNotFoundError as error:
        what = "is not there" if directory.is_dir() else "is no folder of a run"
        if (directory / "plan.json").is_file():
            what = f"was made by an Edgebed that wrote no {MADE}"
        raise UsageError(f"{directory} {what}: there is no run to go on with; begin it anew") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} cannot be read ({error!r}): begin the run anew") from error
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"the run in {directory} is of version {version}, and this Edgebed goes on with version {SCHEMA_VERSION}; "
            "go on with the Edgebed that began it, or begin it anew"
        )
    return made


def read_traces(run: Interrupted) -> Traces | None:
    """Mend what a killed run has written, and read it; None where it had not begun.

    Cut off are a torn last line of each file, and what was counted in a sample that is not whole.
    """
    directory, plan = run.directory, run.plan
    files = [directory / "events.jsonl", directory / "records.jsonl"]
    files += [directory / "nodes" / node.name / "records.jsonl" for node in plan.nodes]
    files = [path for path in files if path.exists()]
    written_unix_s = max((path.stat().st_mtime for path in files), default=time.time())
    for path in files:
        cut_torn(path)
    events = tuple(read_events(directory / "events.jsonl"))
    if not any(event.name == "run_began" for event in events):
        return None
    nodes, own = read_run(plan, directory)
    counted = SoFar.of(directory)
    at_s = max(counted.t, *(event.t for event in events), *(r.t for each in (own, *nodes.values()) for r in each))
    whole = [record for record in own if is_whole(record, counted)]
    if len(whole) < len(own):
        _cut_sample(directory / "records.jsonl", counted)
    records = [*((name, record) for name, each in nodes.items() for record in each), *((None, r) for r in whole)]
    return Traces(
        at_s=at_s,
        counted=counted,
        down_s=max(0.0, time.time() - written_unix_s),
        written_unix_s=written_unix_s,
        events=events,
        nodes=nodes,
        own=whole,
        faults=past_of(plan, events, records, at_s),
        is_over=_is_over(plan, events, at_s),
    )


def _is_over(plan: Plan, events: Sequence[Event], at_s: float) -> bool:
    """Whether the run had come to its end: its time was over, or all that end it had finished."""
    finished: set[str] = set()
    for event in events:
        if event.name == "run_resumed":
            finished.clear()  # what had finished begins anew
        elif event.name == "node_finished":
            finished.add(str(event.details["node"]))
    awaited = ending(plan)
    ended = any(event.name == "run_ended" for event in events)
    return ended or at_s >= plan.stop_after_s or (bool(awaited) and awaited <= finished)


def cut_torn(path: Path) -> int:
    """Cut off a last line of JSON that was not written whole, and whatever garbage is behind; how many bytes that was.

    Where the machine lost its power there may be several such lines.
    """
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    while end:
        start = content.rfind(b"\n", 0, end - 1) + 1
        if _is_json(content[start:end]):
            break
        end = start
    if end < len(content):
        os.truncate(path, end)
    return len(content) - end


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def is_whole(record: Record, counted: SoFar) -> bool:
    """Whether a record of the orchestrator's own counts: it is no sample's, or that of one that is whole."""
    return not is_sampled(record) or record.t <= counted.t


def _cut_sample(path: Path, counted: SoFar) -> None:
    """Leave out what was recorded of a sample that is not whole; other lines stay as they are."""
    scratch = path.with_name(f"{path.name}.new")
    with path.open(encoding="utf-8") as lines, scratch.open("w", encoding="utf-8") as kept:
        for line in lines:
            try:
                counts = is_whole(Record.from_line(line), counted)
            except ValueError:
                counts = True  # readers skip it
            if counts:
                kept.write(line)
    scratch.replace(path)
