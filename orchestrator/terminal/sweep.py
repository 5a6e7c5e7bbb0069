"""What one sees of a sweep: the matrix of its runs, live on a terminal; a line for each run elsewhere; or JSON lines.

━━━━━━━━━━━━──────── 7 of 20 runs · 1 failed · 0:41 · 1:20 left
  fedavg wifi   ✓ ✓ ✓ ✓ ✗     ✓ met  ○ missed  ≈ degraded  ✗ failed  ▸ runs  · waits
  fedavg lte    ✓ ▸ ▸ · ·
  ▸ fedavg lte seed 2   34 of 72 s · accuracy 61.2 % · round 6
"""

import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields
from typing import IO, Any, Protocol

from orchestrator import quantities
from orchestrator.outcome import meaning
from orchestrator.terminal.displays import RunState, can_redraw, facts

Factors = Sequence[tuple[str, str]]  # names and words of what is varied, the seed among them
MARKS = {0: "✓", 1: "○", 6: "≈"}
FAILED = "✗"
SEED = "seed"
STATE_FIELDS = {field.name for field in fields(RunState)}


class SweepDisplay(Protocol):
    """Where a sweep shows what it does."""

    def begin(self, runs: Sequence[tuple[str, Factors]], ahead: AbstractSet[str]) -> None:
        """All runs by label and factors, and the labels of those that have yet to run."""

    def kept(self, label: str, exit_code: int) -> None:
        """A run that was there already."""

    def started(self, label: str) -> None:
        """A run begins."""

    def said(self, label: str, event: Mapping[str, Any]) -> None:
        """An event of a run, as `--json` writes it."""

    def ended(self, label: str, exit_code: int, error: str | None, took_s: float) -> None:
        """A run has come to its end."""

    def warn(self, text: str) -> None:
        """Something that the user should know and that stops nothing."""

    def page(self, text: str) -> None:
        """Where the page of the runs is."""

    def close(self) -> None:
        """No more will come. Harmless when repeated."""


def matrix(runs: Sequence[tuple[str, Factors]]) -> str:
    """How the runs come about: `24 runs: algorithm (2) × learning rate (3) × seed (4)`."""
    words = words_of(runs)
    by = " × ".join(f"{title(key)} ({len(each)})" for key, each in words.items())
    whole = math.prod(len(each) for each in words.values()) == len(runs)  # --only leaves some out
    return f"{len(runs)} run{'s' if len(runs) > 1 else ''}{f': {by}' if by and whole else ''}"


def words_of(runs: Sequence[tuple[str, Factors]]) -> dict[str, list[str]]:
    """What is varied, and the words of each, in order."""
    words: dict[str, dict[str, None]] = {}
    for _, factors in runs:
        for key, word in factors:
            words.setdefault(key, {})[word] = None
    return {key: list(found) for key, found in words.items()}


def title(key: str) -> str:
    """A factor in few words: `learning.rule.learning_rate` is `learning rate`, `learning.rule.name` is `rule`."""
    return key.removesuffix(".name").rpartition(".")[2].replace("_", " ")


def short(factors: Factors) -> str:
    """A run in few words: `fedavg wifi learning rate 0.1 seed 3`; a name speaks for itself, a number does not."""
    return " ".join(word if word[:1].isalpha() else f"{title(key)} {word}" for key, word in factors)


