"""Figures of runs. Each function draws one `Figure`; `svg` and `save` turn it into text or a file.

Colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart; line styles differ as well.
Drawn without pyplot, so that nothing global is touched and no display is needed.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from analysis import tables
from analysis.headlines import short_labels
from analysis.load import FaultWindow, Run
from orchestrator import quantities

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
DASHES = ("-", "--", "-.", ":")
SIZE_IN = (7.2, 3.5)
OVERVIEW_IN = (9.4, 3.8)
INK = "#30343b"
COSTS = {"sent_payload_bytes": "payload sent by all nodes", "sent_wire_bytes": "bytes on the wire, all nodes"}

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


@dataclass(frozen=True)
class Look:
    """How the runs of one family are drawn; `number` counts families."""

    number: int
    name: str

    @property
    def colour(self) -> str:
        """Its own, until there are more families than colours."""
        return COLOURS[self.number % len(COLOURS)]

    @property
    def dash(self) -> str:
        """The line's style."""
        return DASHES[self.number % len(DASHES)]


def family(label: str) -> str:
    """A run's label without its seed: runs that differ by the seed alone share a colour."""
    return re.sub(r"[\s,;]*\bseed=\d+\b", "", label).strip() or label


def looks(runs: Sequence[Run]) -> list[Look]:
    """The look of each run."""
    families = list(dict.fromkeys(family(run.label) for run in runs))
    names = short_labels(families)
    by_family = {each: Look(number, name) for number, (each, name) in enumerate(zip(families, names, strict=True))}
    return [by_family[family(run.label)] for run in runs]


def accuracy_over_time(runs: Sequence[Run]) -> Figure:
    """Accuracy on the global test set against the run's time; faults (of the first run's plan) are shaded."""
    figure, (axes,) = _panels(SIZE_IN, 1)
    _draw_over_time(axes, runs)
    return figure


def accuracy_against(runs: Sequence[Run], metric: str) -> Figure:
    """Accuracy against what had been spent by then: `metric` is a counter such as sent_payload_bytes."""
    figure, (axes,) = _panels(SIZE_IN, 1)
    _draw_against(axes, runs, metric)
    return figure


def overview(runs: Sequence[Run], metric: str = "sent_payload_bytes") -> Figure:
    """Accuracy over time and, beside it, against what it cost; the legend says what each run cost in all."""
    figure, (left, right) = _panels(OVERVIEW_IN, 2, margin_in=0.14)
    _draw_over_time(left, runs)
    _draw_against(right, runs, metric)
    right.set_ylabel("")
    legend = right.get_legend()
    if legend is not None and len(runs) == len(legend.get_texts()):
        for text, run in zip(legend.get_texts(), runs, strict=True):
            text.set_text(f"{text.get_text()}, {quantities.of_metric(metric, run.summary.get(metric))} in all")
    return figure


def energy_by_component(runs: Sequence[Run]) -> Figure:
    """Joules of all nodes by component, a bar for each run. Modelled, unless the records' source says otherwise."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(SIZE_IN[0], 1.3 + 0.42 * len(runs)), layout="constrained")
        axes = figure.add_subplot()
        left = [0.0] * len(runs)
        names = short_labels([run.label for run in runs])
        for index, component in enumerate(tables.components(runs)):
            joules = [tables.totals(run, "energy_joules", "component").get(component, 0.0) for run in runs]
            colour = COLOURS[index % len(COLOURS)]
            axes.barh(names, joules, left=left, height=0.62, color=colour, label=component.replace("_", " "))
            left = [so_far + more for so_far, more in zip(left, joules, strict=True)]
        axes.invert_yaxis()
        axes.set_axisbelow(True)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("energy of all nodes")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(quantities.with_unit(value, "J"))))
        if any(left):
            figure.legend(loc="outside upper left", ncols=5, frameon=False, labelcolor=INK)
    return figure


def svg(figure: Figure) -> str:
    """The figure as one `<svg>` element that scales with the page; the same figure gives the same text."""
    buffer = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    opening, rest = text[text.index("<svg") :].split(">", 1)
    return re.sub(r' (width|height)="[^"]*"', "", opening) + ">" + rest


def save(figure: Figure, path: Path, about: str = "") -> None:
    """Write the figure in the format that the name ends with (svg, pdf, png); letters are drawn, so that it looks the
    same everywhere. An SVG says in its metadata what it is `about`.
    """
    metadata = {"Date": None, "Description": about} if path.suffix == ".svg" else None
    with mpl.rc_context({**_STYLE, "svg.fonttype": "path"}):
        figure.savefig(path, dpi=160, metadata=metadata)


def _panels(size_in: tuple[float, float], count: int, margin_in: float = 0.04) -> tuple[Figure, list[Axes]]:
    """Panels side by side, each with accuracy upwards."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size_in, layout=ConstrainedLayoutEngine(w_pad=margin_in, h_pad=margin_in, wspace=0.05))
        panels: list[Axes] = list(figure.subplots(1, count, squeeze=False, sharey=True)[0])
    for axes in panels:
        axes.set_ylabel("accuracy on the global test set")
        axes.set_ylim(0, 1.02)  # a line at 100 % is not cut in half
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0, symbol=" %"))
    return figure, panels


