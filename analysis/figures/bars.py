"""What each arm reached and cost, as bars: means with their intervals, and energy by component."""

import math
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis import tables
from analysis.figures import drawing
from analysis.figures.drawing import STYLE, WIDTH_IN
from analysis.groups import Group, settings
from analysis.looks import COLOURS, INK, looks
from orchestrator import quantities

BARS = ("test_accuracy", "sent_wire_bytes", "energy_joules")


def measured(groups: Sequence[Group]) -> list[str]:
    """Those of `BARS` that any run knows."""
    return [metric for metric in BARS if any(group.known(metric) for group in groups)]


def per_arm(groups: Sequence[Group]) -> Figure:
    """What each arm reached and cost: bars of means with 95 % confidence intervals, and a dot for each seed."""
    metrics = measured(groups)
    height_in = 0.75 + 0.29 * (1 + drawing.rows(groups)[0][-1])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        panels: list[Axes] = list(figure.subplots(1, max(1, len(metrics)), squeeze=False, sharey=True)[0])
    for axes, metric in zip(panels, metrics, strict=False):
        _draw_bars(axes, groups, metric)
        drawing.name_rows(axes, groups)
        drawing.title(axes, quantities.words(metric).capitalize())
    return figure


def energy_by_component(groups: Sequence[Group], source: str) -> Figure:
    """Joules of all nodes by component as one source tells them, a bar for each arm (and setting), means over seeds."""
    places, _ = drawing.rows(groups)
    ordered = [group for members in settings(groups).values() for group in members]
    spent = [[tables.energy(run, source) for run in group.runs] for group in ordered]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, 1.25 + 0.3 * (1 + places[-1])), layout="constrained")
        axes = figure.add_subplot()
    left = [0.0] * len(ordered)
    for index, component in enumerate(tables.components([run for group in groups for run in group.runs], source)):
        joules = [sum(each.get(component, 0.0) for each in runs) / len(runs) for runs in spent]
        title = component.replace("_", " ")
        axes.barh(places, joules, left=left, height=0.66, color=COLOURS[index % len(COLOURS)], label=title)
        left = [so_far + more for so_far, more in zip(left, joules, strict=True)]
    drawing.name_rows(axes, groups)
    axes.set_xlabel(f"{tables.told_by(source)}, all nodes")
    drawing.in_units(axes, "energy_joules")
    if any(left):
        with mpl.rc_context(STYLE):
            figure.legend(loc="outside upper left", ncols=5)
    return figure


def _draw_bars(axes: Axes, groups: Sequence[Group], metric: str) -> None:
    ordered = [group for members in settings(groups).values() for group in members]
    most = 1.0 if quantities.unit_of(metric) == "ratio" else math.inf  # an interval may say more than there can be
    end = 0.0
    for group, place in zip(ordered, drawing.rows(groups)[0], strict=True):
        known, found, look = group.known(metric), group.mean(metric), looks(groups)[group.arm]
        if found is not None:
            axes.barh(place, found.mean, height=0.66, color=look.colour, alpha=0.45, linewidth=0)
            if found.low is not None and found.high is not None:
                axes.hlines(place, max(0.0, found.low), min(most, found.high), color=INK, linewidth=1.3, zorder=3)
        if len(known) > 1 or found is None:
            axes.plot(known, [place] * len(known), "o", markersize=3.2, color=look.colour, zorder=4, clip_on=False)
        text = "not measured" if not known else "" if found is None else quantities.of_metric(metric, found.mean)
        right = min(most, max([*known, 0.0, (found.high or 0.0) if found else 0.0]))
        axes.annotate(text, (right, place), (6, 0), textcoords="offset points", va="center", fontsize=9, color=INK)
        end = max(end, right)
    axes.set_xlim(0, 1.38 * end or 1.0)  # the texts need room
    axes.set_xticks([tick for tick in MaxNLocator(3).tick_values(0, 1.1 * end) if tick <= min(most, 1.2 * end)])
    drawing.in_units(axes, metric)
