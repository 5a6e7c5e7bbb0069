"""Follow one run directory: read what is new in its files, and tell a page what it lacks.

The directory is the only truth. When it is replaced by another run (its files are shorter, or its plan is another
one), all is read anew and pages are told to begin from nothing.
"""

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from node_image.records import Record
from orchestrator.rundir import SCHEMA_VERSION
from orchestrator.telemetry.live.facts import facts
from orchestrator.telemetry.live.pending import planned_checks
from orchestrator.telemetry.live.picture import Picture
from orchestrator.telemetry.live.tail import ReplacedError, Tail

SILENT_AFTER_S = 60.0  # nothing was written for so long: the run may be dead
ABOUT_MACHINE = ("substrate", "shaper", "run_id", "commit", "machine", "cpu", "cores", "kernel", "python", "packages")
ENDINGS = ("result.json", "receipt.json", "environment.json")
Rows = Callable[[Sequence[Mapping[str, Any]]], list[dict[str, Any]]]  # checks of a receipt -> rows of its table


@dataclass(frozen=True)
class Cursor:
    """What a page has seen: up to which version of which reading. As text it is the id of a server-sent event."""

    reading: str
    version: int

    def __str__(self) -> str:
        return f"{self.reading}-{self.version}"

    @staticmethod
    def parse(text: str | None) -> "Cursor":
        """Inverse of `str`; of anything else: has seen nothing."""
        reading, _, version = (text or "").partition("-")
        return Cursor(reading, int(version)) if version.isascii() and version.isdigit() else Cursor("", 0)


