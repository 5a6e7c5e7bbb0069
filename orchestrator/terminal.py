"""What one sees of a run while it runs: a live display on a terminal, plain lines elsewhere, or JSON lines.

Everything here goes to stderr, except JSON lines, which are the result and go to stdout. The display only shows:
nothing reads it back, and a run behaves the same with any of them.
"""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Protocol

from orchestrator import quantities

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

PLAIN_EVERY_S = 10.0  # between two progress lines where they stay on paper


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
    """Where a run shows what it does. Times are seconds since the run began."""

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
        """One line."""
        self._line(f"{t_s:6.1f} s: {text}")


class JsonDisplay:
    """One JSON object a line, for programs; the caller writes the result as the last line."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stdout

    def phase(self, name: str, detail: str = "") -> None:
        """`{"event": "phase", ...}`."""
        self.write("phase", {"name": name, "detail": detail})

    def progress(self, t_s: float, stop_after_s: float, state: RunState) -> None:
        """`{"event": "progress", ...}` with every field of RunState."""
        self.write("progress", {"t_s": t_s, "stop_after_s": stop_after_s, **asdict(state)})

    def event(self, t_s: float, text: str) -> None:
        """`{"event": "event", ...}`."""
        self.write("event", {"t_s": t_s, "text": text})

    def warn(self, text: str) -> None:
        """`{"event": "warning", ...}`."""
        self.write("warning", {"text": text})

    def close(self) -> None:
        """Nothing to end: the caller writes the result."""

    def write(self, event: str, values: Mapping[str, object]) -> None:
        """Write one line, at once."""
        self._stream.write(json.dumps({"event": event, **values}) + "\n")
        self._stream.flush()


class LiveDisplay:
    """A progress bar with the state beside it, redrawn in place; events scroll away above it."""

    def __init__(self, console: "Console | None" = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self._console = console or Console(stderr=True, highlight=False)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}", markup=True),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[facts]}", markup=False),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=None, facts="")
        self._learning_since: float | None = None
        self._progress.start()

    def phase(self, name: str, detail: str = "") -> None:
        """Name the phase beside the spinner, and keep the line of the one before it."""
        self._learning_since = None
        self._progress.reset(self._task, total=None, description=name, facts=detail)
        self._console.print(f"[dim]{_clock_now()}[/dim] [bold]{name}[/bold]", _plain(detail), soft_wrap=True)

    def progress(self, t_s: float, stop_after_s: float, state: RunState) -> None:
        """Move the bar. Time left is from the pace so far, since simulated seconds are not real ones."""
        now = time.monotonic()
        if self._learning_since is None:
            self._learning_since = now
        left = (now - self._learning_since) * (stop_after_s - t_s) / t_s if t_s > 0 else stop_after_s
        texts = [f"{t_s:.0f}/{stop_after_s:.0f} s", f"{quantities.clock(left)} left", *facts(state)]
        self._progress.update(self._task, total=stop_after_s, completed=min(t_s, stop_after_s), facts=" · ".join(texts))

    def event(self, t_s: float, text: str) -> None:
        """One line above the bar."""
        self._console.print(f"[cyan]{t_s:6.1f} s[/cyan]", _plain(text), soft_wrap=True)

    def warn(self, text: str) -> None:
        """One line above the bar."""
        self._console.print("[yellow]warning:[/yellow]", _plain(text), soft_wrap=True)

    def close(self) -> None:
        """Take the bar away."""
        self._progress.stop()


def display_for(*, quiet: bool = False, as_json: bool = False, plain: bool = False) -> Display:
    """The display that fits: JSON lines or nothing if asked, live on a terminal, plain lines elsewhere."""
    if as_json:
        return JsonDisplay()
    if quiet:
        return QuietDisplay()
    return PlainDisplay() if plain or not can_redraw(sys.stderr, os.environ) else LiveDisplay()


def can_redraw(stream: IO[str], environ: Mapping[str, str]) -> bool:
    """Whether lines may be drawn over: a terminal that understands it, no CI, no wish for plain text."""
    in_ci = environ.get("CI", "").lower() not in ("", "0", "false")
    return stream.isatty() and not in_ci and "NO_COLOR" not in environ and environ.get("TERM") != "dumb"


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = True) -> None:
    """A table on stdout; columns after the first are numbers, and flush right, unless said otherwise."""
    from rich import box
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(header):
        right = numbers and index > 0
        table.add_column(name, justify="right" if right else "left", no_wrap=index == 0, overflow="fold")
    for row in rows:
        table.add_row(*(_plain(cell) for cell in row))
    _results().print(table)


def print_line(text: str = "", style: str = "") -> None:
    """A line of the result on stdout; coloured where that can be seen."""
    _results().print(_plain(text), style=style, soft_wrap=True)


def _results() -> "Console":
    from rich.console import Console

    # Where nobody's window sets a width, tables are as wide as they need.
    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)


def _plain(text: str) -> "Text":
    from rich.text import Text

    return Text(text)


def _clock_now() -> str:
    return time.strftime("%H:%M:%S")
