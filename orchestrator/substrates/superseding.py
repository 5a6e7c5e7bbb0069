"""Processes of nodes of which others have taken the place, in the same namespace and control groups."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from orchestrator.errors import RunBrokeError
from orchestrator.plan import PlannedNode
from orchestrator.substrates.base import NodeLine
from orchestrator.substrates.placed import Placed
from orchestrator.substrates.processes import NodeProcess, Output
from orchestrator.substrates.superseded import attempts

WITHIN_S = 5.0
LOOK_S = 0.005


class Superseding:
    """Who lives on without being the node, at most one a node."""

    def __init__(self) -> None:
        self._old: dict[str, tuple[NodeProcess, Output]] = {}

    async def supersede(self, placed: Placed, after_s: float, start: Callable[[PlannedNode], Awaitable[None]]) -> str:
        """SIGSTOP its process, and so many real seconds later start another in its place."""
        name, old = placed.node.name, placed.process
        if old is None or not placed.lives or name in self._old:
            raise RunBrokeError(f"{name} has no process, or one too many: it cannot be superseded")
        placed.account()
        os.kill(old.pid, signal.SIGSTOP)
        await _stopped(old.pid)
        self._old[name] = old, old.divert()
        placed.process = None
        await asyncio.sleep(after_s)
        await start(placed.node)
        new = placed.process.pid if placed.process is not None else 0
        return f"{name}: pid {old.pid} stopped, pid {new} has taken its place"

    async def release(self, name: str) -> str:
        """Let the first process go on."""
        old, _ = self._old[name]
        os.kill(old.pid, signal.SIGCONT)
        return f"{name}: pid {old.pid} goes on, both live"

    async def end(self, name: str) -> str:
        """Kill the first process; what it tried, by its own records."""
        if name not in self._old:
            return f"{name}: has no superseded process"
        old, said = self._old.pop(name)
        if old.exited is not None and not old.exited.done():
            os.kill(old.pid, signal.SIGKILL)
        await old.ended(WITHIN_S)
        await old.close()
        items = [said.get_nowait() for _ in range(said.qsize())]
        return attempts(name, (item.line for item in items if isinstance(item, NodeLine)))

    async def end_all(self) -> None:
        """Leave none behind."""
        for name in list(self._old):
            await self.end(name)


async def _stopped(pid: int) -> None:
    """Wait until the kernel shows every thread of a process as stopped."""
    until = time.monotonic() + WITHIN_S
    while any(_state(stat) != "T" for stat in Path(f"/proc/{pid}/task").glob("*/stat")):
        if time.monotonic() > until:
            raise RunBrokeError(f"pid {pid} did not stop within {WITHIN_S:g} s of SIGSTOP")
        await asyncio.sleep(LOOK_S)


def _state(stat: Path) -> str:
    """The third field of a stat file; the second, a name in brackets, may hold anything."""
    return stat.read_text().rpartition(")")[2].split()[0]
