"""Accuracy over time and against what it cost."""

import math
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, PercentFormatter

from analysis.curves import TIME, Curve, bytes_spent, curve
from analysis.figures import drawing
from analysis.figures.drawing import STYLE, WIDTH_IN
from analysis.groups import Group, settings
from analysis.load import FaultWindow, Run
from analysis.looks import FAULT, FAULT_INK, INK, Looks, looks
from analysis.statistics import mean
from analysis.tables import told_by
from orchestrator import quantities

PANELS_BESIDE = 3
FEW_ARMS = 4  # their legend finds room inside a panel
FAR_APART = 30.0  # costs that differ by more than this factor are drawn on a logarithmic axis
COSTS = {
    "sent_payload_bytes": "payload sent by all nodes",
    "sent_wire_bytes": "bytes on the wire, all nodes",
}


def accuracy(groups: Sequence[Group], against: str = TIME, source: str = "") -> Figure:
    """Accuracy on the global test set against the run's time, with faults shaded, or against a counter that says what
    had been spent (of energy, by one `source`): a line for each arm with a band from the lowest seed to the highest, a
    panel for each setting.
    """
    by_setting = settings(groups)
    columns = min(len(by_setting), PANELS_BESIDE)
    rows = -(-len(by_setting) // columns)
    figure, panels = _panels((WIDTH_IN, 3.9 if rows == 1 and columns < 3 else 0.5 + 2.7 * rows), rows, columns)
    curves = [curve(group, against, source) for group in groups]
    for place, (axes, (setting, members)) in enumerate(zip(panels, by_setting.items(), strict=False)):
        drawing.title(axes, setting)
        _draw_curves(axes, [each for each in curves if each.setting == setting], looks(groups))
        _draw_axis(axes, members, against, curves)
        axes.set_ylabel("accuracy" if place % columns == 0 else "")
        if place + columns >= len(by_setting):  # nothing is drawn below it
            axes.tick_params(labelbottom=True)
            axes.set_xlabel(_axis_title(against, _logarithmic(curves, against), source))
    for axes in panels[len(by_setting) :]:
        axes.set_axis_off()
    _legend(figure, panels, curves, looks(groups), free=len(panels) > len(by_setting))
    return figure


def overview(groups: Sequence[Group], metric: str = "") -> Figure:
    """Accuracy over time and, beside it, against what it cost (a metric; else the payload, or of programs that have
    none the wire), a row of panels for each setting; where there is but one, the legend says what each arm cost in all.
    """
    metric = metric or bytes_spent(groups)
    by_setting = settings(groups)
    figure, panels = _panels((WIDTH_IN, 1.2 + 2.6 * len(by_setting)), len(by_setting), 2)
    for row, (setting, members) in enumerate(by_setting.items()):
        for axes, against in zip(panels[2 * row : 2 * row + 2], (TIME, metric), strict=True):
            curves = [curve(group, against) for group in groups]
            drawing.title(axes, setting if against == TIME else "")
            _draw_curves(axes, [each for each in curves if each.setting == setting], looks(groups))
            _draw_axis(axes, members, against, curves)
            axes.set_xlabel(_axis_title(against, _logarithmic(curves, against)) if row == len(by_setting) - 1 else "")
        panels[2 * row].set_ylabel("accuracy")
    if len(groups) > 1:
        _legend(figure, panels[-1:], [curve(group) for group in groups], looks(groups), free=False)
    legend = panels[-1].get_legend()
    if legend is not None and len(by_setting) == 1:
        spent = {group.arm: group.known(metric) for group in groups}
        for text in legend.get_texts():
            if values := spent[text.get_text()]:
                text.set_text(f"{text.get_text()}, {quantities.of_metric(metric, mean(values).mean)} in all")
    return figure


def _panels(size_in: tuple[float, float], rows: int, columns: int) -> tuple[Figure, list[Axes]]:
    """A grid of panels, row by row, each with accuracy upwards."""
    figure, drawn = drawing.panels(size_in, rows, columns, sharey=True, sharex="col")
    for axes in drawn:
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0, symbol=" %"))
    return figure, drawn


