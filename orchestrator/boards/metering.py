"""The meter of one board while a run learns: read by the board's agent, its records put on the orchestrator's clock.

Its joules are of the whole board (component `board_<name>`): no node's, and never added to what the profiles model.
Joules and missing seconds together cover the time from start to stop, also where the board was away meanwhile.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from node_image.meters import Metering
from node_image.records import Record
from orchestrator.boards.station import Station
from orchestrator.errors import RunBrokeError

START_WITHIN_S = 15.0
STOP_WITHIN_S = 25.0  # the sampler itself waits 10 s for a reading that hangs


class BoardMeter:
    """One board's. `start` it, again whenever its board has come back, and `stop` it."""

    def __init__(self, station: Station, now: Callable[[], float], record: Callable[[Record], None]) -> None:
        self._station = station
        self._now = now
        self._record = record
        self._parameters = dict(station.board.meter or {})
        self._kind = str(self._parameters.pop("kind"))
        self._component = f"board_{station.board.name}"
        self._labels = {"component": self._component, "source": f"measured:{self._kind}"}
        self._about: dict[str, Any] = {}
        self._began_s: float | None = None
        self._covered_s = 0.0  # until then, joules and missing seconds say everything
        self._joules = 0.0
        self._missing_s = 0.0
        self._error: str | None = None

    async def start(self) -> None:
        """Have the agent sample it from now on. Where it cannot, the run goes on and the time is told as missing."""
        station = self._station
        station.on_metered = self._take
        began_there_s = time.monotonic() - self._now() + station.offsets[0].ahead_s
        try:
            self._about = await station.ask(
                "meter", START_WITHIN_S, kind=self._kind, parameters=self._parameters, began_s=began_there_s
            )
        except RunBrokeError as error:
            self._error = str(error)
        now_s = self._now()
        if self._began_s is None:
            self._began_s = self._covered_s = now_s
        else:
            self._error = self._error or "its board was away"
        self._miss_until(now_s)

    async def stop(self) -> Metering:
        """Have it read a last time. Readings, failures and CPU are those of its last life, all else of the whole."""
        found: dict[str, Any] = {}
        try:
            found = await self._station.ask("unmeter", STOP_WITHIN_S)
        except RunBrokeError as error:
            self._error = str(error)
        end_s = self._now()
        if not found:  # else its sampler has told of what it did not see
            self._miss_until(end_s)
        return Metering(
            meter=self._kind,
            component=self._component,
            covers=str(self._about.get("covers", "")),
            accuracy=str(self._about.get("accuracy", "")),
            cited=str(self._about.get("cited", "")),
            readings=int(found.get("readings", 0)),
            failures=int(found.get("failures", 0)),
            joules=self._joules,
            missing_s=self._missing_s,
            lasted_s=end_s - (self._began_s or end_s),
            cpu_s=float(found.get("cpu_s", 0.0)),
            error=found.get("error") or self._error,
        )

    def _take(self, said: dict[str, Any]) -> None:
        """Joules or missing seconds as the agent told them; whose they are is for us to say."""
        metric, value, t_s = said.get("metric"), float(said["value"]), float(said["t"])
        if metric not in ("energy_joules", "energy_missing_s") or not (math.isfinite(t_s) and 0 <= value < math.inf):
            return
        t_s = max(0.0, t_s + self._station.later_s())
        self._covered_s = max(self._covered_s, t_s)
        if metric == "energy_joules":
            self._joules += value
            labels = {**self._labels, "accuracy": str(self._about.get("accuracy", ""))}
            self._record(Record(t_s, "energy_joules", value, labels))
        else:
            self._miss(t_s, value)

    def _miss_until(self, t_s: float) -> None:
        """Nobody has told of the time until then, because the board was away."""
        if t_s > self._covered_s:
            self._miss(t_s, t_s - self._covered_s)
            self._covered_s = t_s

    def _miss(self, t_s: float, seconds: float) -> None:
        self._missing_s += seconds
        self._record(Record(t_s, "energy_missing_s", seconds, self._labels))


@asynccontextmanager
async def boards_metered(meters: Iterable[BoardMeter], ended: Callable[[Metering], None]) -> AsyncIterator[None]:
    """Sample them while the block lasts; `ended` is told of each."""
    meters = tuple(meters)
    await asyncio.gather(*(meter.start() for meter in meters))
    try:
        yield
    finally:
        for metering in await asyncio.gather(*(meter.stop() for meter in meters)):
            ended(metering)
