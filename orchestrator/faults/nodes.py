"""Faults of nodes share one rule: what several faults do to a node ends when the last of them lets go.

A node that dies while it is frozen is let go on for an instant first, since its next life must not begin frozen.
"""

import asyncio
from collections.abc import Awaitable, Callable
from math import prod

from orchestrator.faults import orders
from orchestrator.faults.base import World
from orchestrator.plan import PlannedNode


async def crash(world: World, fault: int, names: tuple[str, ...]) -> str:
    """Kill -9, unless another fault has already."""
    return "; ".join([await _take_down(world, fault, name, world.substrate.kill) for name in names])


async def stop(world: World, fault: int, names: tuple[str, ...], grace_s: float) -> str:
    """Tell all of them at once to end, and kill those that take longer than their grace."""

    async def end(node: PlannedNode) -> str:
        return await world.substrate.terminate(node, grace_s)

    jobs = [_take_down(world, fault, name, end) for name in names]
    seen = await asyncio.gather(*jobs, return_exceptions=True)
    for each in seen:
        if isinstance(each, BaseException):
            raise each
    return "; ".join(str(each) for each in seen)


async def _take_down(world: World, fault: int, name: str, end: Callable[[PlannedNode], Awaitable[str]]) -> str:
    holders = world.down_by.setdefault(name, set())
    if holders:
        seen = f"{name}: already down by fault {min(holders)}"
        holders.add(fault)
        return seen
    holders.add(fault)  # before it ends: from now on nobody can tell it anything
    thawed = ""
    try:
        if world.frozen_by.get(name):  # its next life must not begin frozen, nor count as frozen
            thawed = f"{await world.substrate.resume(world.node(name))}; "
            world.frozen_by[name].clear()
        return thawed + await end(world.node(name))
    except BaseException:
        holders.discard(fault)
        raise


async def restart(world: World, fault: int, names: tuple[str, ...]) -> str:
    """Start again those that no other fault holds."""
    seen = []
    for name in names:
        holders = world.down_by[name]
        holders.discard(fault)
        if world.ending:
            seen.append(f"{name}: left down, the run is over")
        elif holders:
            seen.append(f"{name}: still held by fault {min(holders)}")
        else:
            await world.substrate.start(world.node(name))
            await orders.renew(world, name)
            seen.append(f"{name}: started again")
    return "; ".join(seen)


async def freeze(world: World, fault: int, names: tuple[str, ...]) -> str:
    """Freeze all tasks of these nodes, unless they are frozen or down already."""
    seen = []
    for name in names:
        holders = world.frozen_by.setdefault(name, set())
        if down := world.down_by.get(name):
            seen.append(f"{name}: down by fault {min(down)}, nothing to freeze")
            continue
        if holders:
            seen.append(f"{name}: already frozen by fault {min(holders)}")
        else:
            seen.append(await world.substrate.pause(world.node(name)))
        holders.add(fault)
    return "; ".join(seen)


async def thaw(world: World, fault: int, names: tuple[str, ...]) -> str:
    """Let those go on that no other fault keeps frozen."""
    seen = []
    for name in names:
        holders = world.frozen_by[name]
        if fault not in holders:
            seen.append(f"{name}: was not frozen by this fault")
            continue
        holders.discard(fault)
        if down := world.down_by.get(name):
            seen.append(f"{name}: down by fault {min(down)} meanwhile")
        elif holders:
            seen.append(f"{name}: still frozen by fault {min(holders)}")
        else:
            seen.append(await world.substrate.resume(world.node(name)))
            await orders.renew(world, name)
    return "; ".join(seen)


async def slow(world: World, fault: int, names: tuple[str, ...], speed: float) -> str:
    """Leave these nodes a share of their speed, on top of what other faults leave them; 1 takes this fault's away."""
    seen = []
    for name in names:
        held = world.slowed_by.setdefault(name, {})
        held[fault] = speed
        if speed == 1.0:
            del held[fault]
        seen.append(await world.substrate.slow(world.node(name), prod(held.values())))
    return "; ".join(seen)
