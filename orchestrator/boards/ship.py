"""Bringing boards what a run needs ahead of it, all boards at once."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from orchestrator.boards.inventory import Board, Inventory
from orchestrator.boards.link import reach
from orchestrator.boards.shipping import install, ship, wheels_for
from orchestrator.errors import EdgebedError

LOOK_WITHIN_S = 90.0
Shipped = tuple[Board, str, str]  # what was done, or what went wrong


async def ship_all(inventory: Inventory, boards: Sequence[Board], wheels: Path | None) -> list[Shipped]:
    """Ship node_image, and install libraries if there is a folder of wheels."""
    return await asyncio.gather(*(_ship_one(inventory, board, wheels) for board in boards))


async def _ship_one(inventory: Inventory, board: Board, wheels: Path | None) -> Shipped:
    try:
        link = await reach(board, inventory.known_hosts)
    except EdgebedError as error:
        return board, "", str(error)
    try:
        said = ["node_image shipped" if await ship(link) else "node_image was there already"]
        if wheels is not None:
            found = await link.ask("look", LOOK_WITHIN_S, **link.places())
            usable = wheels_for(wheels, found["machine"])
            said.append(f"{len(usable)} wheels installed in {await install(link, usable)}")
        return board, ", ".join(said), ""
    except EdgebedError as error:
        return board, "", str(error)
    finally:
        await link.close()