def _draw_curves(axes: Axes, curves: Sequence[Curve], looks_of: Looks) -> None:
    several = any(each.seeds > 1 for each in curves)
    for number, each in enumerate(curves):
        if not each.at:
            continue
        look = looks_of[each.arm]
        step = max(1, len(each.at) // 7)
        axes.plot(
            each.at,
            each.mean,
            color=look.colour,
            linewidth=1.7,
            marker=look.mark,
            markersize=4.5,
            markevery=[*range((number * step // max(1, len(curves))), len(each.at) - 1, step), len(each.at) - 1],
            clip_on=False,
            zorder=3,
        )
        if several and len(each.at) > 1:
            axes.fill_between(each.at, each.low, each.high, color=look.colour, alpha=0.13, linewidth=0, zorder=2)
        elif several:
            axes.vlines(each.at, each.low, each.high, color=look.colour, linewidth=1.7, zorder=2)
    if not any(each.at for each in curves):
        axes.text(0.5, 0.5, "no accuracy was recorded", transform=axes.transAxes, ha="center", va="center", color=INK)


def _draw_axis(axes: Axes, members: Sequence[Group], against: str, curves: Sequence[Curve]) -> None:
    """Limits and ticks, the same in all panels since they come from all curves; faults, where the axis is time."""
    reached = [value for each in curves for value in (*each.low, *each.high)]
    if reached:
        least, most = math.floor(10 * min(reached) - 0.3) / 10, math.ceil(10 * max(reached) + 0.1) / 10
        axes.set_ylim(max(0.0, least), min(1.02, most))  # a line at 100 % is not cut in half
    if against == TIME:
        axes.set_xlim(0, max((run.stop_after_s for group in members for run in group.runs), default=0.0) or None)
        if members:
            _shade_faults(axes, members[0].runs[0])
        return
    if _logarithmic(curves, against):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=6))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(4 if len(axes.figure.axes) > PANELS_BESIDE else 6))
    drawing.in_units(axes, against)


def _logarithmic(curves: Sequence[Curve], against: str) -> bool:
    ends = [each.at[-1] for each in curves if each.at and each.at[-1] > 0]
    return against != TIME and bool(ends) and max(ends) > FAR_APART * min(ends)


def _axis_title(against: str, logarithmic: bool, source: str = "") -> str:
    if against == TIME:
        return "seconds since the run began"
    cost = f"{told_by(source)}, all nodes" if source else COSTS.get(against, quantities.words(against))
    return cost + (" (logarithmic)" if logarithmic else "")


def _legend(figure: Figure, panels: Sequence[Axes], curves: Sequence[Curve], looks_of: Looks, *, free: bool) -> None:
    """The arms, the most accurate at the end first: in a panel that is free or has room, else beside the panels."""
    if len(looks_of) < 2:
        return
    ends: dict[str, list[float]] = {arm: [] for arm in looks_of}
    for each in curves:
        ends[each.arm] += each.mean[-1:]
    order = sorted(ends, key=lambda arm: -(sum(ends[arm]) / len(ends[arm]) if ends[arm] else -1.0))
    handles = drawing.handles(order, looks_of)
    with mpl.rc_context(STYLE):
        if free:
            panels[-1].legend(handles=handles, loc="center left", ncols=1 + len(order) // 9)
        elif len(order) <= FEW_ARMS and len(panels) == 1:
            panels[0].legend(handles=handles, loc="lower right")
        else:
            figure.legend(handles=handles, loc="outside right center")


def _shade_faults(axes: Axes, run: Run) -> None:
    above = not axes.get_title(loc="left")  # where there is a title, there is no room for more
    for fault in run.faults:
        heal_s = run.stop_after_s if fault.heal_s is None else fault.heal_s
        axes.axvspan(fault.at_s, heal_s, color=FAULT, alpha=0.45, linewidth=0, zorder=0)
        axes.annotate(
            _fault_text(run, fault),
            ((fault.at_s + heal_s) / 2, 1.0 if above else 0.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            annotation_clip=False,
            fontsize=9,
            color=FAULT_INK,
        )


def _fault_text(run: Run, fault: FaultWindow) -> str:
    """`dropout of 3 of 10 devices` where there is room for it, else `dropout (3)`."""
    devices = {node["name"] for node in run.plan.get("nodes", ()) if node["role"] == "device"}
    if len(run.faults) == 1 and devices.issuperset(fault.victims):
        return f"{fault.kind} of {len(fault.victims)} of {len(devices)} devices"
    return f"{fault.kind} ({len(fault.victims)})"
