"""The run directory: everything that a run says about itself, as files.

    scenario.yaml      the text as written                        plan.json      everything decided
    environment.json   machine, versions, substrate, shaper       receipt.json   links and computing: asked and found
    events.jsonl       what the orchestrator did                  records.jsonl  what it measured (links, energy, CPU)
    nodes/<n>/         spec.json records.jsonl stderr             result.json    summary, verdicts, faults, status
    links.json         counters of all links at the end           verify.json    which invariants held (verify)
    resources.jsonl    the journal (real substrates)              run.json       how it was made, for who resumes it
    so_far.json        while it lasts: what was counted so far (real substrates)

An event is {"n": its number from 1, "t": seconds since the run began, "event": name, ...}; result.json is written last,
so a directory without it belongs to a run that lives or was killed. Whoever runs holds a lock on run.json: a run that
lives and one that was killed can be told apart (orchestrator.interrupted).
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from node_image.records import Record
from orchestrator.errors import UsageError
from orchestrator.plan import Plan, plan_json

SCHEMA_VERSION = 1
MADE = "run.json"
SO_FAR = "so_far.json"
GIVEN = ("scenario.yaml", "plan.json", MADE, "plugins", "plugins.json")  # what a run is made of, and not what it made
MADE_BY_RUN = (
    *("environment.json", "receipt.json", "events.jsonl", "records.jsonl", "links.json", "verify.json", SO_FAR),
    *("resources.jsonl", "fabric.log", "traffic.log", "fork_server.log"),
)
FREE_WITHIN_S = 5.0  # a process that was killed lets go of its locks one after the other
FLUSH_EVERY_S = 0.5  # records are for others to read while the run lasts, and not lost if it is killed


class RunDirectory:
    """Writes a run directory. The record files stay open for the length of the run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: dict[str, IO[str]] = {}
        self._flush_at_s = 0.0
        self._events = 0
        self._found: frozenset[Path] | None = None  # what lay in the folder before; None: there was no folder

    def create(self, plan: Plan, scenario_text: str, made: Mapping[str, Any] | None = None) -> None:
        """Make it with what is known before the run; refuses a folder that holds a run already.

        `made`: how the plan is run, for whoever has to go on with it.
        """
        if (self.path / "plan.json").exists() or (self.path / "nodes").exists():
            raise UsageError(f"{self.path} holds a run already; choose another folder with --out")
        self._found = frozenset(self.path.iterdir()) if self.path.is_dir() else None
        try:
            self._create(plan, scenario_text, made or {})
        except OSError:
            with suppress(OSError):
                self.remove()
            raise

    def _create(self, plan: Plan, scenario_text: str, made: Mapping[str, Any]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        made_text = json.dumps({"schema_version": SCHEMA_VERSION, **made}, indent=1, sort_keys=True) + "\n"
        for name, text in (("scenario.yaml", scenario_text), (MADE, made_text), ("plan.json", plan_json(plan))):
            _write_for_good(self.path / name, text)
        self._write_specs(plan)

    def _write_specs(self, plan: Plan) -> None:
        for node in plan.nodes:
            folder = self.path / "nodes" / node.name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "spec.json").write_text(node.spec.to_json(), encoding="utf-8")

    def start_over(self, plan: Plan) -> None:
        """Remove all that a run which was killed has made in it, and nothing else: it is as `create` left it."""
        for name in MADE_BY_RUN:
            for path in (self.path / name, self.path / f"{name}.new"):
                path.unlink(missing_ok=True)
        for node in plan.nodes:
            shutil.rmtree(self.path / "nodes" / node.name, ignore_errors=True)
        self._write_specs(plan)

    def go_on(self, plan: Plan, events: int) -> None:
        """Append to what a run which was killed has written, so many events among it."""
        self._write_specs(plan)
        self._events = events

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Write one JSON file whole, by renaming: never half of it."""
        scratch = self.path / f"{name}.new"
        scratch.write_text(json.dumps(content, indent=1, sort_keys=True, default=str) + "\n", encoding="utf-8")
        scratch.replace(self.path / name)

    def event(self, t: float, event: str, details: dict[str, Any]) -> None:
        """Append one event; on disk at once."""
        self._events += 1
        line = json.dumps({"n": self._events, "t": round(t, 6), "event": event, **details}, default=str)
        self._append("events.jsonl", line)
        self._files["events.jsonl"].flush()

    def record(self, record: Record, node: str | None = None) -> None:
        """Append a record of a node, or (node None) of the orchestrator."""
        self._append("records.jsonl" if node is None else f"nodes/{node}/records.jsonl", record.to_line())

    def record_line(self, line: str, node: str) -> None:
        """Append a record of a node as the node wrote it: it has been read, and to write it anew takes as long."""
        self._append(f"nodes/{node}/records.jsonl", line)

    def flush(self) -> None:
        """Have all that was appended in the files: whoever reads them, or is killed, has it."""
        for file in self._files.values():
            file.flush()

    def remove(self) -> None:
        """Remove all that the run has put there, and nothing else: for a run that was refused before it began."""
        self.close()
        if self._found is None:
            shutil.rmtree(self.path)
            return
        for path in set(self.path.iterdir()) - self._found:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def close(self) -> None:
        """Flush and close the files: all of them, also where the disk is full; then its OSError is raised."""
        with ExitStack() as closing:
            for file in self._files.values():
                closing.push(file)
            self._files.clear()

    def _append(self, name: str, line: str) -> None:
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = (self.path / name).open("a", encoding="utf-8")
        file.write(line + "\n")
        now_s = time.monotonic()
        if now_s >= self._flush_at_s:
            self.flush()
            self._flush_at_s = now_s + FLUSH_EVERY_S


def _write_for_good(path: Path, text: str) -> None:
    """Write a file that is there after a crash of the machine, too."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def lived_in(directory: Path) -> Iterator[None]:
    """Hold a run directory's lock while the block lasts. UsageError where another process holds it: its run lives."""
    with (directory / MADE).open("r+", encoding="utf-8") as file:
        until_s = time.monotonic() + FREE_WITHIN_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until_s:
                    text = f"the run in {directory} is still running; wait for its end, or end its process first"
                    raise UsageError(text) from None
                time.sleep(0.05)
        yield
