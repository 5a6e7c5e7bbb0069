"""An algorithm among garbage: what its nodes hear comes with broken copies, as a faulty or hostile peer might send."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from node_image.registry import Algorithm
from node_image.runtime import Message, NodeRuntime


@dataclass(frozen=True)
class Meddled:
    """The same algorithm, both sides of which hear garbage before every true message."""

    algorithm: Algorithm

    @property
    def Parameters(self) -> type[Any]:
        """The algorithm's own."""
        return self.algorithm.Parameters

    async def device(self, node: NodeRuntime, params: Any) -> None:
        """The algorithm's own, hard of hearing."""
        await self.algorithm.device(_HardOfHearing(node), params)

    async def coordinator(self, node: NodeRuntime, params: Any) -> None:
        """The algorithm's own, hard of hearing."""
        await self.algorithm.coordinator(_HardOfHearing(node), params)


class _HardOfHearing:
    """A node in all but `receive`."""

    def __init__(self, node: NodeRuntime) -> None:
        self._node = node
        self._waiting: list[Message] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    async def receive(self, within: float | None = None) -> Message | None:
        if not self._waiting:
            message = await self._node.receive(within)
            if message is None:
                return None
            self._waiting = [message, *garbage(message)]
        return self._waiting.pop()


def garbage(message: Message) -> Iterator[Message]:
    """Broken copies: of an unknown kind, empty, and with each value in turn of another type, size or not finite."""
    yield replace(message, kind="nonsense")
    yield replace(message, body={})
    for name, value in message.body.items():
        for wrong in _wrong(value):
            yield replace(message, body={**message.body, name: wrong})


def _wrong(value: Any) -> Iterator[Any]:
    yield 7 if isinstance(value, str) else "nonsense"
    if isinstance(value, np.ndarray):
        yield value.reshape(-1)[:-1]
        yield np.zeros(3, np.float64)
        if np.issubdtype(value.dtype, np.floating):
            yield np.full_like(value, np.nan)
