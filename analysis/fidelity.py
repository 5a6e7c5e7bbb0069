"""The page of how true links are, made from what `bench.fidelity` measured: `python -m analysis.fidelity FOLDER DOCS`.

In DOCS/fidelity.md each block between `<!-- fidelity: NAME -->` and `<!-- end -->` is replaced by the tables of
FOLDER/NAME.json, and the block `summary` by a line for each of them; DOCS/images/fidelity.svg is drawn. The words
around the blocks are written by hand and stay.
"""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

BLOCK = re.compile(r"(<!-- fidelity: ([a-z0-9_]+) -->\n).*?(<!-- end -->)", re.DOTALL)
ORDER = ("delay_line_here", "netem_here", "netem_vm", "delay_line_vm")  # files of `bench.fidelity`, as they are shown
GOAL, GOAL_S = 0.03, 0.0005  # of the closed form, or at least so long


@dataclass(frozen=True)
class Cell:
    """A message of a size over a link of a shape; `error_s` is the median's, None where a message never arrived."""

    transport: str
    rate_bps: float
    delay_s: float
    size_bytes: int
    expected_s: float
    error_s: float | None
    times: int

    @property
    def met(self) -> bool:
        """Within the goal."""
        return self.error_s is not None and abs(self.error_s) <= goal_s(self.expected_s)


@dataclass(frozen=True)
class Measured:
    """What one shaper did in one place."""

    name: str
    shaper: str
    kernel: str
    cells: tuple[Cell, ...]
    chances: tuple[dict[str, Any], ...]

    @property
    def title(self) -> str:
        """Shaper and place, in words."""
        return f"{self.shaper} in {self.kernel}" if self.name.endswith("_vm") else f"{self.shaper} on {self.kernel}"


def goal_s(expected_s: float) -> float:
    """The largest error that meets the goal."""
    return max(GOAL * expected_s, GOAL_S)


def load(path: Path) -> Measured:
    """A file of `bench.fidelity`."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return Measured(
        path.stem,
        content["shaper"],
        content["kernel"],
        tuple(_cell(cell) for cell in content["times"]),
        tuple(content["chances"]),
    )


def _cell(cell: dict[str, Any]) -> Cell:
    found = cell["found_s"]
    return Cell(
        transport=cell["transport"],
        rate_bps=cell["rate_bps"],
        delay_s=cell["delay_s"],
        size_bytes=cell["size_bytes"],
        expected_s=cell["expected_s"],
        error_s=None if None in found else median(found) - cell["expected_s"],
        times=len(found),
    )


def summary(measured: Sequence[Measured]) -> str:
    """A line for each: how many cells meet the goal, the median of the errors and the worst, by what the goal is."""
    rows = ["| | within the goal | median error | worst, as a share of the goal |", "| --- | ---: | ---: | --- |"]
    for each in measured:
        known = [(cell, cell.error_s) for cell in each.cells if cell.error_s is not None]
        worst, error_s = max(known, key=lambda pair: abs(pair[1]) / goal_s(pair[0].expected_s))
        share = abs(error_s) / goal_s(worst.expected_s)
        met = sum(cell.met for cell in each.cells)
        rows.append(
            f"| {each.title} | {met} of {len(each.cells)} | {median(error for _, error in known) * 1e3:+.2f} ms |"
            f" {share * 100:.0f} %: {error_s * 1e3:+.2f} ms, {_size(worst.size_bytes)} in {_time(worst.expected_s)} |"
        )
    return "\n".join(rows)


def tables(measured: Measured) -> str:
    """Errors by rate, delay and size, and the figures of chance."""
    by_place: dict[tuple[float, float], dict[str, Cell]] = {}
    for cell in measured.cells:
        kind = _size(cell.size_bytes) + (" by TCP" if cell.transport == "tcp" else "")
        by_place.setdefault((cell.rate_bps, cell.delay_s), {})[kind] = cell
    kinds = list(dict.fromkeys(kind for cells in by_place.values() for kind in cells))
    rows = [f"| rate | delay | {' | '.join(kinds)} |", f"| ---: | ---: |{' ---: |' * len(kinds)}"]
    for (rate_bps, delay_s), cells in sorted(by_place.items()):
        errors = [_error(cells[kind]) if kind in cells else "" for kind in kinds]
        rows.append(f"| {rate_bps / 1e6:g} Mbit/s | {delay_s * 1e3:g} ms | {' | '.join(errors)} |")
    chances = ["| link | | asked | found | 95 % sampling interval |", "| --- | --- | ---: | ---: | ---: |"]
    for chance in measured.chances:
        unit, width = chance["unit"], chance["half_width"]
        chances.append(
            f"| {chance['link']} | {chance['figure']} | {chance['asked']:.3g} {unit} | {chance['found']:.3g} {unit} |"
            f" ± {width:.2g} {unit} |"
        )
    return "\n".join([*rows, "", *chances])


def _error(cell: Cell) -> str:
    """The error as a share where it is long enough for that, else in milliseconds; bold outside the goal."""
    if cell.error_s is None:
        return "**incomplete**"
    in_ms = GOAL * cell.expected_s < GOAL_S
    text = f"{cell.error_s * 1e3:+.2f} ms" if in_ms else f"{cell.error_s / cell.expected_s * 100:+.2f} %"
    return text if cell.met else f"**{text}**"


def _size(size_bytes: int) -> str:
    for unit, name in ((1_000_000, "MB"), (1000, "kB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:g} {name}"
    return f"{size_bytes} B"


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def main(arguments: Sequence[str]) -> int:
    """Fill in the page and draw its figure; returns the exit code."""
    from analysis.figures import save
    from analysis.figures.fidelity import errors

    folder, docs = map(Path, arguments)
    measured = {name: load(folder / f"{name}.json") for name in ORDER if (folder / f"{name}.json").is_file()}
    page = docs / "fidelity.md"

    def block(match: re.Match[str]) -> str:
        if match[2] == "summary":
            return f"{match[1]}\n{summary(list(measured.values()))}\n\n{match[3]}"
        return f"{match[1]}\n{tables(measured[match[2]])}\n\n{match[3]}" if match[2] in measured else match[0]

    page.write_text(BLOCK.sub(block, page.read_text(encoding="utf-8")), encoding="utf-8")
    about = "How far messages were from the closed form, by shaper"
    save(errors(list(measured.values())), docs / "images" / "fidelity.svg", about)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
