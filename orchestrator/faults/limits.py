"""Faults that leave a node less of something: of several such faults the tightest holds, until each has let go.

What a node cannot live with ends it. It stays down then, and is started again when the fault is over, with nothing but
its checkpoint, as after a crash.
"""

from orchestrator.faults import orders
from orchestrator.faults.base import World
from orchestrator.substrates.base import Resource


async def tighten(world: World, fault: int, name: str, resource: Resource, most: int) -> str:
    """Leave a node at most so much (0: no more than it has)."""
    held = world.limited.setdefault((name, resource), {})
    held[fault] = most
    seen = await world.substrate.limit(world.node(name), resource, min(held.values()))
    return seen if len(held) == 1 else f"{seen} (the tightest of {len(held)} faults)"


async def loosen(world: World, fault: int, names: tuple[str, ...], resource: Resource) -> str:
    """Take this fault's limit away, and start those again that it was the end of."""
    seen = []
    for name in names:
        node, held = world.node(name), world.limited[name, resource]
        del held[fault]
        seen.append(await world.substrate.limit(node, resource, min(held.values(), default=None)))
        if not world.substrate.runs(node) and not world.down_by.get(name) and not held:
            seen.append(await _revive(world, name))
    return "; ".join(seen)


async def _revive(world: World, name: str) -> str:
    if world.ending:
        return f"{name}: ended for want of it, left down, the run is over"
    await world.substrate.start(world.node(name))
    await orders.renew(world, name)
    return f"{name}: ended for want of it, started again"