class Follower:
    """One run directory and its picture so far."""

    def __init__(self, directory: Path, rows: Rows) -> None:
        self.directory = directory
        self._rows = rows
        self._begin()

    @property
    def ended(self) -> bool:
        """Whether the run has a result, and all of it has been read."""
        return bool(self._endings.get("result.json")) and not self._behind

    def read(self) -> None:
        """Take what is new."""
        if self._plan_stamp != _stamp(self.directory / "plan.json"):
            self._begin()
        try:
            self._read()
        except ReplacedError:
            self._begin()
            self._read()

    def since(self, cursor: Cursor) -> tuple[Cursor, dict[str, Any]]:
        """Up to where a page is after this, and what it lacks: empty if nothing, with `facts` if it must begin anew."""
        seen = cursor.version if cursor.reading == self._reading else 0
        told = self.picture.since(seen)
        if seen == 0:
            told["facts"] = self.facts
        if self._status_version > seen:
            told["status"] = self._status
        if told:
            told["now_s"] = round(self.picture.now_s, 6)
        return Cursor(self._reading, self.picture.version), told

    def _begin(self) -> None:
        self._reading = secrets.token_hex(6)
        self._mistakes: list[str] = []
        self._unread: dict[str, int] = {}  # lines that could not be read, by file
        self._endings: dict[str, Mapping[str, Any]] = {}
        self._stamps: dict[str, tuple[int, int, int] | None] = {}
        self._behind = True
        self._status: dict[str, Any] = {}
        self._status_version = 0
        self._plan_stamp = _stamp(self.directory / "plan.json")
        plan = _object(self.directory / "plan.json", self._mistakes)
        self.facts = facts(self.directory, plan, self._mistakes)
        self._planned = planned_checks(self.facts["links"])
        names = {
            role: [n["name"] for n in self.facts["nodes"] if n["role"] == role] for role in ("coordinator", "device")
        }
        self.picture = Picture(self.facts["stop_after_s"], names["coordinator"], names["device"])
        self._events = Tail(self.directory / "events.jsonl")
        self._own = Tail(self.directory / "records.jsonl")
        self._nodes = {
            node["name"]: Tail(self.directory / "nodes" / node["name"] / "records.jsonl")
            for node in self.facts["nodes"]
            if _is_name(node["name"])
        }

    def _read(self) -> None:
        picture = self.picture
        picture.advance()
        tails = (self._events, self._own, *self._nodes.values())
        self._each(self._events, lambda line: picture.event(json.loads(line)))
        self._each(self._own, lambda line: picture.record(None, Record.from_line(line)))
        for node, tail in self._nodes.items():
            self._each(tail, partial(self._node_line, node))
        for name in ENDINGS:
            stamp = _stamp(self.directory / name)
            if stamp != self._stamps.get(name):
                self._stamps[name] = stamp
                self._endings[name] = _object(self.directory / name, self._mistakes)
        self._behind = any(tail.unread_bytes() for tail in tails) and not self._silent_s()
        status = self._make_status()
        if status != self._status:
            self._status, self._status_version = status, picture.version

    def _node_line(self, node: str, line: str) -> None:
        self.picture.record(node, Record.from_line(line))

    def _each(self, tail: Tail, take: Callable[[str], None]) -> None:
        """Take every new line of a file; one that cannot be read is counted."""
        for line in tail.lines():
            try:
                take(line)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                name = str(tail.path.relative_to(self.directory))
                self._unread[name] = self._unread.get(name, 0) + 1

    def _make_status(self) -> dict[str, Any]:
        result = self._endings.get("result.json") or {}
        environment = self._endings.get("environment.json") or {}
        silent_s = self._silent_s()
        expectations = result.get("expectations")
        notes = result.get("notes")
        summary = result.get("summary")
        return {
            "state": "ended" if result else "silent" if silent_s else "live",
            "silent_s": silent_s,
            "result": str(result.get("status", "unknown")) if result else None,
            "exit_code": result.get("exit_code"),
            "lasted_s": summary.get("lasted_s") if isinstance(summary, Mapping) else None,
            "expectations": expectations if isinstance(expectations, list) else [],
            "notes": [str(note) for note in notes] if isinstance(notes, list) else [],
            "environment": {key: environment[key] for key in ABOUT_MACHINE if environment.get(key) is not None},
            "receipt": self._receipt(),
            "problems": self._problems(),
        }

    def _receipt(self) -> dict[str, Any] | None:
        """The receipt's table, as far as it is known; None where a run ended without one.

        Before the links have been measured it holds what was set of them, unless they are simulated: then there is
        nothing to measure.
        """
        receipt = self._endings.get("receipt.json")
        environment = self._endings.get("environment.json") or {}
        if not receipt:
            if self._endings.get("result.json"):
                return None
            simulated = environment.get("substrate") == "simulation"
            return {"ok": None, "pending": True, "rows": [] if simulated else self._rows(self._planned)}
        try:
            return {"ok": receipt["ok"], "pending": bool(receipt.get("pending")), "rows": self._rows(receipt["checks"])}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return {"ok": None, "rows": [], "problem": f"receipt.json is not as this version writes it ({error!r})"}

    def _problems(self) -> list[str]:
        """What is broken, missing or of another version, and what therefore is not shown."""
        found = list(dict.fromkeys(self._mistakes))
        result = self._endings.get("result.json") or {}
        if result and result.get("schema_version") != SCHEMA_VERSION:
            found.append(
                f"result.json is of version {result.get('schema_version')}, this Edgebed reads version"
                f" {SCHEMA_VERSION}: what it says may be misunderstood"
            )
        if result or self._silent_s():
            for tail, lost in (
                (self._events, "node states, executed faults and the log"),
                (self._own, "link rates, wire bytes and joules"),
            ):
                if not tail.path.is_file():
                    found.append(f"{tail.path.name} is missing: {lost} cannot be shown")
            without = [name for name, tail in self._nodes.items() if not tail.path.is_file()]
            if without:
                more = f" and {len(without) - 5} more" if len(without) > 5 else ""
                found.append(f"no records of {', '.join(without[:5])}{more}")
        for name, lines in self._unread.items():
            found.append(f"{name}: {lines} line{'s' * (lines > 1)} broken or of another version, left out")
        return found

    def _silent_s(self) -> int:
        """For how many seconds nothing has been written, where that is long; 0 while it is lively or has ended."""
        if self._endings.get("result.json"):
            return 0
        paths = [self._events.path, self._own.path, *(tail.path for tail in self._nodes.values())]
        newest = max(
            (stamp[1] for path in (*paths, self.directory / "plan.json") if (stamp := _stamp(path))), default=0
        )
        silent_s = time.time() - newest / 1e9
        return round(silent_s) if silent_s > SILENT_AFTER_S else 0


def _object(path: Path, problems: list[str]) -> Mapping[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)  # NaN is no JSON
    except FileNotFoundError:
        if path.name == "plan.json":
            problems.append("plan.json is missing: topology, planned faults and parameters cannot be shown")
        return {}
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"{path.name} is broken ({error}); what it holds cannot be shown")
        return {}
    if not isinstance(value, dict):
        problems.append(f"{path.name} is no JSON object; what it holds cannot be shown")
        return {}
    return value


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _is_name(name: str) -> bool:
    """A plan of who knows where from must not lead out of its directory."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name
