"""Traces: how many bytes a recorded link could have sent by when. They loop for ever and are read once.

Two formats. mahimahi's: one integer a line, the millisecond at which one packet of 1500 bytes may leave; repeated
lines are several chances, the last line is also the length of the loop. CSV: `seconds, Mbit/s` a line, each rate
holding until the next line; the last holds as long as the one before it. Either may be gzipped.

A trace is a rising curve, bytes against seconds since the trace began. A link keeps its own place on that curve, in
bytes: capacity that passes while nothing waits is wasted, a packet's rest is carried over to the next chance.
"""

import gzip
import hashlib
import io
import math
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from orchestrator.errors import Problem, ScenarioError
from orchestrator.links.shape import TraceRef

CHANCE_BYTES = 1500  # what one delivery opportunity carries (mahimahi's packet)
INSTANT_S = 1e-9  # nearer than that is the same instant: sums of floats do not meet exactly
LARGEST_BYTES = 256 << 20  # a text larger than this is refused: a mistake, or a gzip bomb


class Trace(Protocol):
    """A rising curve of capacity. Times in seconds since the trace began, places in bytes along it."""

    period_s: float
    mean_bps: float

    def place(self, time_s: float) -> float:
        """How many bytes had gone or been wasted just before this time."""

    def reach(self, place_bytes: float) -> float:
        """The earliest time at which so many bytes have gone."""


def finish(trace: Trace, start_s: float, size_bytes: float) -> float:
    """When a packet is through that finds the link idle at `start_s`."""
    return trace.reach(trace.place(start_s) + size_bytes)


class DeliveryTrace:
    """Chances to send 1500 bytes, at given instants; a chance that finds nothing waiting is wasted."""

    def __init__(self, chances_s: Sequence[float]) -> None:
        self._chances_s = chances_s
        self.period_s = chances_s[-1]
        self.mean_bps = len(chances_s) * CHANCE_BYTES * 8 / self.period_s

    def place(self, time_s: float) -> float:
        """Bytes of all chances before this time: one at this very instant can still be used."""
        passed_s = time_s - INSTANT_S
        if passed_s <= 0.0:
            return 0.0
        loops, rest_s = _within(passed_s, self.period_s)
        return float((loops * len(self._chances_s) + bisect_left(self._chances_s, rest_s)) * CHANCE_BYTES)

    def reach(self, place_bytes: float) -> float:
        """The instant of the chance that carries the last of these bytes."""
        chance = max(0, math.ceil(place_bytes / CHANCE_BYTES) - 1)
        loops, index = divmod(chance, len(self._chances_s))
        return loops * self.period_s + self._chances_s[index]


class RateTrace:
    """A rate that is constant from each row to the next."""

    def __init__(self, rows: list[tuple[float, float]]) -> None:
        """Rows are (seconds, bit/s), seconds rising; the trace begins at the first row."""
        last_s = rows[-1][0] - rows[-2][0] if len(rows) > 1 else 1.0
        self._starts_s = array("d", (at_s - rows[0][0] for at_s, _ in rows))
        self._bytes_per_s = array("d", (rate_bps / 8 for _, rate_bps in rows))
        self.period_s = self._starts_s[-1] + last_s
        spans_s = [after - before for before, after in pairwise([*self._starts_s, self.period_s])]
        self._ends_bytes = array("d")
        total = 0.0
        for span_s, rate in zip(spans_s, self._bytes_per_s, strict=True):
            total += span_s * rate
            self._ends_bytes.append(total)
        self.mean_bps = total * 8 / self.period_s

    def place(self, time_s: float) -> float:
        """Bytes that could have gone by this time."""
        if time_s <= 0.0:
            return 0.0
        loops, rest_s = _within(time_s, self.period_s)
        row = bisect_left(self._starts_s, rest_s) - 1
        before = self._ends_bytes[row - 1] if row else 0.0
        return loops * self._ends_bytes[-1] + before + (rest_s - self._starts_s[row]) * self._bytes_per_s[row]

    def reach(self, place_bytes: float) -> float:
        """The time at which the last of these bytes is through; rows of rate 0 are waited out."""
        if place_bytes <= 0.0:
            return 0.0
        total = self._ends_bytes[-1]
        loops, rest_bytes = _within(place_bytes, total)
        rest_bytes = min(rest_bytes, total)  # a rounding error must not look for a row after the last
        row = bisect_left(self._ends_bytes, rest_bytes)
        before = self._ends_bytes[row - 1] if row else 0.0
        return loops * self.period_s + self._starts_s[row] + (rest_bytes - before) / self._bytes_per_s[row]


