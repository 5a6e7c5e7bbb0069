"""The clock of a run in real time: the monotonic one, or (`slow_down`) one whose second lasts several real ones.

A slowed run is the run, filmed and played slowly: links, computing and schedules keep their figures in scenario time,
and a machine has `slow_down` real seconds for each scenario second. It is made at one place, as the simulation's
virtual time is: the event loop's clock. What stands on it - sleeps, timeouts, back-offs, `loop.time()` - needs to know
nothing. What does not stand on it (kernel timestamps, another process's instants) is converted where it is read.
"""

import asyncio
import selectors
import time


class SlowedLoop(asyncio.SelectorEventLoop):
    """An event loop whose second lasts `slow_down` real ones."""

    def __init__(self, slow_down: float) -> None:
        self.slow_down = slow_down
        super().__init__(_SlowedSelector(slow_down))

    def time(self) -> float:
        """Scenario seconds of the monotonic clock."""
        return time.monotonic() / self.slow_down


class _SlowedSelector(selectors.DefaultSelector):
    def __init__(self, slow_down: float) -> None:
        super().__init__()
        self._slow_down = slow_down

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for scenario seconds."""
        return super().select(timeout if timeout is None else timeout * self._slow_down)


def event_loop(slow_down: float) -> asyncio.AbstractEventLoop:
    """A loop on the clock of a run: Python's own where nothing is slowed."""
    return asyncio.new_event_loop() if slow_down == 1 else SlowedLoop(slow_down)


def slow_down_of_loop() -> float:
    """Real seconds in a second of the running loop's clock."""
    loop = asyncio.get_running_loop()
    return loop.slow_down if isinstance(loop, SlowedLoop) else 1.0


def scenario_seconds(real_s: float) -> float:
    """A length of time, or an instant of the monotonic clock, that is known in real seconds: on the loop's clock."""
    return real_s / slow_down_of_loop()
