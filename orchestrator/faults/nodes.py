"""Faults of nodes share one rule: a node that several faults hold down comes back when the last lets go."""

from orchestrator.faults.base import World


async def crash(world: World, fault: int, names: tuple[str, ...]) -> str:
    """Kill -9, unless another fault has already."""
    seen = []
    for name in names:
        holders = world.down_by.setdefault(name, set())
        if holders:
            seen.append(f"{name}: already down by fault {min(holders)}")
        else:
            seen.append(await world.substrate.kill(world.node(name)))
        holders.add(fault)
    return "; ".join(seen)


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
            seen.append(f"{name}: started again")
    return "; ".join(seen)


async def freeze(world: World, names: tuple[str, ...]) -> str:
    """Freeze all tasks of these nodes."""
    return "; ".join([await world.substrate.pause(world.node(name)) for name in names])


async def thaw(world: World, names: tuple[str, ...]) -> str:
    """Let them go on."""
    return "; ".join([await world.substrate.resume(world.node(name)) for name in names])
