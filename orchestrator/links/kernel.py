"""The few calls of the kernel that Python 3.11 has no name for: setns, timerfd, and dying with one's parent.

Linux alone. Every function raises OSError with what the kernel said.
"""

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNET = 0x40000000
CLOCK_MONOTONIC = 1
TFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
TFD_TIMER_ABSTIME = 1
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def die_with_parent(parent: int) -> None:
    """Be killed when the thread that started this process ends; end at once if that has happened already."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(1)


@contextmanager
def inside_network_of(namespace: int) -> Iterator[None]:
    """Be in the network namespace of this open file within the block, for this thread alone, and back after it.

    A process that cannot come back ends: whatever it did next would happen in the wrong network.
    """
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(namespace, CLONE_NEWNET), "setns to a node's network namespace")
        try:
            yield
        finally:
            if _libc.setns(own, CLONE_NEWNET) < 0:
                os.abort()
    finally:
        os.close(own)


def network_of(pid: int) -> int:
    """Open the network namespace of a process; refuse our own, where devices would be the machine's."""
    path = Path(f"/proc/{pid}/ns/net")
    if path.stat().st_ino == Path("/proc/thread-self/ns/net").stat().st_ino:
        raise OSError(0, f"process {pid} is in the network namespace of the fabric itself, not in one of its own")
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


class Timer:
    """A timerfd on the monotonic clock (that of time.monotonic): readable once its time has come."""

    def __init__(self) -> None:
        self.fd = _check(_libc.timerfd_create(CLOCK_MONOTONIC, TFD_FLAGS), "timerfd_create")
        self._spec = _Itimerspec()
        self._value = self._spec.value
        self._pointer = ctypes.byref(self._spec)
        self._settime = _libc.timerfd_settime

    def set(self, at_s: float) -> None:
        """Become readable at this time instead of any other; 0 is never."""
        seconds = int(at_s)
        self._value.seconds = seconds
        self._value.nanoseconds = int((at_s - seconds) * 1e9)
        if self._settime(self.fd, TFD_TIMER_ABSTIME, self._pointer, None) < 0:
            _check(-1, "timerfd_settime")

    def close(self) -> None:
        """Close it."""
        os.close(self.fd)