def _draw_over_time(axes: Axes, runs: Sequence[Run]) -> None:
    axes.set_xlabel("seconds since the run began")
    _draw_lines(axes, runs, [tables.accuracy(run) for run in runs])
    if runs:
        _shade_faults(axes, runs[0])
        axes.set_xlim(0, max((run.stop_after_s for run in runs), default=1.0) or None)
    _legend(axes)


def _draw_against(axes: Axes, runs: Sequence[Run], metric: str) -> None:
    lines = [tables.against(tables.accuracy(run), tables.cumulative(run, metric)) for run in runs]
    axes.set_xlabel(COSTS.get(metric, quantities.words(metric)))
    _draw_lines(axes, runs, lines)
    for look, line in zip(looks(runs), lines, strict=True):
        if line.values:  # a mark at its end: runs that spend next to nothing would not be seen
            end = line.times_s[-1], line.values[-1]
            axes.plot(*end, "o", color=look.colour, markersize=5.5, clip_on=False, zorder=5)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(quantities.of_metric(metric, value))))
    _legend(axes)


def _legend(axes: Axes) -> None:
    if len(axes.get_legend_handles_labels()[0]) > 1:
        axes.legend(loc="lower right", frameon=False, labelcolor=INK)


def _draw_lines(axes: Axes, runs: Sequence[Run], lines: Sequence[tables.Series]) -> None:
    thin = len(runs) > len({family(run.label) for run in runs})
    named: set[str] = set()
    for look, line in zip(looks(runs), lines, strict=True):
        axes.plot(
            line.times_s,
            line.values,
            color=look.colour,
            linestyle=look.dash,
            linewidth=1.1 if thin else 1.9,
            alpha=0.7 if thin else 1.0,
            label=None if look.name in named else look.name,
            gid=f"line-{look.number}",
        )
        named.add(look.name)
    if not any(line.values for line in lines):
        axes.text(0.5, 0.5, "no accuracy was recorded", transform=axes.transAxes, ha="center", va="center")


def _shade_faults(axes: Axes, run: Run) -> None:
    for fault in run.faults:
        heal_s = run.stop_after_s if fault.heal_s is None else fault.heal_s
        axes.axvspan(fault.at_s, heal_s, color="#f3d9b1", alpha=0.45, linewidth=0, zorder=0)
        axes.annotate(
            _fault_text(run, fault),
            ((fault.at_s + heal_s) / 2, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            annotation_clip=False,
            fontsize=9,
            color="#8a5a12",
        )


def _fault_text(run: Run, fault: FaultWindow) -> str:
    """`dropout of 3 of 10 devices` where there is room for it, else `dropout (3)`."""
    devices = {node["name"] for node in run.plan.get("nodes", ()) if node["role"] == "device"}
    if len(run.faults) == 1 and devices.issuperset(fault.victims):
        return f"{fault.kind} of {len(fault.victims)} of {len(devices)} devices"
    return f"{fault.kind} ({len(fault.victims)})"


def _tick(text: str) -> str:
    """The text of a tick without zeros behind the point: `25.0 MB` is `25 MB`."""
    return re.sub(r"(\.\d*?)0+(?= )", r"\1", text).replace(". ", " ")
