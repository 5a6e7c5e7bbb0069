"""The control groups of a container, which the engine made, through all the containers that a node lives in.

Limits and meters are files of the kernel, as for any node. Freezing and killing go through the engine: it knows which
of the kernel's two freezers its groups hang on. A group goes with its container; what it had used was seen shortly
before, and adds up.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from orchestrator.errors import RunBrokeError
from orchestrator.hosts.container import Engine, Running
from orchestrator.substrates.control_groups import Bounds, Mounts, bounds_of

T = TypeVar("T")


class ContainerGroup:
    """See `placed.Group`. `enter` begins the life of another container."""

    def __init__(self, engine: Engine, mounts: Mounts) -> None:
        self._engine = engine
        self._mounts = mounts
        self._running: Running | None = None
        self._bounds: Bounds | None = None
        self._before = (0.0, 0.0)  # CPU and throttled seconds of the lives before
        self._seen = (0.0, 0.0)  # of this one, when last looked at

    def enter(self, running: Running) -> None:
        """The node lives in this container from now on."""
        self._before = (self._before[0] + self._seen[0], self._before[1] + self._seen[1])
        self._seen = (0.0, 0.0)
        self._running = running
        self._bounds = None
        with suppress(OSError):  # it has ended already: its last words say why
            self._bounds = bounds_of(running.pid, self._mounts)

    def set_share(self, share: float | None) -> tuple[int, int] | None:
        """See Bounds; a container that has gone has no limit."""
        return self._look(lambda bounds: bounds.set_share(share), None)

    def cpu_s(self) -> float:
        """CPU seconds of all its lives."""
        self._seen = (self._look(Bounds.cpu_s, self._seen[0]), self._seen[1])
        return self._before[0] + self._seen[0]

    def throttled_s(self) -> float:
        """Seconds in which the share was used up, in all its lives."""
        self._seen = (self._seen[0], self._look(Bounds.throttled_s, self._seen[1]))
        return self._before[1] + self._seen[1]

    def memory_bytes(self) -> int:
        """Memory charged to it now, with the pages of the image that it read first."""
        return self._look(Bounds.memory_bytes, 0)

    def pids(self) -> tuple[int, ...]:
        """Its processes, as this machine numbers them."""
        return self._look(Bounds.pids, ())

    def oom_kills(self) -> int:
        """How many processes of this life the memory limit has killed; 0 of one that has gone."""
        return self._look(Bounds.oom_kills, 0)

    def set_memory(self, limit_bytes: int | None) -> int | None:
        """See Bounds."""
        return self._running_bounds().set_memory(limit_bytes)

    def memory_limit(self) -> int | None:
        """See Bounds."""
        return self._running_bounds().memory_limit()

    def memory_procs(self) -> str:
        """See Bounds."""
        return self._running_bounds().memory_procs()

    def set_pids(self, most: int | None) -> int | None:
        """See Bounds."""
        return self._running_bounds().set_pids(most)

    def pids_limit(self) -> int | None:
        """See Bounds."""
        return self._running_bounds().pids_limit()

    def pids_now(self) -> int:
        """See Bounds."""
        return self._look(Bounds.pids_now, 0)

    def pids_refused(self) -> int:
        """See Bounds; 0 of a life that has gone."""
        return self._look(Bounds.pids_refused, 0)

    async def freeze(self, frozen: bool) -> None:
        """Freeze or thaw; the engine returns when the kernel says that all have stopped (or go on)."""
        if self._running is not None:
            await (self._engine.pause if frozen else self._engine.resume)(self._running)

    async def kill(self) -> None:
        """Kill -9 all of it, frozen or not."""
        if self._running is not None:
            await asyncio.shield(self._engine.kill(self._running))

    def _running_bounds(self) -> Bounds:
        if self._bounds is None:
            raise RunBrokeError("a container that has ended has no limits")
        return self._bounds

    def _look(self, read: Callable[[Bounds], T], gone: T) -> T:
        if self._bounds is None:
            return gone
        try:
            return read(self._bounds)
        except OSError:
            return gone
