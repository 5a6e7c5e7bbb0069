"""One life of a simulated node, as a process has it: it runs, is frozen, is slowed, and uses the processor."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, TypeVarTuple

from orchestrator.simulation.virtual_time import VirtualTimeLoop

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
DONE_S = 1e-9  # of work left: what rounding leaves of a charge
# What a node's own software takes for a message that it sends or receives: packing or decoding, authentication, system
# calls, records, and the algorithm's few lines around it. It runs at the host's speed, in one thread a node, whatever
# the device. Measured on two cores of a server: 0.2 ms where nothing else runs, 0.4 to 0.7 ms between ten nodes.
HANDLING_S = 0.5e-3
HANDLING_S_PER_BYTE = 1.8e-9


@dataclass(slots=True)
class Pile:
    """Messages that came up at one instant, each with what follows once all are dealt with."""

    came_s: float
    ready_s: float
    calls: list[tuple[Callable[[Any], object], Any]] = field(default_factory=list)


class Life:
    """Freezing takes effect where the node next waits; work that is being charged stops at once and goes on later."""

    __slots__ = ("_changed", "_deferred", "_left_s", "_loop", "_pile", "_since_s", "_speed", "_thawed", "busy_s",
                 "ended", "factor", "frozen", "throttled_s")  # fmt: skip

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop
        self._deferred: list[Callable[[], object]] = []
        self._thawed: asyncio.Future[None] | None = None
        self._changed: asyncio.Future[None] | None = None  # set when the speed changes under a charge
        self.frozen = self.ended = False
        self.factor = 1.0  # of its ordinary speed
        self._speed = 1.0  # the same, but 0 while frozen
        self._left_s = 0.0  # of the work under way
        self._pile = Pile(-1.0, 0.0)  # the newest
        self._since_s: float | None = None  # up to when that is accounted for; None: there is none
        self.busy_s = 0.0  # time it kept the processor
        self.throttled_s = 0.0  # part of that which it would not have needed at its ordinary speed

    def run(self, call: Callable[[*Ts], object], *args: *Ts) -> None:
        """Call now; once it is thawed, if it is frozen; never, if it has ended."""
        if self.frozen:
            self._deferred.append(lambda: call(*args))
        elif not self.ended:
            call(*args)

    def handle(self, size_bytes: int, call: Callable[[T], object], argument: T) -> None:
        """Deal with a message that is sent or has arrived now, and then call.

        Messages that came up before come first. Those of one instant are ready together, as an event loop goes over
        all that is ready once for each stage: it packs all, then sends all; it reads all, then decodes all.
        """
        now_s, pile = self._loop.now, self._pile
        if pile.came_s != now_s:
            self._pile = pile = Pile(now_s, max(pile.ready_s, now_s))
        pile.ready_s += HANDLING_S + size_bytes * HANDLING_S_PER_BYTE
        pile.calls.append((call, argument))
        if len(pile.calls) == 1:
            self._loop.schedule(pile.ready_s, self._handled, pile)

    def _handled(self, pile: Pile) -> None:
        if pile.ready_s > self._loop.now:  # it has grown
            self._loop.schedule(pile.ready_s, self._handled, pile)
            return
        calls, pile.calls = pile.calls, []  # the newest pile is kept, its messages are not
        for call, argument in calls:
            self.run(call, argument)

    async def awake(self) -> None:
        """Wait while the node is frozen. To be awaited after every wait that the node makes."""
        while self.frozen:
            if self._thawed is None:
                self._thawed = self._loop.create_future()
            await asyncio.shield(self._thawed)

    async def charge(self, seconds: float) -> None:
        """Keep the processor for work that takes so long at the ordinary speed. One piece of work at a time."""
        self._left_s = seconds
        try:
            while self._left_s > DONE_S:
                self._changed = changed = self._loop.create_future()
                self._since_s = self._loop.now
                speed = self._speed
                timer = self._loop.schedule(self._since_s + self._left_s / speed, _set, changed) if speed else None
                try:
                    await changed
                finally:
                    if timer is not None:
                        self._loop.cancel(timer)
                    self.account()
        finally:
            self._since_s = None

    def account(self) -> None:
        """Bring `busy_s` and `throttled_s` up to now."""
        if self._since_s is None:
            return
        passed_s = self._loop.now - self._since_s
        self._since_s += passed_s
        if self._speed:
            self._left_s -= passed_s * self._speed
            self.busy_s += passed_s
            self.throttled_s += passed_s * (1.0 - self._speed)

    def freeze(self) -> None:
        """Stop it where it is."""
        self.frozen = True
        self._set_speed(0.0)

    def thaw(self) -> None:
        """Let it go on: first what came in meanwhile, in order."""
        self.frozen = False
        self._set_speed(self.factor)
        deferred, self._deferred = self._deferred, []
        for call in deferred:
            self.run(call)
        if self._thawed is not None:
            _set(self._thawed)
            self._thawed = None

    def slow(self, factor: float) -> None:
        """Give it this share of its ordinary speed (0-1]."""
        self.factor = factor
        if not self.frozen:
            self._set_speed(factor)

    def end(self) -> None:
        """Nothing of it runs any more."""
        self.account()
        self.ended, self.frozen = True, False
        self._deferred.clear()

    def _set_speed(self, speed: float) -> None:
        self.account()
        self._speed = speed
        if self._changed is not None:
            _set(self._changed)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
