"""What the nodes of a simulation say, until the run reads it: thousands of lines at one instant of virtual time."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from math import isfinite

from node_image.recorder import FLUSH_S, measured
from node_image.records import METRICS
from orchestrator.simulation.virtual_time import VirtualTimeLoop
from orchestrator.substrates.base import NodeExit, NodeLine


class Said:
    """A queue with one reader, who hears of events and exits at once and of records a little later, as from a process.

    So a simulation need not wake the reader for every single line.
    """

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop
        self._items: deque[NodeLine | NodeExit] = deque()
        self._more = asyncio.Event()
        self._closed = False
        self._is_due = False  # the reader will be woken

    def record(self, node: str, line: str) -> None:
        """Append a record's line."""
        self._items.append(NodeLine(node, line))
        if not self._is_due:
            self._is_due = True
            self._loop.schedule(self._loop.time() + FLUSH_S, Said._wake, self)

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
                yield self._items.popleft()
            self._more.clear()
            if not self._closed:
                await self._more.wait()


def line_of(t: float, metric: str, value: float, labels: Mapping[str, str]) -> str:
    """The line of `Record(t, metric, value, labels)`, checked like `measured` does, at a third of the price.

    Labels are few and recur, so their text is kept.
    """
    value = float(value)
    if metric not in METRICS or not isfinite(value):
        return measured(t, metric, value, labels).to_line()  # raises what says why
    text = _labels(tuple(labels.items())) if labels else "{}"
    return f'{{"t":{round(t, 6)!r},"metric":"{metric}","value":{value!r},"labels":{text}}}'


@lru_cache(maxsize=65536)
def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    return json.dumps(dict(sorted(labels)), separators=(",", ":"))
