"""What the nodes of a simulation say, until the run reads it: thousands of lines at one instant of virtual time."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from math import isfinite

from node_image.recorder import measured
from node_image.records import METRICS
from orchestrator.substrates.base import NodeExit, NodeLine


class Said:
    """A queue with one reader, who is woken once for all that came meanwhile."""

    def __init__(self) -> None:
        self._items: deque[NodeLine | NodeExit] = deque()
        self._more = asyncio.Event()
        self._closed = False

    def put(self, item: NodeLine | NodeExit) -> None:
        """Append a line or an exit."""
        if not self._items:
            self._more.set()
        self._items.append(item)

    def close(self) -> None:
        """No more will come."""
        self._closed = True
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
    text = _labels(*sorted(labels.items()) if len(labels) > 1 else labels.items())
    return f'{{"t":{round(t, 6)!r},"metric":"{metric}","value":{value!r},"labels":{text}}}'


@lru_cache(maxsize=65536)
def _labels(*labels: tuple[str, str]) -> str:
    return json.dumps(dict(labels), separators=(",", ":"))
