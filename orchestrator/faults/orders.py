"""Orders to nodes: what a fault has a node do by itself (node_image.orders). They stand until they are taken back.

A node that is down or frozen hears of them when it is back: who has come back is given anew what stands.
"""

from dataclasses import dataclass, field
from typing import Any

from orchestrator.faults.base import World

ANSWER_WITHIN_S = 10.0
Order = dict[str, Any]


@dataclass(frozen=True)
class Heard:
    """What became of an order: what the node answered, and that in words. `answer` is empty where nobody heard it."""

    words: str
    answer: dict[str, Any] = field(default_factory=dict)


async def stand(world: World, fault: int, name: str, order: Order) -> Heard:
    """Give a node an order that outlives its process."""
    world.standing.setdefault(name, {})[fault] = order
    return await once(world, name, order)


async def withdraw(world: World, fault: int, name: str, undo: Order) -> Heard:
    """Take a standing order back, by one that undoes it; then those of other faults stand again.

    A frozen node hears of it as the first thing when it goes on.
    """
    world.standing.get(name, {}).pop(fault, None)
    heard = await once(world, name, undo)
    if not heard.answer:
        world.undone.setdefault(name, []).append(undo)
    await renew(world, name)
    return heard


async def once(world: World, name: str, order: Order) -> Heard:
    """Give a node an order, if it can hear one now."""
    for what, holders in (("down", world.down_by.get(name)), ("frozen", world.frozen_by.get(name))):
        if holders:
            return Heard(f"{name}: {what} by fault {min(holders)}, nobody to tell")
    if not world.substrate.runs(world.node(name)):
        return Heard(f"{name}: has ended, nobody to tell")
    answer = await world.substrate.ask(world.node(name), {**order, "within_s": ANSWER_WITHIN_S})
    return Heard(f"{name}: confirms {', '.join(f'{key} {value}' for key, value in answer.items())}", answer)


async def renew(world: World, name: str) -> None:
    """Give a node that has come back all orders that stand, those of later faults last."""
    if world.down_by.get(name) or world.frozen_by.get(name):
        return
    for undo in world.undone.pop(name, []):
        await once(world, name, undo)
    for _, order in sorted(world.standing.get(name, {}).items()):
        await once(world, name, order)
