"""The inbox of a simulated node: that of a real one, with a wait that costs a simulation little."""

import asyncio

from node_image.inbox import Inbox
from node_image.runtime import Message


class VirtualInbox(Inbox):
    """Bounds and order are inherited; only the wait differs, which `asyncio.timeout` makes ten times dearer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop

    async def get(self, within: float | None) -> Message | None:
        """The oldest message; None where none came within so many seconds (None: wait for ever)."""
        if not self._waiting:
            if within is not None and within <= 0.0:
                await asyncio.sleep(0)
            else:
                await self._wait(within)
            if not self._waiting:
                return None
        message = self._waiting.popleft()
        self._account(message, -1)
        return message

    async def _wait(self, within: float | None) -> None:
        until_s = None if within is None else self._loop.time() + within
        timer = None if until_s is None else self._loop.call_at(until_s, self._arrived.set)
        try:
            while not self._waiting and (until_s is None or self._loop.time() < until_s):
                self._arrived.clear()
                await self._arrived.wait()
        finally:
            if timer is not None:
                timer.cancel()
