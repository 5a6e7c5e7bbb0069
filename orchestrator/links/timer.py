"""A timer finer than a millisecond: timerfd, which Python 3.11 has no name for. Linux alone."""

import ctypes
import os

from node_image.kernel import check, libc

CLOCK_MONOTONIC = 1
TFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
TFD_TIMER_ABSTIME = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Timer:
    """A timerfd on the monotonic clock (that of time.monotonic): readable once its time has come.

    Its instants are those of a run whose seconds last `slow_down` real ones.
    """

    def __init__(self, slow_down: float = 1.0) -> None:
        self._slow_down = slow_down
        self.fd = check(libc.timerfd_create(CLOCK_MONOTONIC, TFD_FLAGS), "timerfd_create")
        self._spec = _Itimerspec()
        self._value = self._spec.value
        self._pointer = ctypes.byref(self._spec)
        self._settime = libc.timerfd_settime

    def set(self, at_s: float) -> None:
        """Become readable at this time instead of any other; 0 is never."""
        at_s *= self._slow_down
        seconds = int(at_s)
        self._value.seconds = seconds
        self._value.nanoseconds = int((at_s - seconds) * 1e9)
        if self._settime(self.fd, TFD_TIMER_ABSTIME, self._pointer, None) < 0:
            check(-1, "timerfd_settime")

    def close(self) -> None:
        """Close it."""
        os.close(self.fd)
