"""The sampler: reads a meter in the background and hands on records of what was used since the last.

`energy_joules{component, source="measured:<meter>", accuracy}` and, where something could not be seen,
`energy_missing_s`. The two together cover the time from start to stop; neither is ever guessed.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from node_image.meters.base import Meter, MeterError, Reading
from node_image.meters.integrate import Integrator
from node_image.records import Record

PERIOD_S = 0.5
GAP_PERIODS = 3  # so many periods without a reading are not integrated over
STOP_WITHIN_S = 10.0  # longer than any meter takes to give up on a reading


@dataclass(frozen=True)
class Metering:
    """What came of it: `cpu_s` is what reading itself cost, `error` why the last reading that failed did."""

    meter: str
    component: str
    covers: str
    accuracy: str
    cited: str
    readings: int
    failures: int
    joules: float
    missing_s: float
    lasted_s: float
    cpu_s: float
    error: str | None


class Metered:
    """One meter, sampled by a thread of its own between `start` and `stop` (or in a `with` block).

    `record` is called by that thread; `now` gives the seconds that records carry. A meter that fails is asked again.
    """

    def __init__(
        self,
        meter: Meter,
        component: str,
        record: Callable[[Record], None],
        now: Callable[[], float],
        period_s: float = PERIOD_S,
    ) -> None:
        self.meter = meter
        self.period_s = max(period_s, meter.shortest_period_s)
        self._component = component
        self._record = record
        self._now = now
        self._integrator = Integrator(GAP_PERIODS * self.period_s)
        self._labels = {
            "component": component,
            "source": f"measured:{meter.name}",
            "accuracy": meter.about.accuracy,
        }
        self._joules = 0.0
        self._meter_missing_s = 0.0
        self._missing_s = 0.0
        self._began_s = 0.0
        self._newest_s: float | None = None
        self._readings = 0
        self._failures = 0
        self._error: str | None = None
        self._cpu_s = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, name=f"meter {meter.name}", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to sample: the first reading is now."""
        self._began_s = self._now()
        self._thread.start()

    def stop(self) -> Metering:
        """Read a last time, close the meter, and say what came of it."""
        self._over.set()
        self._thread.join(STOP_WITHIN_S)
        end_s = self._now()
        if not self._thread.is_alive():
            self.step()
            self.meter.close()
        seen_s = self._began_s if self._newest_s is None else self._newest_s
        if end_s - seen_s > self._integrator.longest_gap_s:
            self._tell_missing(end_s, end_s - seen_s)
        about = self.meter.about
        return Metering(
            self.meter.name,
            self._component,
            about.covers,
            about.accuracy,
            about.cited,
            self._readings,
            self._failures,
            self._joules,
            self._missing_s,
            end_s - self._began_s,
            self._cpu_s,
            self._error,
        )

    def step(self) -> None:
        """One reading, and the records of it."""
        before_s = time.thread_time()
        try:
            reading = self.meter.read(self._now())
        except MeterError as error:
            self._failures += 1
            self._error = str(error)
        else:
            self._readings += 1
            self._take(reading)
        self._cpu_s += time.thread_time() - before_s

    def _take(self, reading: Reading) -> None:
        joules, missing_s = reading.joules_total, reading.missing_s
        if joules is None:
            if reading.watts is None:
                return
            self._integrator.take(reading.t_s, reading.watts)
            joules, missing_s = self._integrator.joules, self._integrator.missing_s
        if self._newest_s is None and reading.t_s - self._began_s > self._integrator.longest_gap_s:
            self._tell_missing(reading.t_s, reading.t_s - self._began_s)
        self._newest_s = reading.t_s
        if joules > self._joules:
            self._record(Record(reading.t_s, "energy_joules", joules - self._joules, self._labels))
            self._joules = joules
        if missing_s > self._meter_missing_s:
            self._tell_missing(reading.t_s, missing_s - self._meter_missing_s)
            self._meter_missing_s = missing_s

    def _tell_missing(self, t_s: float, seconds: float) -> None:
        self._missing_s += seconds
        labels = {name: self._labels[name] for name in ("component", "source")}
        self._record(Record(t_s, "energy_missing_s", seconds, labels))

    def _sample(self) -> None:
        next_s = time.monotonic()
        while True:
            self.step()
            # After a reading that took longer than a period, the next is due at once.
            next_s = max(next_s + self.period_s, time.monotonic())
            if self._over.wait(next_s - time.monotonic()):
                return
