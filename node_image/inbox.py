"""Inbox: what came and was not read yet, in order of arrival; bounded for each sender, so that none floods a node."""

import asyncio
from collections import Counter, deque

from node_image.runtime import Message

LIMIT_BYTES = 8 * 2**20


class Inbox:
    """First in, first out. A sender has at most `limit_bytes` in it (or two messages); its oldest gives way."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._waiting: deque[Message] = deque()
        self._held_bytes: Counter[str] = Counter()
        self._held_messages: Counter[str] = Counter()
        self._arrived = asyncio.Event()

    def put(self, message: Message) -> int:
        """Append a message; the number of older ones of its sender dropped to make room."""
        self._waiting.append(message)
        self._account(message, 1)
        dropped = 0
        while self._held_bytes[message.sender] > self._limit_bytes and self._held_messages[message.sender] > 2:
            index = next(i for i, waiting in enumerate(self._waiting) if waiting.sender == message.sender)
            self._account(self._waiting[index], -1)
            del self._waiting[index]
            dropped += 1
        self._arrived.set()
        return dropped

    async def get(self, within: float | None) -> Message | None:
        """The oldest message; None where none came within so many seconds (None: wait for ever)."""
        try:
            async with asyncio.timeout(within):
                while not self._waiting:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return None
        message = self._waiting.popleft()
        self._account(message, -1)
        return message

    def _account(self, message: Message, sign: int) -> None:
        self._held_bytes[message.sender] += sign * message.payload_bytes
        self._held_messages[message.sender] += sign
