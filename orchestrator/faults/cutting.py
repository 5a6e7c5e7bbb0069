"""Partitions add up: several faults may cut pairs of nodes off at once, and each takes back only its own."""

from orchestrator.faults.base import World

Pairs = frozenset[tuple[str, str]]


async def cut(world: World, fault: int, pairs: Pairs) -> str:
    """From now on these (source, target) pairs hear nothing, beside those of other faults; what was read back."""
    world.blocked[fault] = pairs
    return await _apply(world)


async def mend(world: World, fault: int) -> str:
    """Take this fault's cuts back; what was read back."""
    world.blocked.pop(fault, None)
    return await _apply(world)


async def _apply(world: World) -> str:
    return await world.substrate.block(frozenset().union(*world.blocked.values()))
