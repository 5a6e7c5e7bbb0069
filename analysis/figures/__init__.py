"""Figures of runs. Each function draws one `Figure`; `svg` and `save` turn it into text or a file."""

from analysis.figures.accuracy import COSTS, accuracy, overview
from analysis.figures.bars import energy_by_component, measured, per_arm
from analysis.figures.drawing import Drawing, apart, save, svg
from analysis.figures.latency import latencies
from analysis.figures.programs import programs
from analysis.figures.timeline import timeline
from analysis.figures.traffic import traffic

__all__ = [
    "COSTS",
    "Drawing",
    "accuracy",
    "apart",
    "energy_by_component",
    "latencies",
    "measured",
    "overview",
    "per_arm",
    "programs",
    "save",
    "svg",
    "timeline",
    "traffic",
]
