"""The live display: finished phases and events scroll away, two or three lines at the bottom are drawn again in place.

      network   11 nodes, 20 directed links · 2.6 s
       6.1 s   dropout injected [pi-2, nano-1]: by crash: pi-2: pid 4942 ended by sign…
    ⠹ learn ━━━━━━━━━━━━━━━━━━━━ 7 of 20 s · 0:13 left
      8/10 devices up · round 6 · accuracy 63.2 % · payload 16.5 MB · wire 18.4 MB

Whatever the width, no line is wrapped in the middle of a fact; a line that is too long ends in an ellipsis, since the
whole text of an event is in events.jsonl.
"""

import time
from collections.abc import Iterator

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from orchestrator import quantities
from orchestrator.terminal.displays import RunState, facts

BAR_WIDTH = (8, 32)  # least and most
NAME_WIDTH = 9  # of a phase, where finished ones stand below each other
FRAMES_A_SECOND = 8
WARNINGS_SHOWN = 5  # of one phase; the end of the run tells all


class LiveDisplay:
    """A bar with the state below it, redrawn in place. Written to stderr."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._spinner = Spinner("dots", style="cyan")
        self._state: RunState | None = None
        self._run: tuple[int, int] = (1, 1)  # number of this run, and of how many
        self._run_since = time.monotonic()
        self._clear()
        self._live = Live(
            console=self._console,
            get_renderable=self._frame,
            refresh_per_second=FRAMES_A_SECOND,
            transient=True,
        )
        self._live.start()

    def variant(self, number: int, of: int, label: str) -> None:
        """A heading."""
        self._end_phase()
        self._run, self._run_since = (number, of), time.monotonic()
        self._keep(Text.assemble((f"run {number} of {of}", "bold"), "  ", (label, "bold cyan")))

    def phase(self, name: str, detail: str = "") -> None:
        """Keep a line of the phase before, and show this one beside the spinner."""
        self._end_phase()
        self._phase, self._detail = name, detail

    def progress(self, t_s: float, stop_after_s: float, state: RunState) -> None:
        """Move the bar."""
        self._state, self._t_s, self._stop_after_s = state, t_s, stop_after_s
        self._t_shown_at = time.monotonic()

    def event(self, t_s: float, text: str) -> None:
        """One line above the bar: what happened, and fainter what was seen of it."""
        happened, colon, seen = text.partition(": ")
        self._keep(Text.assemble((f"{t_s:7.1f} s", "cyan"), "  ", happened, (colon + seen, "dim")))

    def warn(self, text: str) -> None:
        """A warning above the bar, in full; of many the first few."""
        self._warnings += 1
        if self._warnings <= WARNINGS_SHOWN:
            self._console.print(Text.assemble(("  warning: ", "yellow"), text))

    def close(self) -> None:
        """Take the bar away."""
        self._end_phase()
        if self._live.is_started:
            self._live.stop()
            self._console.print()

    def _clear(self) -> None:
        self._phase = self._detail = ""
        self._since = time.monotonic()
        self._warnings = 0
        self._state = None
        self._t_s = self._stop_after_s = self._t_shown_at = 0.0

    def _end_phase(self) -> None:
        """What is finished becomes one line that stays."""
        if self._warnings > WARNINGS_SHOWN:
            self._keep(Text(f"  and {self._warnings - WARNINGS_SHOWN} more warnings like these", "yellow"))
        if self._phase:
            texts = [self._detail] if self._state is None else facts(self._state)[1:]
            took = quantities.seconds(time.monotonic() - self._since)
            line = Text.assemble("  ", (f"{self._phase:{NAME_WIDTH}}", "bold"), " ", " · ".join(filter(None, texts)))
            self._keep(line.append(f" · {took}", "dim"))
        self._clear()

    def _keep(self, line: Text) -> None:
        self._console.print(line, no_wrap=True, overflow="ellipsis", crop=True)

    def _frame(self) -> Group:
        if not self._phase:
            return Group()
        width = self._console.width
        name = Text(self._phase, "bold")
        if self._state is None:
            waited = Text(f"{self._detail} · {time.monotonic() - self._since:.0f} s")
            return Group(_row(self._spinner, name, waited))
        clock = f"{self._t_s:.0f} of {self._stop_after_s:g} s"
        room = width - len(self._phase) - len(clock) - 6  # spinner, gaps
        for left in self._left():
            if len(left) + BAR_WIDTH[0] <= room:
                clock, room = f"{clock} · {left}", room - len(left) - 3
                break
        bar_width = max(BAR_WIDTH[0], min(BAR_WIDTH[1], room))
        bar = ProgressBar(self._stop_after_s, min(self._t_s, self._stop_after_s), bar_width, complete_style="green")
        state = [
            Text("  " + line, no_wrap=True, overflow="ellipsis") for line in _packed(facts(self._state), width - 2)
        ]
        return Group(_row(self._spinner, name, bar, Text(clock)), *state)

    def _left(self) -> Iterator[str]:
        """Time left, in texts from long to short. At the pace so far, since simulated seconds are not real ones."""
        if self._t_s <= 0:
            return
        whole = (self._t_shown_at - self._since) * self._stop_after_s / self._t_s
        left = max(0.0, whole - (time.monotonic() - self._since))
        number, of = self._run
        if number < of:
            a_run = self._since - self._run_since + whole
            yield f"{quantities.clock(left)} left, {quantities.clock(left + (of - number) * a_run)} for all runs"
        yield f"{quantities.clock(left)} left"


def _row(*cells: Spinner | Text | ProgressBar) -> Table:
    row = Table.grid(padding=(0, 1))
    for _ in cells:
        row.add_column(no_wrap=True, overflow="ellipsis")
    row.add_row(*cells)
    return row


def _packed(texts: list[str], width: int) -> Iterator[str]:
    """As many texts on a line as fit."""
    line = ""
    for text in texts:
        longer = f"{line} · {text}" if line else text
        if line and len(longer) > width:
            yield line
            line = text
        else:
            line = longer
    yield line
