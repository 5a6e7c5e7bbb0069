"""How far messages were from the closed form, a panel for each shaper and place."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from analysis.fidelity import Measured, goal_s
from analysis.figures import drawing
from analysis.figures.drawing import WIDTH_IN
from analysis.looks import COLOURS, FAULT, FAULT_INK, MARKS

SHORTEST_S, LONGEST_S = 5e-6, 200.0
LEAST_MS = 0.02  # what is less is drawn there
STEPS = 200


def errors(measured: Sequence[Measured]) -> Figure:
    """The error of each message against the time that it should take; above the shaded edge the goal is missed."""
    figure, panels = drawing.panels((WIDTH_IN, 3.9), 1, len(measured), sharey=True, sharex=True)
    top_ms = max(10.0, *(abs(cell.error_s or 0.0) * 2e3 for each in measured for cell in each.cells))
    for place, (axes, each) in enumerate(zip(panels, measured, strict=True)):
        _shade_misses(axes, top_ms)
        for index, rate_bps in enumerate(sorted({cell.rate_bps for cell in each.cells})):
            shown = [cell for cell in each.cells if cell.rate_bps == rate_bps and cell.error_s is not None]
            axes.plot(
                [cell.expected_s for cell in shown],
                [max(LEAST_MS, abs(cell.error_s or 0.0) * 1e3) for cell in shown],
                linestyle="",
                marker=MARKS[index],
                markersize=4.5,
                color=COLOURS[index],
                markeredgewidth=0,
                alpha=0.85,
                label=f"{rate_bps / 1e6:g} Mbit/s",
            )
        drawing.title(axes, each.title)
        _scale(axes, top_ms)
        if place == 0:
            axes.set_ylabel("error of the median")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    return figure


def _shade_misses(axes: Axes, top_ms: float) -> None:
    ratio = (LONGEST_S / SHORTEST_S) ** (1 / STEPS)
    times_s = [SHORTEST_S * ratio**step for step in range(STEPS + 1)]
    edge_ms = [goal_s(time_s) * 1e3 for time_s in times_s]
    axes.fill_between(times_s, edge_ms, [max(top_ms, edge) for edge in edge_ms], color=FAULT, alpha=0.45, linewidth=0)
    axes.text(1.4 * SHORTEST_S, top_ms * 0.7, "goal missed", color=FAULT_INK, fontsize=9, va="top")


def _scale(axes: Axes, top_ms: float) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(SHORTEST_S, LONGEST_S)
    axes.set_ylim(LEAST_MS, top_ms)
    axes.xaxis.set_major_locator(LogLocator(base=100))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: _words(seconds)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda milliseconds, _: f"{milliseconds:g} ms"))
    axes.set_xlabel("time by the closed form")


def _words(seconds: float) -> str:
    for unit_s, name in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= unit_s:
            return f"{seconds / unit_s:g} {name}"
    return f"{seconds * 1e6:g} µs"
