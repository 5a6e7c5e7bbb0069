"""Recorder: a node's records and events as JSON lines on a pipe, in order, without ever making the node wait."""

import json
import math
import os
import select
import threading
from collections.abc import Mapping
from typing import Any

from node_image.outage import Outage
from node_image.records import METRICS, Record

FLUSH_S = 0.2
LIMIT_BYTES = 8 * 2**20
CLOSE_DEADLINE_S = 2.0


class NotFiniteError(ValueError):
    """A measured value is NaN or infinite: the learning diverged, and what follows would mean nothing."""


def measured(t: float, metric: str, value: float, labels: Mapping[str, str]) -> Record:
    """A record, checked: ValueError for a metric that `records.METRICS` does not name, NotFiniteError for NaN."""
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}: name it in node_image/records.py")
    if not math.isfinite(value):
        raise NotFiniteError(f"{metric} is {value} at {t:.3f} s: learning diverged; a lower learning rate may help")
    return Record(t, metric, float(value), labels)


class Recorder:
    """Lines go to a thread that writes them to the descriptor: records within 0.2 s, events at once.

    Where the reader is slow, lines wait in memory up to a limit; beyond it records are lost, and an event
    `records_lost` says how many as soon as there is room. Events are never dropped.
    """

    def __init__(self, fd: int, limit_bytes: int = LIMIT_BYTES) -> None:
        self._fd = fd
        self._limit_bytes = limit_bytes
        self._lines: list[bytes] = []
        self._held_bytes = 0
        self._lost = 0
        self._outage: Outage[bytes] | None = None  # while a fault cuts the way of the records
        self._closing = False
        self._lock = threading.Lock()
        self._filled = threading.Event()  # there is something to write
        self._urgent = threading.Event()  # and it should not wait for more
        # A daemon: a reader that never reads must not keep the process from ending.
        self._thread = threading.Thread(target=self._write_all, name="recorder", daemon=True)
        self._thread.start()

    def record(self, record: Record) -> None:
        """Append a record; dropped and counted where the buffer is full."""
        line = record.to_line().encode() + b"\n"
        with self._lock:
            if self._outage is not None:
                self._outage.take(line, len(line))
                return
            if self._held_bytes + len(line) > self._limit_bytes:
                self._lost += 1
                return
            self._append(line)

    def event(self, facts: Mapping[str, Any]) -> None:
        """Append an event or an answer, and have everything up to it written at once."""
        with self._lock:
            self._append(json.dumps(facts, separators=(",", ":")).encode() + b"\n")
        self._urgent.set()

    def cut(self, keep: bool) -> None:
        """From now on no record leaves, events do. An outage that there is goes on."""
        with self._lock:
            self._outage = self._outage or Outage(keep, self._limit_bytes)
            self._outage.keep = keep

    def release(self) -> tuple[int, int]:
        """Records leave again, those that waited first; how many those are, and how many were lost."""
        with self._lock:
            outage, self._outage = self._outage, None
            for line in outage.late if outage is not None else ():
                self._append(line)
        return (len(outage.late), outage.lost) if outage is not None else (0, 0)

    def close(self) -> bool:
        """Write what is left; False where the reader did not take it within a short deadline."""
        self.release()
        self._closing = True
        self._filled.set()
        self._urgent.set()
        self._thread.join(CLOSE_DEADLINE_S)
        return not self._thread.is_alive()

    def _append(self, line: bytes) -> None:
        self._lines.append(line)
        self._held_bytes += len(line)
        self._filled.set()

    def _write_all(self) -> None:
        try:
            while True:
                self._filled.wait()
                self._urgent.wait(FLUSH_S)
                self._filled.clear()
                self._urgent.clear()
                last = self._closing  # read before the lines, so that none can slip in between
                with self._lock:
                    lines, self._lines, self._held_bytes = self._lines, [], 0
                    lost, self._lost = self._lost, 0
                if lost:
                    lines.append(json.dumps({"event": "records_lost", "count": lost}).encode() + b"\n")
                self._write(b"".join(lines))
                if last:
                    return
        except OSError:
            return  # the reader is gone, and the node learns of it from its stdin

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._fd, left) :]
            except BlockingIOError:  # a descriptor that shares its flags with a non-blocking stdin, as a socket does
                select.select([], [self._fd], [])
