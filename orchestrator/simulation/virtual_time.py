"""An asyncio event loop on a virtual clock: when nothing is ready, the clock jumps to the next timer.

`asyncio.sleep`, `timeout`, `TaskGroup`, `Queue` and all else that stands on futures and timers works unchanged.
What would leave the virtual clock (threads, sockets, subprocesses) is refused. When nothing is ready and no timer is
set, nothing can ever happen again: that is an error at once, naming the tasks that wait.

`BaseEventLoop` has one method that waits for the world, `_run_once`. It is replaced here; the names with an underscore
that it uses (`_ready`, `_stopping`, `_timer_handle_cancelled`) have been asyncio's since Python 3.4.
"""

import asyncio
import heapq
import signal
from asyncio.base_events import BaseEventLoop
from asyncio.events import Handle, TimerHandle
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import Context
from typing import Any, NoReturn, TypeVar, TypeVarTuple

from orchestrator.errors import RunBrokeError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
COMPACT_ABOVE = 100  # cancelled timers: the heap is rebuilt without them when they are so many, and more than half


class DeadlockError(RunBrokeError):
    """Every task waits for something that nothing can bring about."""


# Virtual time, sequence, call, its argument. A list, so that it can be cancelled: `call` is then None.
Step = list[Any]


class VirtualTimeLoop(BaseEventLoop):
    """Event loop whose `time()` is virtual. Timers set for the same instant run in the order they were set.

    `now` is `time()` without the call, to be read only.
    """

    _ready: deque[Handle]
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._timers: list[Step] = []
        self._sequence = 0
        self._cancelled = 0

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self.now

    def call_soon(self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> Handle:
        """Call back at this instant, after all that is ready; the checks of `BaseEventLoop` are left out."""
        handle = Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> TimerHandle:
        """Call back at virtual time `when`; among equal times, in the order of the calls of this method."""
        timer = TimerHandle(when, callback, args, self, context)
        timer._scheduled = True  # type: ignore[attr-defined]  # makes cancel() tell the loop, as in BaseEventLoop
        self.schedule(when, _fire, timer)
        return timer

    def schedule(self, when: float, call: Callable[[T], object], argument: T) -> Step:
        """As `call_at`, at a fifth of its price: no context is copied, and what it raises ends the loop.

        `cancel` takes what is returned.
        """
        self._sequence += 1
        step = [when, self._sequence, call, argument]
        heapq.heappush(self._timers, step)
        return step

    def scheduled(self) -> Iterator[Step]:
        """All that is to happen later, in no order."""
        return (step for step in self._timers if not _is_void(step))

    def cancel(self, step: Step) -> None:
        """Let a step not happen."""
        step[2] = None

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        self._cancelled += bool(handle._scheduled)  # type: ignore[attr-defined]  # see call_at
        if self._cancelled > COMPACT_ABOVE and self._cancelled * 2 > len(self._timers):
            self._timers = [step for step in self._timers if not _is_void(step)]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def _run_once(self) -> None:
        """Run all that is due at one instant."""
        timers, ready = self._timers, self._ready
        while timers and _is_void(timers[0]):
            self._cancelled -= heapq.heappop(timers)[2] is _fire
        if not ready and not self._stopping:
            if not timers:
                raise DeadlockError(_deadlock(self))
            if timers[0][0] > self.now:
                self.now = timers[0][0]
        now, due = self.now, []
        while timers and timers[0][0] <= now:
            due.append(heapq.heappop(timers))
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()
        for _, _, call, argument in due:
            if call is not None:
                call(argument)

    def _write_to_self(self) -> None:
        """Wakes the loop from signal handlers and other threads; this loop never sleeps."""

    def add_signal_handler(self, sig: int, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        """As on the ordinary loop: the callback runs in the loop, at the virtual time the signal finds."""
        signal.signal(sig, lambda *_: self.call_soon_threadsafe(callback, *args))

    def remove_signal_handler(self, sig: int) -> bool:
        """Back to the default; True if there was a handler."""
        default = signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL
        return signal.signal(sig, default) is not default

    def run_in_executor(self, *_: object, **__: object) -> NoReturn:
        """Refused: a thread does not wait for the virtual clock, so its results would come at any time."""
        raise RuntimeError(
            "a thread was asked for on the virtual clock (run_in_executor, to_thread or a name lookup): "
            "call the function directly, it takes no virtual time"
        )

    def _refuse_io(self, *_: object, **__: object) -> NoReturn:
        raise RuntimeError(
            "real input or output was asked for on the virtual clock (socket, pipe or subprocess): "
            "use the simulated network, or do it before or after the run"
        )

    add_reader = remove_reader = add_writer = remove_writer = _refuse_io
    sock_connect = sock_accept = sock_recv = sock_recv_into = sock_sendall = sock_sendfile = _refuse_io
    create_connection = create_server = create_datagram_endpoint = connect_accepted_socket = _refuse_io
    create_unix_connection = create_unix_server = connect_read_pipe = connect_write_pipe = _refuse_io
    subprocess_shell = subprocess_exec = getaddrinfo = getnameinfo = _refuse_io


def _fire(timer: TimerHandle) -> None:
    """What `call_at` has set comes about, unless it was cancelled."""
    timer._scheduled = False  # type: ignore[attr-defined]  # see call_at
    if not timer._cancelled:
        timer._run()


def _is_void(step: Step) -> bool:
    call = step[2]
    return call is None or (call is _fire and step[3]._cancelled)


def _deadlock(loop: asyncio.AbstractEventLoop) -> str:
    """What waits, by name, with the place each task waits at."""
    waiting = sorted(_where(task) for task in asyncio.all_tasks(loop))
    return f"deadlock at {loop.time():.6f} s: nothing is ready and no timer is set; waiting: " + "; ".join(waiting)


def _where(task: asyncio.Task[Any]) -> str:
    frame = _innermost(task)
    return f"{task.get_name()} at {frame}" if frame else task.get_name()


def _innermost(task: asyncio.Task[Any]) -> str:
    """File and line of the innermost coroutine that a task awaits; empty where it cannot be seen."""
    awaiting: Any = task.get_coro()
    place = ""
    while awaiting is not None:
        frame = getattr(awaiting, "cr_frame", None) or getattr(awaiting, "gi_frame", None)
        if frame is not None:
            place = f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno} ({frame.f_code.co_name})"
        awaiting = getattr(awaiting, "cr_await", None)
    return place
