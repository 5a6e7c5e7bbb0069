"""What a fault does over and over while it acts, at the same distance on the run's clock."""

import asyncio
from collections.abc import Awaitable, Callable

from orchestrator.substrates.base import Substrate


class Repeating:
    """Takes a step every `every_s` until stopped. A step that has begun comes to its end: `stop` waits."""

    def __init__(self, substrate: Substrate, every_s: float, step: Callable[[], Awaitable[None]], name: str) -> None:
        self._substrate = substrate
        self._every_s = every_s
        self._step = step
        self._over = asyncio.Event()
        self._task = asyncio.create_task(self._go_on(), name=name)

    async def stop(self) -> None:
        """Take no more steps; raises what a step has raised."""
        self._over.set()
        await self._task

    async def _go_on(self) -> None:
        began_s, number = self._substrate.now(), 0
        while not self._over.is_set():
            number += 1
            waits = (
                asyncio.ensure_future(self._substrate.sleep_until(began_s + number * self._every_s)),
                asyncio.ensure_future(self._over.wait()),
            )
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
            if not self._over.is_set():
                await self._step()
