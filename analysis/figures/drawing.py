"""What all figures share: their style, panels and rows, and how they become text or a file.

Drawn without pyplot, so that nothing global is touched and no display is needed.
"""

import io
import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from analysis.groups import Group, settings
from analysis.looks import AXIS, GRID, INK, VARIABLES, Looks
from orchestrator import quantities

Drawing = Callable[[], Figure]  # what draws one, when it is wanted
WIDTH_IN = 9.4
STYLE: dict[Any, Any] = {  # Matplotlib's own type for this lists every key that it knows
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "edgebed",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": AXIS,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": AXIS,
    "ytick.color": AXIS,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "text.color": INK,
}


def svg(figure: Figure) -> str:
    """The figure as one `<svg>` element that scales with the page and takes its colours from the page's variables (see
    `VARIABLES`); the same figure gives the same text.
    """
    buffer = io.StringIO()
    figure.set_facecolor("none")
    for axes in figure.axes:
        axes.set_facecolor("none")
    with mpl.rc_context(STYLE):
        # `savefig` would draw everything once more beforehand, for layouts that our figures make as they are drawn.
        canvas = FigureCanvasSVG(figure)
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]  # as it is
    text = buffer.getvalue()
    opening, rest = text[text.index("<svg") :].split(">", 1)
    # Several figures share a page: names that count the parts of one would be there twice. Those of definitions stay.
    rest = re.sub(r' id="(?!C\d)[A-Za-z0-9.]+_\d+"', "", rest)
    rest = re.sub(r"#[0-9a-f]{6}\b", lambda match: _variable(match[0]), rest)
    return re.sub(r' (width|height)="[^"]*"', "", opening) + ">" + rest


def apart(page: str) -> str:
    """The page with the definitions of each of its drawings under names of their own.

    A browser takes the first definition of a name, and none that lies in a closed part of the page: a drawing that
    shares them with another would lose its hatches.
    """
    number = itertools.count(1)

    def rename(drawing: re.Match[str]) -> str:
        own = f"f{next(number)}-"
        text = re.sub(r' id="([^"]+)"', rf' id="{own}\1"', drawing[0])
        return re.sub(r'(url\(|href=")#', rf"\1#{own}", text)

    return re.sub(r"<svg .*?</svg>", rename, page, flags=re.DOTALL)


def save(figure: Figure, path: Path, about: str = "") -> None:
    """Write the figure in the format that the name ends with (svg, pdf, png); letters are drawn, so that it looks the
    same everywhere. An SVG says in its metadata what it is `about`.
    """
    metadata = {"Date": None, "Description": about} if path.suffix == ".svg" else None
    with mpl.rc_context({**STYLE, "svg.fonttype": "path"}):
        figure.savefig(path, dpi=160, metadata=metadata)


def _variable(colour: str) -> str:
    return f"var(--{VARIABLES[colour]})" if colour in VARIABLES else colour


def panels(size_in: tuple[float, float], rows: int, columns: int, **share: Any) -> tuple[Figure, list[Axes]]:
    """A grid of panels, row by row; `share` says which share their axes (as Matplotlib's `subplots`)."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size_in, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06, wspace=0.03))
        drawn: list[Axes] = list(figure.subplots(rows, columns, squeeze=False, **share).flat)
    return figure, drawn


def title(axes: Axes, text: str) -> None:
    """The heading of a panel, above its left end."""
    axes.set_title(text, loc="left", fontsize=10.5, fontweight="bold", color=INK)


def arms_legend(figure: Figure, order: Sequence[str], looks_of: Looks, **where: Any) -> None:
    """The arms in this order; of the figure, at `where` (as Matplotlib's `legend`)."""
    with mpl.rc_context(STYLE):
        figure.legend(handles=handles(order, looks_of), **where)


def handles(order: Sequence[str], looks_of: Looks) -> list[Line2D]:
    """What a legend shows of the arms."""
    return [
        Line2D([], [], color=looks_of[arm].colour, marker=looks_of[arm].mark, markersize=5, linewidth=1.7, label=arm)
        for arm in order
    ]


def rows(groups: Sequence[Group]) -> tuple[list[float], dict[float, str]]:
    """Where the bar of each group goes, settings one after another, and the heading of each setting, if it has one."""
    places: list[float] = []
    headings: dict[float, str] = {}
    at = 0.0
    for setting, members in settings(groups).items():
        if setting:
            headings[at] = setting
            at += 1
        places += [at + index for index in range(len(members))]
        at += len(members) + 0.4
    return places, headings


def name_rows(axes: Axes, groups: Sequence[Group]) -> None:
    """The names of the arms beside their bars, below those of the settings."""
    places, headings = rows(groups)
    names = [group.arm for members in settings(groups).values() for group in members]
    axes.set_yticks([*places, *headings], [*names, *headings.values()])
    for label in axes.get_yticklabels()[len(places) :]:
        label.set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.set_ylim(places[-1] + 0.7, -0.7)


def in_units(axes: Axes, metric: str) -> None:
    """Ticks along x as people read the metric: `25 MB`."""
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(quantities.of_metric(metric, value))))


def tick(text: str) -> str:
    """The text of a tick without zeros behind the point: `25.0 MB` is `25 MB`."""
    return re.sub(r"(\.\d*?)0+(?= )", r"\1", text).replace(". ", " ")
