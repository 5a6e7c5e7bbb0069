"""The two ends of a connection as those who frame messages see them: asyncio's streams, or TLS over them (tls.py)."""

import asyncio
from typing import Any, Protocol


class Incoming(Protocol):
    """What bytes are read from."""

    async def readexactly(self, n: int, /) -> bytes:
        """So many bytes; asyncio.IncompleteReadError where the other side has ended before."""


class Outgoing(Protocol):
    """What bytes are written to."""

    @property
    def transport(self) -> asyncio.WriteTransport:
        """That of the socket."""

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        """Have them leave."""

    async def drain(self) -> None:
        """Wait until there is room for more."""

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""

    def get_extra_info(self, name: str, /) -> Any:
        """As asyncio.BaseTransport has it."""
