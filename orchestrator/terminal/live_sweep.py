"""The live display of a sweep: its matrix, a row for all seeds of one combination, drawn again in place."""

import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator import quantities
from orchestrator.terminal.sweep import FAILED, MARKS, SEED, Factors, Running, matrix, short, title, words_of

FRAMES_A_SECOND = 4
BAR_WIDTH = 24
WAITS, RUNS = "·", "▸"
STYLES = {"✓": "green", "○": "yellow", "≈": "yellow", FAILED: "bold red", RUNS: "cyan", WAITS: "dim"}
LEGEND = {"✓": "met", "○": "missed", "≈": "degraded", FAILED: "failed"}
SPARE_LINES = 5  # of the window: the bar, the heading, what is left out, and air
MOST_SPREAD = 24  # seeds; the marks of more stand close together


class LiveSweep:
    """Written to stderr; warnings and failures stay above it."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._heading: tuple[str, ...] = ()  # what is varied, but for the seed
        self._rows: dict[tuple[str, ...], list[str]] = {}  # by the words of what is varied: labels of the seeds
        self._names: dict[str, str] = {}  # of runs, in few words
        self._marks: dict[str, str] = {}
        self._running: dict[str, Running] = {}
        self._since = time.monotonic()
        self._kept = 0
        self._warned: set[str] = set()
        self._live = Live(
            console=self._console, get_renderable=self.picture, refresh_per_second=FRAMES_A_SECOND, transient=True
        )

    def begin(self, runs: Sequence[tuple[str, Factors]], ahead: AbstractSet[str]) -> None:
        """Draw the matrix."""
        varied = [key for key, words in words_of(runs).items() if len(words) > 1]
        self._heading = tuple(key for key in varied if key != SEED)
        for label, factors in runs:
            words = dict(factors)
            self._rows.setdefault(tuple(words.get(key, "-") for key in self._heading), []).append(label)
            self._names[label] = short([each for each in factors if each[0] in varied]) or label
            self._marks[label] = WAITS
        self._console.print(Text(matrix(runs), "bold"))
        self._since = time.monotonic()
        self._live.start()

    def kept(self, label: str, exit_code: int) -> None:
        """Its mark."""
        self._kept += 1
        self._marks[label] = MARKS.get(exit_code, FAILED)

    def started(self, label: str) -> None:
        """A line of its own."""
        self._marks[label] = RUNS
        self._running[label] = Running()

    def said(self, label: str, event: Mapping[str, Any]) -> None:
        """What its line says; the same warning of many runs stays above once."""
        if event["event"] == "warning":
            if event["text"] not in self._warned:
                self._warned.add(event["text"])
                self.warn(f"{self._names[label]}: {event['text']}")
        elif label in self._running:
            self._running[label].take(event)

    def ended(self, label: str, exit_code: int, error: str | None, took_s: float) -> None:
        """Its mark; why it failed stays above."""
        self._running.pop(label, None)
        self._marks[label] = MARKS.get(exit_code, FAILED)
        if error:
            self._console.print(Text.assemble((f"  {FAILED} ", "bold red"), f"{self._names[label]}: {error}"))

    def warn(self, text: str) -> None:
        """A warning above the matrix, in full."""
        self._console.print(Text.assemble(("  warning: ", "yellow"), text))

    def page(self, text: str) -> None:
        """A line above the matrix."""
        self._console.print(Text.assemble(("  page: ", "bold"), text))

    def close(self) -> None:
        """Take it away."""
        if self._live.is_started:
            self._live.stop()

    def picture(self) -> Group:
        """What is drawn now. Another thread draws it than the one that changes it: from copies."""
        marks, running = dict(self._marks), dict(self._running)
        room = max(1, self._console.height - SPARE_LINES - len(running))
        rows = list(self._rows.items())
        if len(rows) > room:  # those that have yet to end, what runs first
            rows = [row for row in rows if any(marks[label] in (RUNS, WAITS) for label in row[1])]
            rows.sort(key=lambda row: all(marks[label] != RUNS for label in row[1]))
        hidden = len(self._rows) - len(rows[:room])
        parts: list[Text | Table] = [self._summary(marks, running), self._grid(rows[:room], marks)]
        if hidden > 0:
            parts.append(Text(f"  and {hidden} more combinations", "dim"))
        for label, run in running.items():
            line = Text.assemble((f"  {RUNS} ", "cyan"), (self._names[label], "bold"), "   ", run.text)
            line.no_wrap, line.overflow = True, "ellipsis"
            parts.append(line)
        return Group(*parts)

    def _grid(self, rows: Sequence[tuple[tuple[str, ...], list[str]]], marks: Mapping[str, str]) -> Table:
        """A row for each combination: its words, and a mark for each seed."""
        gap = " " if all(len(labels) <= MOST_SPREAD for _, labels in rows) else ""
        grid = Table(box=None, padding=(0, 1, 0, 1), pad_edge=True, header_style="dim", show_header=bool(self._heading))
        for key in self._heading:
            grid.add_column(title(key), no_wrap=True, overflow="ellipsis")
        grid.add_column(
            "seeds" if any(len(labels) > 1 for _, labels in rows) else "", no_wrap=True, overflow="ellipsis"
        )
        for words, labels in rows:
            cells = Text()
            for label in labels:
                cells.append(marks[label] + gap, STYLES[marks[label]])
            grid.add_row(*map(Text, words), cells)
        return grid

    def _summary(self, marks: Mapping[str, str], running: Mapping[str, Running]) -> Table:
        ended = [mark for mark in marks.values() if mark not in (WAITS, RUNS)]
        took_s = time.monotonic() - self._since
        texts = [f"{len(ended)} of {len(marks)} runs"]
        texts += [f"{ended.count(mark)} {said} {mark}" for mark, said in LEGEND.items() if mark in ended]
        texts.append(quantities.clock(took_s))
        half_done = sum(run.share for run in running.values())
        done, ahead = len(ended) - self._kept + half_done, len(marks) - len(ended) - half_done
        if done >= 1 and ahead > 0:
            texts.append(f"{quantities.clock(took_s / done * ahead)} left")
        row = Table.grid(padding=(0, 1))
        row.add_column()
        row.add_column(no_wrap=True, overflow="ellipsis")
        bar = ProgressBar(len(marks) or 1, len(ended), BAR_WIDTH, complete_style="green", finished_style="green")
        row.add_row(bar, Text(" · ".join(texts)))
        return row
