"""The live display: finished phases and events scroll away, two or three lines at the bottom are drawn again in place.

      network   11 nodes, 20 directed links · 2.6 s
       6.1 s   dropout of pi-2, nano-1 began: by crash: pi-2: pid 4942 ended by sign…
    ⠹ learn ━━━━━━━━━━━━━━━━━━━━ 7 of 20 s · 0:13 left
      8/10 devices up · round 6 · accuracy 63.2 % · payload 16.5 MB · wire 18.4 MB

Whatever the width, no line is wrapped in the middle of a fact; a line that is too long ends in an ellipsis, since the
whole text of an event is in events.jsonl.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

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
SHORTEST_SHOWN_S = 0.1  # of a finished phase
WARNINGS_SHOWN = 5  # of one phase; the end of the run tells all


@dataclass(frozen=True)
class _Moment:
    """What is drawn: replaced as a whole, since another thread draws it."""

    phase: str
    detail: str
    since: float  # monotonic seconds, as `at`: when t_s was reached
    state: RunState | None = None
    t_s: float = 0.0
    stop_after_s: float = 0.0
    at: float = 0.0


class LiveDisplay:
    """A bar with the state below it, redrawn in place. Written to stderr."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._spinner = Spinner("dots", style="cyan")
        self._now: _Moment | None = None
        self._warnings = 0
        self._run = (1, 1)  # number of this run, and of how many
        self._run_since = time.monotonic()
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
        self._now = _Moment(name, detail, time.monotonic())

    def progress(self, t_s: float, stop_after_s: float, state: RunState) -> None:
        """Move the bar."""
        moment = self._now or _Moment("", "", time.monotonic())
        self._now = replace(moment, state=state, t_s=t_s, stop_after_s=stop_after_s, at=time.monotonic())
        self._live.refresh()

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

    def _end_phase(self) -> None:
        """What is finished becomes one line that stays."""
        moment, self._now = self._now, None
        if self._warnings > WARNINGS_SHOWN:
            self._keep(Text(f"  and {self._warnings - WARNINGS_SHOWN} more warnings like these", "yellow"))
        self._warnings = 0
        if moment is not None:
            texts = [moment.detail] if moment.state is None else facts(moment.state)[1:]
            line = Text.assemble("  ", (f"{moment.phase:{NAME_WIDTH}}", "bold"), " ", " · ".join(filter(None, texts)))
            took_s = time.monotonic() - moment.since
            self._keep(line.append(f" · {took_s:.1f} s", "dim") if took_s >= SHORTEST_SHOWN_S else line)

    def _keep(self, line: Text) -> None:
        self._console.print(line, no_wrap=True, overflow="ellipsis", crop=True)

    def _frame(self) -> Group:
        moment = self._now
        if moment is None:
            return Group()
        name = Text(moment.phase, "bold")
        if moment.state is None:
            waited = Text(f"{moment.detail} · {time.monotonic() - moment.since:.0f} s")
            return Group(_row(self._spinner, name, waited))
        width = self._console.width
        clock = f"{moment.t_s:.0f} of {moment.stop_after_s:g} s"
        room = width - len(moment.phase) - len(clock) - 6  # spinner, gaps
        for left in self._left(moment):
            if len(left) + BAR_WIDTH[0] <= room:
                clock, room = f"{clock} · {left}", room - len(left) - 3
                break
        bar_width = max(BAR_WIDTH[0], min(BAR_WIDTH[1], room))
        done_s = min(moment.t_s, moment.stop_after_s)
        bar = ProgressBar(moment.stop_after_s, done_s, bar_width, complete_style="green")
        texts = facts(moment.state)
        state = [Text("  " + line, no_wrap=True, overflow="ellipsis") for line in _packed(texts, width - 2)]
        if moment.state.devices_up < moment.state.devices:
            state[0].stylize("yellow", 2, 2 + len(texts[0]))
        return Group(_row(self._spinner, name, bar, Text(clock)), *state)

    def _left(self, moment: _Moment) -> Iterator[str]:
        """Time left, in texts from long to short. At the pace so far, since simulated seconds are not real ones."""
        if moment.t_s <= 0:
            return
        whole = (moment.at - moment.since) * moment.stop_after_s / moment.t_s
        left = max(0.0, whole - (time.monotonic() - moment.since))
        number, of = self._run
        if number < of:
            a_run = moment.since - self._run_since + whole
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
