"""Who sent what to whom: payload bytes as a matrix for each arm."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.figures import drawing
from analysis.figures.drawing import WIDTH_IN
from analysis.groups import Group
from analysis.looks import COLOURS, INK
from analysis.traffic import Matrix, matrix

MOST_NUMBERS = 13  # columns; with more, a cell is too small for its number
MOST_COLUMNS = 9  # of all panels beside each other, where these are few enough
UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))


def traffic(groups: Sequence[Group]) -> Figure:
    """A matrix for each group that sent anything, the darker the more; the numbers have the unit of the heading.

    Means over the seeds. See `analysis.traffic` for what is a row and what a column.
    """
    found = [(group, each) for group in groups if (each := matrix(group.runs)).cells]
    widest = max((len(each.columns) for _, each in found), default=1)
    columns = min(max(1, len(found)), max(1, MOST_COLUMNS // widest)) if widest <= MOST_COLUMNS else 1
    columns = max(columns, 2) if len(found) > 1 else columns
    rows = max(1, -(-len(found) // columns))
    most_rows = max((len(each.rows) for _, each in found), default=1)
    figure, panels = drawing.panels((WIDTH_IN, rows * (1.6 + 0.26 * most_rows)), rows, columns)
    for place, (axes, (group, each)) in enumerate(zip(panels, found, strict=False)):
        unit = _draw(axes, each)
        named = f"{group.name}, {unit}" if len(groups) > 1 else f"payload, {unit}"
        drawing.title(axes, named)
        if each.hub is None and place % columns == 0:
            axes.set_ylabel("from")
    for axes in panels[len(found) :]:
        axes.set_axis_off()
    return figure


def _draw(axes: Axes, of: Matrix) -> str:
    """Draw it, and return the unit of its numbers."""
    most = max(of.cells.values())
    factor, unit = next(each for each in UNITS if most >= each[0] or each[0] == 1.0)
    column_of = {name: place for place, name in enumerate(of.columns)}
    row_of = {name: place for place, name in enumerate(of.rows)}
    for (row, column), size in of.cells.items():
        if row not in row_of or column not in column_of:
            continue
        x, y = column_of[column], row_of[row]
        face = Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=COLOURS[0], linewidth=0)
        face.set_alpha(0.05 + 0.5 * size / most)
        axes.add_patch(face)
        if len(of.columns) <= MOST_NUMBERS:
            axes.text(x, y, _number(size / factor), ha="center", va="center", fontsize=8, color=INK)
    axes.set_xlim(-0.55, len(of.columns) - 0.45)
    axes.set_ylim(len(of.rows) - 0.45, -0.55)
    if of.hub is None:
        axes.set_xticks(range(len(of.columns)), of.columns, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
        axes.set_xlabel("to")
    else:
        axes.set_xticks(range(len(of.columns)), of.columns, fontsize=7.5)
    axes.set_yticks(range(len(of.rows)), of.rows, fontsize=8.5)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    return unit


def _number(value: float) -> str:
    if value < 0.01:
        return "<0.01"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
