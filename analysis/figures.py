"""Figures of runs. Each function draws one `Figure`; `svg` and `save` turn it into text or a file.

Colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart; line styles differ as well.
Drawn without pyplot, so that nothing global is touched and no display is needed.
"""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from analysis import tables
from analysis.load import Run
from orchestrator import quantities

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
DASHES = ("-", "--", "-.", ":")
SIZE_IN = (7.2, 3.5)
INK = "#30343b"

_STYLE: dict[Any, Any] = {  # Matplotlib's own type for this lists every key that it knows
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "edgebed",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9aa0a8",
    "axes.labelcolor": INK,
    "axes.grid": True,
    "grid.color": "#e6e8eb",
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
}


def family(label: str) -> str:
    """A run's label without its seed: runs that differ by the seed alone share a colour."""
    return re.sub(r"[\s,;]*\bseed=\d+\b", "", label).strip() or label


def accuracy_over_time(runs: Sequence[Run]) -> Figure:
    """Accuracy on the global test set against the run's time; faults (of the first run's plan) are shaded."""
    figure, axes = _axes("seconds since the run began", "accuracy (global test set)")
    _draw_lines(axes, runs, [tables.accuracy(run) for run in runs])
    if runs:
        _shade_faults(axes, runs[0])
        axes.set_xlim(0, max((run.stop_after_s for run in runs), default=1.0) or None)
    return figure


def accuracy_against(runs: Sequence[Run], metric: str) -> Figure:
    """Accuracy against what had been spent by then: `metric` is a counter such as sent_payload_bytes."""
    names = {"sent_payload_bytes": "payload sent by all nodes", "sent_wire_bytes": "bytes on the wire, all nodes"}
    figure, axes = _axes(names.get(metric, metric), "accuracy (global test set)")
    _draw_lines(axes, runs, [tables.against(tables.accuracy(run), tables.cumulative(run, metric)) for run in runs])
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantities.of_metric(metric, value)))
    return figure


def energy_by_component(runs: Sequence[Run]) -> Figure:
    """Joules of all nodes by component, a bar for each run. Modelled, unless the records' source says otherwise."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(SIZE_IN[0], 1.3 + 0.42 * len(runs)), layout="constrained")
        axes = figure.add_subplot()
        left = [0.0] * len(runs)
        names = [run.label for run in runs]
        for index, component in enumerate(tables.components(runs)):
            joules = [tables.totals(run, "energy_joules", "component").get(component, 0.0) for run in runs]
            colour = COLOURS[index % len(COLOURS)]
            axes.barh(names, joules, left=left, height=0.62, color=colour, label=component.replace("_", " "))
            left = [so_far + more for so_far, more in zip(left, joules, strict=True)]
        axes.invert_yaxis()
        axes.set_axisbelow(True)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("energy of all nodes")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantities.with_unit(value, "J")))
        if any(left):
            figure.legend(loc="outside upper left", ncols=5, frameon=False)
    return figure


def svg(figure: Figure) -> str:
    """The figure as one `<svg>` element that scales with the page; the same figure gives the same text."""
    buffer = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    opening, rest = text[text.index("<svg") :].split(">", 1)
    return re.sub(r' (width|height)="[^"]*"', "", opening) + ">" + rest


def save(figure: Figure, path: Path) -> None:
    """Write the figure in the format that the name ends with (svg, pdf, png)."""
    with mpl.rc_context(_STYLE):
        figure.savefig(path, dpi=160)


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=SIZE_IN, layout="constrained")
        axes = figure.add_subplot()
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    return figure, axes


def _draw_lines(axes: Axes, runs: Sequence[Run], lines: Sequence[tables.Series]) -> None:
    families = list(dict.fromkeys(family(run.label) for run in runs))
    thin = len(runs) > len(families)
    named: set[str] = set()
    for run, line in zip(runs, lines, strict=True):
        name = family(run.label)
        index = families.index(name)
        axes.plot(
            line.times_s,
            line.values,
            color=COLOURS[index % len(COLOURS)],
            linestyle=DASHES[index % len(DASHES)],
            linewidth=1.1 if thin else 1.9,
            alpha=0.7 if thin else 1.0,
            label=None if name in named else name,
            gid=f"line-{index}",
        )
        named.add(name)
    if not any(line.values for line in lines):
        axes.text(0.5, 0.5, "no accuracy was recorded", transform=axes.transAxes, ha="center", va="center")
    elif len(families) > 1:
        axes.legend(loc="lower right", frameon=False)


def _shade_faults(axes: Axes, run: Run) -> None:
    for fault in run.faults:
        heal_s = run.stop_after_s if fault.heal_s is None else fault.heal_s
        axes.axvspan(fault.at_s, heal_s, color="#f3d9b1", alpha=0.45, linewidth=0, zorder=0)
        axes.annotate(
            f"{fault.kind} ({len(fault.victims)})",
            ((fault.at_s + heal_s) / 2, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            annotation_clip=False,
            fontsize=9,
            color="#8a5a12",
        )
