"""Faults of links share one book-keeping: several may hold a link at once, and each takes back only its own change."""

from collections.abc import Callable

from orchestrator.faults.base import World
from orchestrator.links.shape import LinkShape

Change = Callable[[LinkShape], LinkShape] | None  # None: the link is down


async def hold(world: World, fault: int, link_ids: tuple[str, ...], change: Change) -> str:
    """Put a change on links, on top of what other faults did; returns what was read back."""
    for link_id in link_ids:
        world.reshaped.setdefault(link_id, []).append((fault, change))
    return await _apply(world, link_ids)


async def release(world: World, fault: int, link_ids: tuple[str, ...]) -> str:
    """Take this fault's changes off again; those of other faults stay."""
    for link_id in link_ids:
        held = world.reshaped.get(link_id, [])
        world.reshaped[link_id] = [(holder, change) for holder, change in held if holder != fault]
    return await _apply(world, link_ids)


async def _apply(world: World, link_ids: tuple[str, ...]) -> str:
    seen = []
    now = {}
    for link_id in link_ids:
        link = world.link(link_id)
        shape, up = link.shape, True
        for _, change in world.reshaped[link_id]:
            if change is None:
                up = False
            else:
                shape = change(shape)
        seen.append(await world.substrate.shape(link, shape, up=up))
        now[link_id] = {"up": up, "rate_bps": shape.rate_bps, "delay_s": shape.delay_s, "loss": shape.loss}
    world.log("links_shaped", {"links": now})
    return "; ".join(seen)


async def dropped(world: World, link_ids: tuple[str, ...], reason: str) -> int:
    """Packets that links have dropped for a reason, so far."""
    counts = await world.substrate.links()
    return sum(counts[link_id].dropped.get(reason, 0) for link_id in link_ids)
