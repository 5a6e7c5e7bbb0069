"""The inbox of a simulated node: that of a real one, with a wait that costs a simulation little."""

from math import inf

from node_image.inbox import Inbox
from node_image.runtime import Message
from orchestrator.simulation.virtual_time import VirtualTimeLoop


class VirtualInbox(Inbox):
    """Bounds and order are inherited; only the wait differs, which `asyncio.timeout` makes ten times dearer.

    Waits that are given up are rare: all share one alarm, which is set anew when it has rung too early.
    """

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop
        self._alarm_s = inf

    async def get(self, within: float | None) -> Message | None:
        """The oldest message; None where none came within so many seconds (None: wait for ever)."""
        if not self._waiting:
            if within is None or within > 0.0:
                await self._wait(inf if within is None else self._loop.now + within)
            if not self._waiting:
                return None
        message = self._waiting.popleft()
        self._account(message, -1)
        return message

    async def _wait(self, until_s: float) -> None:
        while not self._waiting and self._loop.now < until_s:
            self._arrived.clear()
            if until_s < self._alarm_s:
                self._alarm_s = until_s
                self._loop.schedule(until_s, VirtualInbox._ring, self)
            await self._arrived.wait()

    def _ring(self) -> None:
        if self._loop.now >= self._alarm_s:
            self._alarm_s = inf
            self._arrived.set()
