"""What a node needs on its board beside node_image: its spec, initial weights, and the run's plug-ins."""

import asyncio
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from node_image import plugins
from orchestrator.boards.remote import Placed
from orchestrator.boards.station import Station


async def put_spec(placed: Placed) -> tuple[str, str | None]:
    """The node's spec with the board's folder of data, and the name of the file of initial weights put there."""
    spec, board = placed.node.spec, placed.station.board
    if board.data_dir is not None:
        spec = replace(spec, task=replace(spec.task, data_dir=board.data_dir))
    if spec.initial is None:
        return spec.to_json(), None
    content = await asyncio.to_thread(Path(spec.initial).read_bytes)
    name = f"{sha256(content).hexdigest()}.safetensors"
    await placed.station.put(name, content)
    return spec.to_json(), name


async def put_plugins(station: Station, directory: Path) -> list[str]:
    """The run's list of plug-ins and their files, as they lie in the run directory; the names of what to load."""
    listed = directory / plugins.LIST
    if not listed.is_file():
        return []
    for path in sorted((directory / plugins.FOLDER).iterdir()):
        await station.put(f"{plugins.FOLDER}/{path.name}", path.read_bytes())
    await station.put(plugins.LIST, listed.read_bytes())
    return [plugins.LIST]
