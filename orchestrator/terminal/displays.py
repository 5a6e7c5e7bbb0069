"""What one sees of a run while it runs: a live display on a terminal, plain lines elsewhere, or JSON lines."""

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import IO, Protocol

from orchestrator import quantities

PLAIN_EVERY_S = 10.0  # between two progress lines where they stay on paper
PLAIN_WIDTH = 160  # of a line about an event; the whole text is in events.jsonl


@dataclass(frozen=True)
class RunState:
    """What is known of a run at one moment; None where nothing has been measured yet."""

    devices_up: int
    devices: int
    accuracy: float | None = None  # 0-1, on the global test set
    payload_bytes: float | None = None
    wire_bytes: float | None = None
    joules: float | None = None
    round: int | None = None


class Display(Protocol):
    """Where runs show what they do. Times are seconds since the run began."""

    def variant(self, number: int, of: int, label: str) -> None:
        """The next run of a comparison begins."""

    def phase(self, name: str, detail: str = "") -> None:
        """A new phase begins (setting up, probing links, learning, ...)."""

    def progress(self, t_s: float, stop_after_s: float, state: RunState) -> None:
        """How far the run is; may be called often."""

    def event(self, t_s: float, text: str) -> None:
        """Something happened: a fault acted, a node died."""

    def warn(self, text: str) -> None:
        """Something that the user should know and that stops nothing."""

    def close(self) -> None:
        """No more will come. Harmless when repeated."""


def facts(state: RunState) -> list[str]:
    """The state in short texts, what is unknown left out."""
    texts = [f"{state.devices_up}/{state.devices} devices up"]
    if state.round is not None:
        texts.append(f"round {state.round}")
    if state.accuracy is not None:
        texts.append(f"accuracy {quantities.percent(state.accuracy)}")
    if state.payload_bytes is not None:
        texts.append(f"payload {quantities.with_unit(state.payload_bytes, 'B')}")
    if state.wire_bytes is not None:
        texts.append(f"wire {quantities.with_unit(state.wire_bytes, 'B')}")
    if state.joules is not None:
        texts.append(f"energy {quantities.with_unit(state.joules, 'J')}")
    return texts


class QuietDisplay:
    """Warnings alone."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stderr

    def variant(self, number: int, of: int, label: str) -> None:
        """Say nothing."""

    def phase(self, name: str, detail: str = "") -> None:
        """Say nothing."""

    def progress(self, t_s: float, stop_after_s: float, state: RunState) -> None:
        """Say nothing."""

    def event(self, t_s: float, text: str) -> None:
        """Say nothing."""

    def warn(self, text: str) -> None:
        """One line."""
        self._line(f"warning: {text}")

    def close(self) -> None:
        """Nothing to end."""

    def _line(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class PlainDisplay(QuietDisplay):
    """One line for each thing that happens, and a progress line every few seconds; no control characters."""

    def __init__(self, stream: IO[str] | None = None, every_s: float = PLAIN_EVERY_S) -> None:
        super().__init__(stream)
        self._every_s = every_s
        self._shown_at: float | None = None

    def variant(self, number: int, of: int, label: str) -> None:
        """One line."""
        self._line(f"run {number} of {of}: {label}")

    def phase(self, name: str, detail: str = "") -> None:
        """One line."""
        self._line(f"{name}: {detail}" if detail else name)
        self._shown_at = None

    def progress(self, t_s: float, stop_after_s: float, state: RunState) -> None:
        """One line now and then."""
        now = time.monotonic()
        if self._shown_at is None or now - self._shown_at >= self._every_s:
            self._shown_at = now
            self._line(f"{t_s:6.1f} s of {stop_after_s:g} s: " + ", ".join(facts(state)))

    def event(self, t_s: float, text: str) -> None:
        """One line, not a long one."""
        line = f"{t_s:6.1f} s: {text}"
        self._line(line if len(line) <= PLAIN_WIDTH else line[: PLAIN_WIDTH - 1] + "…")


class JsonDisplay:
    """One JSON object a line, for programs; the caller writes the result as the last line."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stdout

    def variant(self, number: int, of: int, label: str) -> None:
        """`{"event": "phase", "name": "run 1 of 3", "detail": "algorithm=fedavg"}`."""
        self.phase(f"run {number} of {of}", label)

    def phase(self, name: str, detail: str = "") -> None:
        """`{"event": "phase", "name": ..., "detail": ...}`."""
        self._write("phase", {"name": name, "detail": detail})

    def progress(self, t_s: float, stop_after_s: float, state: RunState) -> None:
        """`{"event": "progress", "t_s": ..., "stop_after_s": ...}` with every field of RunState."""
        self._write("progress", {"t_s": t_s, "stop_after_s": stop_after_s, **asdict(state)})

    def event(self, t_s: float, text: str) -> None:
        """`{"event": "event", "t_s": ..., "text": ...}`."""
        self._write("event", {"t_s": t_s, "text": text})

    def warn(self, text: str) -> None:
        """`{"event": "warning", "text": ...}`."""
        self._write("warning", {"text": text})

    def close(self) -> None:
        """Nothing to end: the caller writes the result."""

    def _write(self, event: str, values: Mapping[str, object]) -> None:
        self._stream.write(json.dumps({"event": event, **values}) + "\n")
        self._stream.flush()


def display_for(*, quiet: bool = False, as_json: bool = False, plain: bool = False) -> Display:
    """The display that fits: JSON lines or nothing if asked, live on a terminal, plain lines elsewhere."""
    if as_json:
        return JsonDisplay()
    if quiet:
        return QuietDisplay()
    if plain or not can_redraw(sys.stderr, os.environ):
        return PlainDisplay()
    from orchestrator.terminal.live import LiveDisplay

    return LiveDisplay()


def can_redraw(stream: IO[str], environ: Mapping[str, str]) -> bool:
    """Whether lines may be drawn over: a terminal that understands it, and no CI. NO_COLOR takes the colours alone."""
    in_ci = environ.get("CI", "").lower() not in ("", "0", "false")
    return stream.isatty() and not in_ci and environ.get("TERM") != "dumb"
