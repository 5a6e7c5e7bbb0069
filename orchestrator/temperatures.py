"""Temperature traces: CSV lines of seconds and degrees Celsius, under a header that says whose they are.

    time_s,ambient_c   of the air around a device, which its model of heat starts from and cools down to
    time_s,chip_c      of the chip itself, as it was measured on a board: then nothing is modelled

Time is that since the fault began. Between two lines the temperature changes evenly; after the last it stays.
"""

import csv
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal, cast

from orchestrator.named_files import read_named

MAX_LINES = 10_000  # they are part of the plan
COLDEST, HOTTEST = -60.0, 150.0
Whose = Literal["ambient", "chip"]
HEADERS: dict[tuple[str, ...], Whose] = {("time_s", "ambient_c"): "ambient", ("time_s", "chip_c"): "chip"}
Points = Sequence[Sequence[float]]  # (seconds, degrees), in order


@dataclass(frozen=True)
class TemperatureFile:
    """A trace as the file has it now."""

    path: str
    sha256: str
    whose: Whose
    points: tuple[tuple[float, float], ...]

    def plain(self) -> dict[str, Any]:
        """As a plan has it: all that is decided by it, as JSON values."""
        return {"whose": self.whose, "sha256": self.sha256, "points": [list(point) for point in self.points]}


def find_temperatures(written: str, folder: Path) -> TemperatureFile:
    """Read a trace; a relative path starts at `folder`. ValueError says what is wrong, and where."""
    path, sha256, (whose, points) = read_named(written, folder, read_temperatures)
    return TemperatureFile(path, sha256, whose, points)


def read_temperatures(text: str) -> tuple[Whose, tuple[tuple[float, float], ...]]:
    """Whose temperature, and the points."""
    whose: Whose | None = None
    points: list[tuple[float, float]] = []
    for number, row in enumerate(csv.reader(text.splitlines()), 1):
        cells = tuple(cell.strip() for cell in row)
        if not any(cells) or cells[0].startswith("#"):
            continue
        if whose is None:
            if cells not in HEADERS:
                raise ValueError(f"line {number}: must be time_s,ambient_c or time_s,chip_c (found {','.join(cells)})")
            whose = HEADERS[cells]
            continue
        try:
            t, celsius = (float(cell) for cell in cells)
        except ValueError:
            raise ValueError(f"line {number}: must be seconds and degrees (found {','.join(cells)})") from None
        if not (isfinite(t) and t >= 0 and (not points or t > points[-1][0])):
            raise ValueError(f"line {number}: times must rise from 0 on (found {cells[0]})")
        if not COLDEST <= celsius <= HOTTEST:
            raise ValueError(f"line {number}: from {COLDEST:g} to {HOTTEST:g} degrees Celsius (found {cells[1]})")
        points.append((t, celsius))
        if len(points) > MAX_LINES:
            raise ValueError(f"more than {MAX_LINES} lines of temperatures")
    if not points:
        raise ValueError("no line of seconds and degrees below the header")
    return cast(Whose, whose), tuple(points)


def celsius_at(points: Points, t: float) -> float:
    """The temperature at an instant; before the first line that of the first."""
    after = bisect_right(points, t, key=lambda point: point[0])
    if after == 0:
        return float(points[0][1])
    (from_s, from_c), (to_s, to_c) = points[after - 1], points[min(after, len(points) - 1)]
    return float(from_c) if to_s <= from_s else from_c + (to_c - from_c) * (t - from_s) / (to_s - from_s)
