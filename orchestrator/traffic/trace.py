"""Traces of traffic: what was sent when. Lines `time bytes` or CSV `time,bytes`, times in seconds that never fall.

`time` counts from the beginning of the flow; `bytes` are those of an IP packet, headers included, or of several that
left together. Empty lines and those that begin with # are passed over, as is a first line of words.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from pathlib import Path

from orchestrator.errors import Problem, ScenarioError
from orchestrator.named_files import read_named, read_text, sha256_of

MOST_ROWS = 1_000_000
MOST_ROW_BYTES = 64 << 20
Row = tuple[float, int]


@dataclass(frozen=True)
class TrafficTrace:
    """A trace on disk: `sha256` is that of the file, so a changed one is noticed; `mean_bps` of its whole length."""

    path: str
    sha256: str
    mean_bps: float


def find_traffic(written: str, folder: Path) -> TrafficTrace:
    """Read a trace; a relative path starts at `folder`. ValueError says what is wrong, and where."""
    path, sha256, rows = read_named(written, folder, read_rows)
    lasts_s = rows[-1][0]
    total_bits = 8 * sum(size_bytes for _, size_bytes in rows)
    return TrafficTrace(path, sha256, total_bits / lasts_s if lasts_s > 0 else 0.0)


def read_rows(text: str) -> tuple[Row, ...]:
    """(seconds, bytes) of each line."""
    rows: list[Row] = []
    for number, line in enumerate(text.splitlines(), 1):
        cells = line.replace(",", " ").split()
        if not cells or cells[0].startswith("#"):
            continue
        try:
            at_s, size_bytes = (float(cell) for cell in cells)
        except ValueError:
            if not rows and not any(character.isdigit() for character in cells[0]):
                continue  # the names of the columns
            raise ValueError(f"line {number}: must be time and bytes (found {line.strip()[:60]!r})") from None
        if not (isfinite(at_s) and at_s >= (rows[-1][0] if rows else 0.0)):
            raise ValueError(f"line {number}: times must not fall (found {cells[0]})")
        if not (0 < size_bytes <= MOST_ROW_BYTES and size_bytes.is_integer()):
            raise ValueError(f"line {number}: bytes must be a whole number up to {MOST_ROW_BYTES} (found {cells[1]})")
        rows.append((at_s, int(size_bytes)))
        if len(rows) > MOST_ROWS:
            raise ValueError(f"more than {MOST_ROWS} lines")
    if not rows:
        raise ValueError("no line of time and bytes")
    return tuple(rows)


@lru_cache(maxsize=8)
def load(trace: TrafficTrace) -> tuple[Row, ...]:
    """The rows of a trace that was planned with; ScenarioError where the file is another one now."""
    text = read_text(trace.path, Path(trace.path))
    if sha256_of(text) != trace.sha256:
        raise ScenarioError((Problem(trace.path, 1, 1, "", "this trace has changed since the run was planned"),))
    return read_rows(text)
