"""How latencies are distributed: for each metric the share of samples that took at most so long."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, PercentFormatter

from analysis.figures import drawing
from analysis.figures.drawing import WIDTH_IN
from analysis.groups import settings
from analysis.latencies import DELAY, SAMPLED, TITLES, Observed
from analysis.looks import looks

FAR_APART = 50.0  # a metric whose 1st and 99th percentile differ by more than this factor has a logarithmic axis
POINTS = 200  # of a curve: more cannot be seen
MARKED = (0.5, 0.95, 0.99)
PANELS_BESIDE = 3


def latencies(observed: Sequence[Observed]) -> Figure:
    """An empirical distribution function for each arm, a panel for each metric and setting.

    All samples of all seeds; marks at the median, the 95th and the 99th percentile. A metric that is always zero (the
    staleness of synchronous rounds) has no panel.
    """
    by_setting = list(settings([each.group for each in observed]))
    metrics = [metric for metric in (DELAY, *SAMPLED) if any(any(each.samples.get(metric, ())) for each in observed)]
    shown = [
        (setting, metric, [each for each in observed if each.group.setting == setting])
        for metric in metrics
        for setting in by_setting
    ]
    looks_of = looks([each.group for each in observed])
    # Settings are beside each other, metrics below each other; of one setting, as many metrics as there is room for.
    columns = len(by_setting) if 1 < len(by_setting) <= PANELS_BESIDE else min(max(1, len(shown)), PANELS_BESIDE)
    rows = max(1, -(-len(shown) // columns))
    figure, panels = drawing.panels((WIDTH_IN, 0.5 + 2.5 * rows), rows, columns)
    for axes, (setting, metric, arms) in zip(panels, shown, strict=False):
        for each in arms:
            if metric in each.samples:
                _draw(axes, each.samples[metric], looks_of[each.group.arm].colour, looks_of[each.group.arm].mark)
        _scale(axes, metric, [value for each in arms for value in each.samples.get(metric, ())])
        drawing.title(axes, f"{TITLES[metric]}, {setting}" if setting else TITLES[metric])
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0, symbol=" %"))
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    for axes in panels[::columns]:
        axes.set_ylabel("share of samples")
    if len(looks_of) > 1:
        drawing.arms_legend(figure, list(looks_of), looks_of, loc="outside upper left", ncols=6)
    return figure


def _draw(axes: Axes, values: Sequence[float], colour: str, mark: str) -> None:
    shares = np.linspace(0, 1, min(POINTS, 2 * len(values)) + 1)
    at = np.quantile(values, shares, method="inverted_cdf")
    axes.step(at, shares, where="post", color=colour, linewidth=1.6)
    marked = np.quantile(values, MARKED, method="inverted_cdf")
    axes.plot(marked, MARKED, mark, color=colour, markersize=4.5, clip_on=False, zorder=3)


def _scale(axes: Axes, metric: str, values: Sequence[float]) -> None:
    least, most = np.percentile([value for value in values if value > 0] or [1.0], (1, 99))
    if most > FAR_APART * least and metric != "staleness":
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=5))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=metric == "staleness"))
    if metric == "staleness":
        axes.set_xlabel("versions")
    else:
        drawing.in_units(axes, metric)
