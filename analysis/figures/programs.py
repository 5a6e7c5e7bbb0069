"""What the programs of a workload measured themselves, over time: a panel for each of their metrics."""

from collections.abc import Sequence
from itertools import accumulate

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from analysis.figures import drawing
from analysis.figures.drawing import STYLE, WIDTH_IN
from analysis.load import NodeRecord, Run
from analysis.looks import FAULT, Look
from node_image.records import Record
from orchestrator import quantities

BESIDE = 2
MOST_PANELS = 8
COUNTED, VALUE = "program_count", "program_value"
METRICS = (COUNTED, VALUE, "program_sample")


def names(runs: Sequence[Run]) -> list[str]:
    """The metrics that the programs of some runs told of, sorted."""
    return sorted({name for run in runs for name, _ in told(run)})


def told(run: Run) -> list[tuple[str, NodeRecord]]:
    """What its programs told: the name of the metric, and the record."""
    return [(entry.record.labels.get("name", ""), entry) for each in METRICS for entry in run.of(each)]


def programs(runs: Sequence[Run], labels: Sequence[str]) -> Figure:
    """The first eight metrics of some runs, with the faults of the first run shaded.

    Counters are those of all nodes together, so far; of other metrics every value of every node is shown.
    """
    shown = names(runs)[:MOST_PANELS]
    columns = min(BESIDE, len(shown))
    rows = -(-len(shown) // columns)
    figure, panels = drawing.panels((WIDTH_IN, 0.7 + 2.1 * rows), rows, columns, sharex="col")
    for place, (name, axes) in enumerate(zip(shown, panels, strict=False)):
        drawing.title(axes, quantities.words(f"program.{name}").removeprefix("program: "))
        for number, run in enumerate(runs):
            _draw(axes, run, name, Look(number))
        for fault in runs[0].acted:
            healed_s = runs[0].length_s if fault.heal_s is None else fault.heal_s
            axes.axvspan(fault.at_s, healed_s, color=FAULT, alpha=0.45, linewidth=0, zorder=0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _, name=name: _tick(name, value)))
        axes.set_xlim(0, max(run.length_s for run in runs) or 1.0)
        axes.set_ylim(bottom=0 if axes.get_ylim()[0] >= 0 else None)
        if place + columns >= len(shown):
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("seconds since the run began")
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    if len(runs) > 1:
        arms = [
            Line2D([], [], color=Look(number).colour, marker=Look(number).mark, markersize=5, label=label)
            for number, label in enumerate(labels)
        ]
        with mpl.rc_context(STYLE):
            figure.legend(handles=arms, loc="outside right center")
    return figure


def _draw(axes: Axes, run: Run, name: str, look: Look) -> None:
    for metric in METRICS:
        by_node: dict[str, list[Record]] = {}
        for entry in run.of(metric):
            if entry.record.labels.get("name") == name:
                by_node.setdefault("" if metric == COUNTED else entry.node, []).append(entry.record)
        for records in by_node.values():
            values = [record.value for record in records]
            times = [record.t for record in records]
            if metric == COUNTED:
                steps = ([0.0, *times, run.length_s], [0.0, *accumulate(values), sum(values)])
                axes.step(*steps, where="post", color=look.colour, linewidth=1.5)
            else:
                line = 1.2 if metric == VALUE else 0
                axes.plot(times, values, color=look.colour, marker=look.mark, markersize=3.5, linewidth=line, alpha=0.8)


def _tick(name: str, value: float) -> str:
    return drawing.tick(quantities.of_metric(f"program.{name}", value))
