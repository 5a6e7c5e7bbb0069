"""The journal: what a run has made that could outlive it, written down before it is made.

`resources.jsonl` in the run directory holds one line a resource: {"make": kind, "path": ...} before it is created and
{"gone": ...} after it was removed. `clean` removes what was made and is not gone, of runs whose owner is dead, and
nothing else: never by a pattern, never by a name that somebody else could have.

Almost everything of a run needs no journal, because the kernel ends it with its owner: namespaces live in the shells
that hold them, interfaces in the process that opened them, processes ask to die with their parent. Control groups
are directories and stay, and containers belong to their engine; they are what is written here.

    cgroup        the path of a folder
    containers    `<address of the engine> <run id>`: all containers with the run's label
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Literal

from orchestrator.errors import EdgebedError

NAME = "resources.jsonl"
CGROUP_MARK = "edgebed-"  # every control group of ours has this in its path: checked again before a removal

Kind = Literal["cgroup", "containers"]


class Journal:
    """The open journal of a run that lives. It holds a lock for life: whoever gets it knows that the owner is dead."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self._file: IO[str] | None = None

    def __enter__(self) -> "Journal":
        self._file = self.path.open("a", encoding="utf-8")
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def make(self, kind: Kind, path: str) -> None:
        """Say that something is about to be created. On disk when this returns."""
        self._write({"make": kind, "path": path})

    def gone(self, kind: Kind, path: str) -> None:
        """Say that it has been removed."""
        self._write({"gone": kind, "path": path})

    def _write(self, entry: dict[str, str]) -> None:
        if self._file is None:
            raise RuntimeError("the journal is not open")
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def wait_for_end(directory: Path) -> None:
    """Wait until the owner of a run's journal is dead or has closed it; at once if there is no journal."""
    with suppress(FileNotFoundError), (directory / NAME).open("r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)


@dataclass(frozen=True)
class Leftover:
    """Something that a dead run made and did not remove."""

    journal: Path
    kind: str
    path: str


def leftovers(runs: Path) -> Iterator[Leftover]:
    """What dead runs below a folder have left. Runs that live are skipped."""
    for path in sorted(runs.glob(f"**/{NAME}")):
        with path.open("r+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield from (Leftover(path, kind, made) for kind, made in _open_entries(file))


def clean(runs: Path, dry_run: bool = False) -> list[Leftover]:
    """Remove the leftovers below a folder; returns what was (or would be) removed. Twice in a row is harmless.

    What cannot be removed (its engine does not answer) keeps nothing else from it; the first error is raised.
    """
    found = list(leftovers(runs))
    failed: Exception | None = None
    for leftover in [] if dry_run else found:
        try:
            clean_one(leftover)
        except (EdgebedError, OSError) as error:
            failed = failed or error
    if failed is not None:
        raise failed
    return found


def clean_one(leftover: Leftover) -> None:
    """Remove one leftover and write down that it is gone."""
    if leftover.kind == "cgroup":
        remove_cgroup(Path(leftover.path))
    elif leftover.kind == "containers":
        from orchestrator.hosts.container import remove_run  # late: the janitor stays small where there are none

        remove_run(*leftover.path.split(" ", 1))
    with leftover.journal.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"gone": leftover.kind, "path": leftover.path}) + "\n")


def remove_cgroup(path: Path) -> None:
    """Kill what is in a control group of ours and remove it with its children; quiet if it is not there."""
    if CGROUP_MARK not in str(path):
        raise ValueError(f"refusing to remove {path}: it is not a control group of Edgebed's")
    if not path.is_dir():
        return
    for child in sorted(path.iterdir()):
        if child.is_dir():
            remove_cgroup(child)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError, OSError):
            if (path / "cgroup.kill").exists():
                (path / "cgroup.kill").write_text("1")
        for pid in _members(path):
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.01)
        else:
            return
    path.rmdir()


def _members(path: Path) -> list[int]:
    with suppress(FileNotFoundError, OSError):
        return [int(pid) for pid in (path / "cgroup.procs").read_text().split()]
    return []


def _open_entries(file: IO[str]) -> list[tuple[str, str]]:
    made: dict[tuple[str, str], None] = {}
    for line in file:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue  # the last line of a run that was killed while writing it: nothing was created for it yet
        if "make" in entry:
            made[(entry["make"], entry["path"])] = None
        else:
            made.pop((entry["gone"], entry["path"]), None)
    return list(reversed(made))
