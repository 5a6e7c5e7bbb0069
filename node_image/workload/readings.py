"""What programs say of themselves, as records: numbers found in their lines, or in a file of JSON lines.

Metrics of `records.METRICS` that a program may fill go by their own names; those that a scenario declares go by the
metric of their kind (`program_value`...), with their name as a label.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from node_image.records import Record
from node_image.workload.spec import Pattern

KINDS = {"counter": "program_count", "gauge": "program_value", "sample": "program_sample"}
# What a program may say in Edgebed's own words; all else that it measures is declared by the scenario.
OWN_WORDS = ("round", "round_s", "samples_seen", "test_accuracy", "test_loss", "train_loss")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Readings:
    """Turns lines into records. `declared`: the kind of each metric that the scenario declares, by its name."""

    def __init__(self, declared: Mapping[str, str], now: Callable[[], float], record: Callable[[Record], None]) -> None:
        self._declared = declared
        self._now = now
        self._record = record

    def matching(self, patterns: Sequence[Pattern]) -> Callable[[str], None]:
        """What takes a program's lines, colours and all, and records what the patterns find in them."""
        compiled = [(re.compile(pattern.match), pattern.times) for pattern in patterns]

        def take(line: str) -> None:
            for expression, times in compiled:
                for found in expression.finditer(line):
                    for metric, text in found.groupdict().items():
                        if text is not None:
                            self._say(metric, text, times.get(metric, 1.0))

        return take

    def take_object(self, line: str) -> None:
        """A line of JSON: each key that is a metric with a number is a record; everything else is left alone."""
        try:
            found = json.loads(line)
        except ValueError:
            return
        if isinstance(found, dict):
            for metric, value in found.items():
                if (metric in self._declared or metric in OWN_WORDS) and type(value) in (int, float):
                    self._say(metric, value, 1.0)

    def _say(self, metric: str, found: str | float, times: float) -> None:
        try:
            value = float(found) * times
        except ValueError:
            return
        if not math.isfinite(value):
            return
        if metric in self._declared:
            self._record(Record(self._now(), KINDS[self._declared[metric]], value, {"name": metric}))
        else:
            labels = {"split": "global"} if metric.startswith("test_") else {}
            self._record(Record(self._now(), metric, value, labels))


def plain(line: str) -> str:
    """The line without what colours it on a terminal."""
    return _COLOURS.sub("", line)


class GrowingFile:
    """Lines of a file that a program appends to; it need not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._torn = b""

    def new_lines(self) -> Iterator[str]:
        """Whole lines since the last time; a file that has become shorter is read from its beginning."""
        try:
            with self._path.open("rb") as file:
                if self._path.stat().st_size < self._at:
                    self._at, self._torn = 0, b""
                file.seek(self._at)
                data = file.read()
        except FileNotFoundError:
            return
        self._at += len(data)
        *lines, self._torn = (self._torn + data).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace")
