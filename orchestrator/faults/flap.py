"""flap: links go down and up again, over and over: `down` seconds of every `every` seconds."""

import asyncio
from contextlib import suppress
from math import floor

from pydantic import model_validator

from orchestrator.faults import links
from orchestrator.faults.base import FaultKind, FaultParameters, Injected, World
from orchestrator.plan import PlannedFault
from orchestrator.units import Duration


class Parameters(FaultParameters):
    """`every`: length of one cycle; `down`: how much of it the links are down (first)."""

    every: Duration
    down: Duration

    @model_validator(mode="after")
    def _fits(self) -> "Parameters":
        if not 0 < self.down < self.every:
            raise ValueError("down must be more than 0 s and less than every")
        return self


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: links read back as down; at the heal, how often, and how many packets met a link that was down."""
    return await _flap(fault, world, world.substrate.now())


async def _again(fault: PlannedFault, world: World) -> Injected:
    """Where it would be in its cycle: links that should be up go up as soon as time goes on."""
    now_s, every_s = world.substrate.now(), float(fault.parameters["every"])
    since_s = now_s if fault.at_s is None else fault.at_s
    return await _flap(fault, world, since_s + floor((now_s - since_s) / every_s) * every_s)


async def _flap(fault: PlannedFault, world: World, began: float) -> Injected:
    """From the begin of a cycle on."""
    every_s, down_s = float(fault.parameters["every"]), float(fault.parameters["down"])
    before = await links.dropped(world, fault.links, "down")
    evidence = await links.hold(world, fault.index, fault.links, None)
    cycles = 1

    async def go_on() -> None:
        nonlocal cycles
        while True:
            await world.substrate.sleep_until(began + (cycles - 1) * every_s + down_s)
            await links.release(world, fault.index, fault.links)
            await world.substrate.sleep_until(began + cycles * every_s)
            await links.hold(world, fault.index, fault.links, None)
            cycles += 1

    flapping = asyncio.create_task(go_on(), name=f"flap of fault {fault.index}")

    async def heal() -> str:
        flapping.cancel()
        with suppress(asyncio.CancelledError):
            await flapping
        lost = await links.dropped(world, fault.links, "down") - before
        healed = await links.release(world, fault.index, fault.links)
        return f"{cycles} times down, {lost} packets met it; {healed}"

    return Injected(evidence, heal)


KIND = FaultKind(
    about="links go down and up again, over and over",
    targets="links",
    Parameters=Parameters,
    needs=lambda _: frozenset({"shape"}),
    inject=inject,
    again=_again,
)