def _within(value: float, period: float) -> tuple[int, float]:
    """Whole loops before `value` and the rest, which lies in (0, period]: an end belongs to the loop that it ends."""
    loops = max(0, math.ceil(value / period) - 1)
    return loops, value - loops * period


@lru_cache(maxsize=256)
def load_trace(ref: TraceRef) -> Trace:
    """Read a trace file. Raises ScenarioError naming file:line; also when the file is not the one that was planned."""
    path = Path(ref.path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise _bad(path, 1, f"cannot read the trace: {error.strerror}") from error
    if ref.sha256 and hashlib.sha256(raw).hexdigest() != ref.sha256:
        raise _bad(path, 1, "the trace has changed since the plan was made (its sha256 differs); plan again")
    lines = list(_lines(path, raw))
    return parse_mahimahi(ref.path, lines) if ref.format == "mahimahi" else parse_csv(ref.path, lines)


def _lines(path: Path, raw: bytes) -> Iterator[str]:
    try:
        if raw[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
                raw = file.read(LARGEST_BYTES + 1)
        if len(raw) > LARGEST_BYTES:
            raise _bad(path, 1, f"the trace is larger than {LARGEST_BYTES >> 20} MB of text")
        yield from raw.decode("ascii").splitlines()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise _bad(path, 1, f"the trace is not text (nor gzipped text): {error}") from error


def parse_mahimahi(name: str, lines: list[str]) -> DeliveryTrace:
    """Packet-delivery chances from lines of whole milliseconds that never fall."""
    chances_s = array("d")
    before = 0
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        if not text.isdecimal() or len(text) > 15:
            raise _bad(name, number, f"expected a whole number of milliseconds (found {text[:40]!r})")
        at_ms = int(text)
        if at_ms < before:
            raise _bad(name, number, f"times must not fall (found {at_ms} after {before})")
        chances_s.append(at_ms / 1000)
        before = at_ms
    if before == 0:
        raise _bad(name, max(1, len(lines)), "a trace must last longer than 0 ms (its last line is its length)")
    return DeliveryTrace(chances_s)


def parse_csv(name: str, lines: list[str]) -> RateTrace:
    """Rates from lines `seconds, Mbit/s` with rising seconds; a heading and lines that start with # are skipped."""
    rows: list[tuple[float, float]] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#") or (number == 1 and text[0].isalpha()):
            continue
        cells = text.split(",")
        try:
            at_s, mbit = (float(cell) for cell in cells)
        except ValueError:
            raise _bad(name, number, f"expected `seconds, Mbit/s` (found {text[:40]!r})") from None
        if not (math.isfinite(at_s) and math.isfinite(mbit) and mbit >= 0):
            raise _bad(name, number, f"a time must be finite and a rate not below 0 (found {text[:40]!r})")
        if rows and at_s <= rows[-1][0]:
            raise _bad(name, number, f"seconds must rise (found {at_s:g} after {rows[-1][0]:g})")
        rows.append((at_s, mbit * 1e6))
    if not any(rate for _, rate in rows):
        raise _bad(name, max(1, len(lines)), "a trace must have a rate above 0 somewhere")
    return RateTrace(rows)


def _bad(file: str | Path, line: int, text: str) -> ScenarioError:
    return ScenarioError((Problem(str(file), line, 1, "", text),))
