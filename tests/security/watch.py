"""Watching code at work that must have no side effects: what it opens, how long it is busy, what memory it keeps."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

MIB = 2**20
_seen: set[str] | None = None  # what the one audit hook of this process writes to; a hook can't be taken away again
_watched_thread = 0
_is_hooked = False


def _note(event: str, _arguments: tuple[Any, ...]) -> None:
    if _seen is not None and threading.get_ident() == _watched_thread:
        _seen.add(event)


@contextmanager
def audited() -> Iterator[set[str]]:
    """The audit events of this thread in the block: files, sockets, processes, imports, code - whatever Python reports.

    Python's own documentation has the table of them (sys.addaudithook).
    """
    global _seen, _watched_thread, _is_hooked
    if not _is_hooked:
        sys.addaudithook(_note)
        _is_hooked = True
    events: set[str] = set()
    _seen, _watched_thread = events, threading.get_ident()
    try:
        yield events
    finally:
        _seen = None


class StuckError(Exception):
    """Something was busy for longer than it may be."""


@contextmanager
def busy_at_most(cpu_s: float) -> Iterator[None]:
    """StuckError in the block once it has used so much of the processor: a busy machine makes no difference."""

    def stuck(_number: int, _frame: FrameType | None) -> None:
        raise StuckError(f"busy for more than {cpu_s:g} s")

    before = signal.signal(signal.SIGVTALRM, stuck)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def resident_bytes() -> int:
    """Memory of this process that is in RAM now."""
    return _status_bytes("VmRSS")


def largest_bytes() -> int:
    """The most that it was; unlike getrusage's figure not of the process that started this one, if that was larger."""
    return _status_bytes("VmHWM")


def _status_bytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {name}")
