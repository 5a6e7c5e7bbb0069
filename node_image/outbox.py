"""Outbox: what waits to go to one peer. Bounded in bytes; the oldest gives way, since a newer model replaces it."""

import asyncio
from collections import deque
from dataclasses import dataclass

LIMIT_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Outgoing:
    """A packed frame that waits for its MAC, and the kind of its message."""

    kind: str
    frame: bytearray


class Outbox:
    """First in, first out. Holds at most `limit_bytes`, or two frames where two are larger than that."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._waiting: deque[Outgoing] = deque()
        self._held_bytes = 0
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, outgoing: Outgoing) -> int:
        """Append a frame; the number of older ones dropped to make room."""
        self._waiting.append(outgoing)
        self._held_bytes += len(outgoing.frame)
        dropped = 0
        while self._held_bytes > self._limit_bytes and len(self._waiting) > 2:
            self._take()
            dropped += 1
        self._filled.set()
        return dropped

    async def get(self) -> Outgoing:
        """The oldest frame, as soon as there is one. One caller at a time."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        return self._take()

    def put_back(self, outgoing: Outgoing) -> None:
        """Return what `get` gave: it is the oldest again."""
        self._waiting.appendleft(outgoing)
        self._held_bytes += len(outgoing.frame)
        self._filled.set()

    def _take(self) -> Outgoing:
        outgoing = self._waiting.popleft()
        self._held_bytes -= len(outgoing.frame)
        return outgoing
