"""What every device did when, with the faults over it: a Gantt chart of one run."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from analysis.activity import Lane, lanes
from analysis.figures import drawing
from analysis.figures.drawing import STYLE, WIDTH_IN
from analysis.load import Run
from analysis.looks import COLOURS, FAULT_INK, GRID, INK

COLUMNS = 700  # what happens in less than this part of the run cannot be told apart in a figure of this width
MOST_LANES = 40
# Where a state is drawn in its node's lane (from above, of the lane's height), and its colour.
DRAWN = {
    "computing": (0.3, 0.4, COLOURS[0]),
    "sending": (0.08, 0.2, COLOURS[1]),
    "receiving": (0.72, 0.2, COLOURS[2]),
    "paused": (0.0, 1.0, COLOURS[3]),
}
TITLES = {"sending": "its message on the way", "receiving": "a message to it on the way"}


def resolution_s(run: Run) -> float:
    """Gaps shorter than this are not drawn."""
    return run.length_s / COLUMNS


def timeline(run: Run, title: str = "") -> Figure:
    """A lane for each node, grey while it is up; faults are marked on the lanes that they hit. Of more than 40 nodes,
    the first 40. The title is for a figure that stands by itself.
    """
    shown = lanes(run, resolution_s(run))[:MOST_LANES]
    figure, panels = drawing.panels((WIDTH_IN, 1.6 + 0.27 * len(shown) + (0.3 if title else 0.0)), 1, 1)
    axes = panels[0]
    places = {lane.node: place for place, lane in enumerate(shown)}
    for lane, place in zip(shown, places.values(), strict=True):
        _draw_lane(axes, lane, place, run.length_s)
    for place, fault in enumerate(run.acted):
        healed_s = run.length_s if fault.heal_s is None else fault.heal_s
        axes.hlines(
            -0.6, fault.at_s, healed_s, color=FAULT_INK, linewidth=3, clip_on=False
        )  # also without a victim here
        for row in sorted({places[node] for node in fault.touched if node in places}):
            _outline(axes, row, fault.at_s, healed_s)
        crowded = place > 0 and fault.at_s - run.acted[place - 1].at_s < 0.12 * run.length_s
        if not crowded:
            axes.annotate(
                f"{fault.kind} ({len(fault.victims)})",
                (fault.at_s, -0.6),
                (2, 4),
                textcoords="offset points",
                fontsize=9,
                color=FAULT_INK,
                annotation_clip=False,
            )
    axes.set_yticks(range(len(shown)), [lane.node for lane in shown])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, run.length_s or 1.0)
    axes.set_xlabel("seconds since the run began")
    axes.spines["left"].set_visible(False)
    _legend(figure, shown, title, faults=bool(run.acted))
    return figure


def _draw_lane(axes: Axes, lane: Lane, place: int, length_s: float) -> None:
    top = place - 0.42
    up = _without(lane.spans["down"], length_s)
    axes.broken_barh([(begin, end - begin) for begin, end in up], (top, 0.84), facecolor=GRID, linewidth=0, zorder=1)
    down = [(begin, end - begin) for begin, end in lane.spans["down"]]
    axes.broken_barh(down, (top, 0.84), facecolor="none", edgecolor=FAULT_INK, hatch="////", linewidth=0, zorder=1)
    for state, (offset, height, colour) in DRAWN.items():
        spans = [(begin, max(end - begin, length_s / COLUMNS / 2)) for begin, end in lane.spans[state]]
        if spans:
            bar = (top + 0.84 * offset, 0.84 * height)
            axes.broken_barh(spans, bar, facecolor=colour, linewidth=0, zorder=2)


def _outline(axes: Axes, row: int, begin_s: float, end_s: float) -> None:
    box = Rectangle((begin_s, row - 0.47), end_s - begin_s, 0.94, fill=False, edgecolor=FAULT_INK, linewidth=1.2)
    box.set_zorder(4)
    axes.add_patch(box)


def _without(spans: Sequence[tuple[float, float]], length_s: float) -> list[tuple[float, float]]:
    """The rest of the run."""
    rest, since_s = [], 0.0
    for begin, end in spans:
        if begin > since_s:
            rest.append((since_s, begin))
        since_s = max(since_s, end)
    return [*rest, (since_s, length_s)] if since_s < length_s else rest


def _legend(figure: Figure, shown: Sequence[Lane], title: str, *, faults: bool) -> None:
    seen = {state for lane in shown for state, spans in lane.spans.items() if spans}
    handles = [
        Patch(facecolor=colour, label=TITLES.get(state, state))
        for state, (_, _, colour) in DRAWN.items()
        if state in seen
    ]
    handles.append(Patch(facecolor=GRID, label="up, waiting"))
    if "down" in seen:
        handles.append(Patch(facecolor="none", edgecolor=FAULT_INK, hatch="////", linewidth=0, label="down"))
    if faults:
        handles.append(Patch(fill=False, edgecolor=FAULT_INK, label="hit by a fault"))
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        legend = figure.legend(handles=handles, loc="outside upper left", ncols=6, fontsize=9, labelcolor=INK)
        if title:
            legend.set_title(title)
            legend.get_title().set(fontsize=11, fontweight="bold")
            legend.set_alignment("left")