class QuietSweep:
    """Warnings alone."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stderr
        self._of = self._done = 0
        self._warned: set[str] = set()

    def begin(self, runs: Sequence[tuple[str, Factors]], ahead: AbstractSet[str]) -> None:
        """Count them."""
        self._of, self._done = len(runs), len(runs) - len(ahead)

    def kept(self, label: str, exit_code: int) -> None:
        """Say nothing."""

    def started(self, label: str) -> None:
        """Say nothing."""

    def said(self, label: str, event: Mapping[str, Any]) -> None:
        """What a run warns of, with its name; the same warning of many runs once."""
        if event["event"] == "warning" and event["text"] not in self._warned:
            self._warned.add(event["text"])
            self.warn(f"{label}: {event['text']}")

    def ended(self, label: str, exit_code: int, error: str | None, took_s: float) -> None:
        """Count it."""
        self._done += 1

    def warn(self, text: str) -> None:
        """One line."""
        self._line(f"warning: {text}")

    def page(self, text: str) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Nothing to end."""

    def _line(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class PlainSweep(QuietSweep):
    """One line for each run that ends; no control characters."""

    def begin(self, runs: Sequence[tuple[str, Factors]], ahead: AbstractSet[str]) -> None:
        """What will be run."""
        super().begin(runs, ahead)
        self._line(matrix(runs))

    def page(self, text: str) -> None:
        """One line."""
        self._line(f"page: {text}")

    def ended(self, label: str, exit_code: int, error: str | None, took_s: float) -> None:
        """`run 4 of 40: algorithm=fedavg seed=1: met, 2.1 s`."""
        super().ended(label, exit_code, error, took_s)
        told = f"{meaning(exit_code)}: {error}" if error else meaning(exit_code)
        self._line(f"run {self._done} of {self._of}: {label}: {told}, {took_s:.1f} s")


class JsonSweep(QuietSweep):
    """One JSON object a line, for programs; the caller writes the result as the last line."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        super().__init__(stream or sys.stdout)

    def begin(self, runs: Sequence[tuple[str, Factors]], ahead: AbstractSet[str]) -> None:
        """`{"event": "sweep", "runs": 40, "kept": 3}`."""
        super().begin(runs, ahead)
        self._write("sweep", {"runs": self._of, "kept": self._done})

    def said(self, label: str, event: Mapping[str, Any]) -> None:
        """Progress and warnings of a run, with its label."""
        if event["event"] in ("progress", "warning"):
            self._line(json.dumps({**event, "label": label}))

    def ended(self, label: str, exit_code: int, error: str | None, took_s: float) -> None:
        """`{"event": "run", "number": 4, "of": 40, "label": ..., "exit_code": 0, "error": null, "took_s": 2.1}`."""
        super().ended(label, exit_code, error, took_s)
        values = {"number": self._done, "of": self._of, "label": label, "exit_code": exit_code, "error": error}
        self._write("run", {**values, "took_s": round(took_s, 3)})

    def page(self, text: str) -> None:
        """`{"event": "page", "text": ...}`."""
        self._write("page", {"text": text})

    def warn(self, text: str) -> None:
        """`{"event": "warning", "text": ...}`."""
        self._write("warning", {"text": text})

    def _write(self, event: str, values: Mapping[str, Any]) -> None:
        self._line(json.dumps({"event": event, **values}))


class Running:
    """A run that runs: what it said last."""

    def __init__(self) -> None:
        self.since = time.monotonic()
        self.text = "begins"
        self.share = 0.0

    def take(self, event: Mapping[str, Any]) -> None:
        """Take in an event of the run."""
        if event["event"] == "phase":
            self.text = str(event["name"])
        elif event["event"] == "progress":
            state = RunState(**{key: value for key, value in event.items() if key in STATE_FIELDS})
            self.share = min(1.0, event["t_s"] / event["stop_after_s"])
            clock = f"{event['t_s']:.0f} of {quantities.seconds(event['stop_after_s'])}"
            self.text = " · ".join((clock, *facts(state)))


def sweep_display_for(*, quiet: bool = False, as_json: bool = False) -> SweepDisplay:
    """The display that fits: JSON lines or nothing if asked, live on a terminal, plain lines elsewhere."""
    if as_json:
        return JsonSweep()
    if quiet:
        return QuietSweep()
    if not can_redraw(sys.stderr, os.environ):
        return PlainSweep()
    from orchestrator.terminal.live_sweep import LiveSweep

    return LiveSweep()
