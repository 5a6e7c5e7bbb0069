"""One life of a simulated node, as a process has it: it runs, is frozen, is slowed, and uses the processor."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")
DONE_S = 1e-9  # of work left: what rounding leaves of a charge


class Life:
    """Freezing takes effect where the node next waits; work that is being charged stops at once and goes on later."""

    __slots__ = ("_changed", "_deferred", "_loop", "_thawed", "busy_s", "ended", "factor", "frozen", "throttled_s")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._deferred: list[Callable[[], object]] = []
        self._thawed: asyncio.Future[None] | None = None
        self._changed: asyncio.Future[None] | None = None  # set when the speed changes under a charge
        self.frozen = self.ended = False
        self.factor = 1.0  # of its ordinary speed
        self.busy_s = 0.0  # time it kept the processor
        self.throttled_s = 0.0  # part of that which it would not have needed at its ordinary speed

    def run(self, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call now; once it is thawed, if it is frozen; never, if it has ended."""
        if self.frozen:
            self._deferred.append(lambda: call(*args, **kwargs))
        elif not self.ended:
            call(*args, **kwargs)

    async def awake(self) -> None:
        """Wait while the node is frozen. To be awaited after every wait that the node makes."""
        while self.frozen:
            if self._thawed is None:
                self._thawed = self._loop.create_future()
            await asyncio.shield(self._thawed)

    async def charge(self, seconds: float) -> None:
        """Keep the processor for work that takes so long at the ordinary speed."""
        left_s = seconds
        while left_s > DONE_S:
            self._changed = changed = self._loop.create_future()
            speed = 0.0 if self.frozen else self.factor
            timer = self._loop.call_later(left_s / speed, _set, changed) if speed else None
            began_s = self._loop.time()
            try:
                await changed
            finally:
                if timer is not None:
                    timer.cancel()
                    passed_s = self._loop.time() - began_s
                    left_s -= passed_s * speed
                    self.busy_s += passed_s
                    self.throttled_s += passed_s * (1.0 - speed)

    def freeze(self) -> None:
        """Stop it where it is."""
        self.frozen = True
        self._speed_changed()

    def thaw(self) -> None:
        """Let it go on: first what came in meanwhile, in order."""
        self.frozen = False
        self._speed_changed()
        deferred, self._deferred = self._deferred, []
        for call in deferred:
            self.run(call)
        if self._thawed is not None:
            _set(self._thawed)
            self._thawed = None

    def slow(self, factor: float) -> None:
        """Give it this share of its ordinary speed (0-1]."""
        self.factor = factor
        self._speed_changed()

    def end(self) -> None:
        """Nothing of it runs any more."""
        self.ended, self.frozen = True, False
        self._deferred.clear()

    def _speed_changed(self) -> None:
        if self._changed is not None:
            _set(self._changed)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
