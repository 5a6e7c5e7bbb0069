"""The time line of a run as text: a line for each node, a column for each stretch of time. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from analysis.activity import Lane, Span, lanes, merged
from analysis.load import Run
from orchestrator import quantities

MOST_LANES = 40
LONGEST_NAME = 24
TICKS_APART = 8  # columns, at least
BLOCKS = {"down": "x", "paused": "=", "computing": "█", "message": "▒", "waiting": "·", "fault": "━", "tick": "┊"}
ASCII = {"down": "x", "paused": "~", "computing": "#", "message": "-", "waiting": ".", "fault": "=", "tick": "|"}
TITLES = {"computing": "computing", "message": "a message on its way", "waiting": "waiting", "down": "down",
          "paused": "paused", "fault": "the fault acts"}  # fmt: skip


def lines(run: Run, width: int, marks: Mapping[str, str] = BLOCKS) -> list[str]:
    """The chart in lines of so many characters at most (60, where it is less).

    A column shows what filled most of it. Above the nodes stand the kinds of faults, while one of them acted. Of more
    than 40 nodes, the first 40.
    """
    every = lanes(run)
    shown = every[:MOST_LANES]
    faults = _faults(run)
    names = [_short(name) for name in (*faults, *(lane.node for lane in shown))]
    margin = max(map(len, names), default=0) + 1
    columns = max(60, width) - margin
    each_s = (run.length_s or 1.0) / columns
    states = [
        *(["fault" if part > 0 else "" for part in _filled(spans, columns, each_s)] for spans in faults.values()),
        *(_states(lane, columns, each_s) for lane in shown),
    ]
    drawn = [f"{name:<{margin}}{_row(row, marks)}" for name, row in zip(names, states, strict=True)]
    if faults:
        drawn.insert(len(faults), "")
    seen = {state for row in states for state in row}
    legend = "   ".join(f"{marks[state]} {title}" for state, title in TITLES.items() if state in seen)
    few = f" The first {len(shown)} of {len(every)} nodes." if len(shown) < len(every) else ""
    return [
        f"{title(run)}, {quantities.seconds(run.length_s)}; a column is {quantities.seconds(each_s)}.{few}",
        "",
        *(line.rstrip() for line in (*_axis(margin, columns, each_s, marks["tick"]), *drawn)),
        "",
        legend,
    ]


def title(run: Run) -> str:
    """Which run a time line is of, where it stands by itself."""
    return f"{run.name}, {run.label} ({run.fact('substrate')}, seed {run.plan.get('seed', 'unknown')})"


def _faults(run: Run) -> dict[str, list[Span]]:
    """When one of each kind acted."""
    found: dict[str, list[Span]] = {}
    for fault in run.acted:
        healed_s = run.length_s if fault.heal_s is None else fault.heal_s
        found.setdefault(fault.kind, []).append((fault.at_s, healed_s))
    return {kind: merged(spans) for kind, spans in found.items()}


def _states(lane: Lane, columns: int, each_s: float) -> list[str]:
    """What filled most of each column; where nothing else is known of a node, it waited."""
    under_way = merged([*lane.spans["sending"], *lane.spans["receiving"]])
    spans = {**lane.spans, "message": under_way}
    filled = {state: _filled(spans[state], columns, each_s) for state in ("down", "paused", "computing", "message")}
    found = []
    for place in range(columns):
        parts = {state: part[place] for state, part in filled.items()}
        parts["waiting"] = 1.0 - parts["down"] - parts["computing"] - parts["message"]
        found.append(max(parts, key=lambda state: parts[state]))
    return found


def _filled(spans: Iterable[Span], columns: int, each_s: float) -> list[float]:
    """The share (0-1) of each column that the spans fill, which do not overlap."""
    shares = [0.0] * columns
    for begin_s, end_s in spans:
        first, last = (min(columns - 1, int(t / each_s)) for t in (begin_s, end_s))
        for place in range(first, last + 1):
            overlap_s = min(end_s, (place + 1) * each_s) - max(begin_s, place * each_s)
            shares[place] += max(0.0, overlap_s) / each_s
    return shares


def _row(states: Sequence[str], marks: Mapping[str, str]) -> str:
    return "".join(marks[state] if state else " " for state in states)


def _axis(margin: int, columns: int, each_s: float, tick: str) -> list[str]:
    """Two lines: seconds, and ticks below them; at whole steps of 1, 2 or 5, with room for the figures."""
    step_s = next(
        size * 10**power for power in range(-6, 12) for size in (1, 2, 5) if size * 10**power >= TICKS_APART * each_s
    )
    figures, ticks = [" "] * (columns + TICKS_APART), [" "] * columns
    for number in range(int(columns * each_s / step_s) + 1):
        place = round(number * step_s / each_s)
        text = f"{number * step_s:g} s"
        if place + len(text) <= columns:
            figures[place : place + len(text)] = text
            ticks[place] = tick
    return [" " * margin + "".join(figures), " " * margin + "".join(ticks)]


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 2]}.."
