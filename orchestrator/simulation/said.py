"""What the nodes of a simulation say, until the run reads it: thousands of lines at one instant of virtual time."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache

from node_image.recorder import FLUSH_S
from orchestrator.simulation.virtual_time import VirtualTimeLoop
from orchestrator.substrates.base import NodeExit, NodeLine

_JSON = json.JSONEncoder(separators=(",", ":"))  # json.dumps would make one for every text
_Fact = tuple[str, float, str, float, Mapping[str, str]]  # a record that is no line yet: node, t, metric, value, labels


class Said:
    """A queue with one reader, who hears of events and exits at once and of records a little later, as from a process.

    So a simulation need not wake the reader for every single line, and makes many lines in a row.
    """

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop
        self._items: deque[NodeLine | NodeExit | _Fact] = deque()
        self._more = asyncio.Event()
        self._closed = False
        self._is_due = False  # the reader will be woken

    def record(self, node: str, t: float, metric: str, value: float, labels: Mapping[str, str]) -> None:
        """Append a record."""
        self._items.append((node, t, metric, value, labels))
        if not self._is_due:
            self._is_due = True
            self._loop.schedule(self._loop.now + FLUSH_S, Said._wake, self)

    def put(self, item: NodeLine | NodeExit) -> None:
        """Append an event or an exit."""
        self._items.append(item)
        self._more.set()

    def close(self) -> None:
        """No more will come."""
        self._closed = True
        self._more.set()

    def _wake(self) -> None:
        self._is_due = False
        self._more.set()

    async def __aiter__(self) -> AsyncIterator[NodeLine | NodeExit]:
        while self._items or not self._closed:
            while self._items:
                item = self._items.popleft()
                yield NodeLine(item[0], line_of(*item[1:])) if isinstance(item, tuple) else item
            self._more.clear()
            if not self._closed:
                await self._more.wait()


def line_of(t: float, metric: str, value: float, labels: Mapping[str, str]) -> str:
    """The line of `Record(t, metric, value, labels)` at a third of the price: labels recur, so their text is kept."""
    text = _labels(tuple(labels.items())) if labels else "{}"
    return f'{{"t":{round(t, 6)!r},"metric":"{metric}","value":{value!r},"labels":{text}}}'


@lru_cache(maxsize=65536)
def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    return _JSON.encode(dict(sorted(labels)))
