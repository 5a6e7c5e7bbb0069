"""The nodes that an agent holds: what it is asked about them, a method a request (agent.py lists them)."""

import asyncio
import base64
import json
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from node_image.board.life import Life, Say
from node_image.board.run_folder import RunFolder

END_WITHIN_S = 5.0
PIECE_BYTES = 256 << 10
Message = dict[str, Any]


class Nodes:
    """Their lives, in the run's folder. `namespace_of` says where a node's packets are; they run as `owner`."""

    def __init__(self, folder: RunFolder, owner: tuple[int, int], namespace_of: Callable[[str], int], say: Say) -> None:
        self._folder = folder
        self._owner = owner
        self._namespace_of = namespace_of
        self._say = say
        self._lives: dict[str, Life] = {}

    async def close(self) -> None:
        """Kill them, frozen ones too."""
        for life in self._lives.values():
            life.signal(signal.SIGKILL)
        for life in self._lives.values():
            with suppress(TimeoutError):
                async with asyncio.timeout(END_WITHIN_S):
                    await asyncio.shield(life.ended)

    async def put(self, request: Message) -> Message:
        """A file in the run's folder."""
        target = self._folder.place(request["name"])
        if not target.parent.exists():
            self._folder.make(target.parent)
        target.write_bytes(base64.b64decode(request["base64"]))
        self._folder.give(target)
        return {"path": str(target)}

    async def start(self, request: Message) -> Message:
        """A life of a node."""
        node = request["node"]
        folder = self._folder.of_node(node)
        for made in (folder, folder / "state"):
            self._folder.make(made)
        spec = json.loads(request["spec"])
        if request["initial"] is not None:
            spec["initial"] = str(self._folder.place(request["initial"]))
        (folder / "spec.json").write_text(json.dumps(spec))
        self._folder.give(folder / "spec.json")
        plugins = [str(self._folder.place(name)) for name in request["plugins"]]
        life = Life(node, request["life"], folder, self._say)
        pid = life.start(self._namespace_of(node), [str(folder / "spec.json"), *plugins], self._owner)
        self._lives[node] = life
        return {"pid": pid, "state": str(folder / "state")}

    async def tell(self, request: Message) -> Message:
        """A line for its stdin."""
        self._lives[request["node"]].tell(request["line"])
        return {}

    async def hang_up(self, request: Message) -> Message:
        """The end of its stdin."""
        self._lives[request["node"]].hang_up()
        return {}

    async def kill(self, request: Message) -> Message:
        """Kill -9 of its session; its wait status."""
        life = self._lives[request["node"]]
        life.signal(signal.SIGKILL)
        async with asyncio.timeout(END_WITHIN_S):
            return {"status": await asyncio.shield(life.ended)}

    async def terminate(self, request: Message) -> Message:
        """SIGTERM; kill -9 of what lives after the grace."""
        life, began = self._lives[request["node"]], time.monotonic()
        life.signal(signal.SIGTERM)
        done, _ = await asyncio.wait({life.ended}, timeout=float(request["grace_s"]))
        took_s = time.monotonic() - began
        status = (await self.kill(request))["status"]  # what is left of its session, too
        return {"status": status, "took_s": took_s, "killed": not done}

    async def freeze(self, request: Message) -> Message:
        """Stop all its tasks; CPU seconds so far."""
        return {"cpu_s": await self._lives[request["node"]].freeze()}

    async def thaw(self, request: Message) -> Message:
        """Let them go on; CPU seconds so far."""
        return {"cpu_s": self._lives[request["node"]].thaw()}

    async def limit(self, request: Message) -> Message:
        """Limit its process, or lift the limit; what was read back."""
        life, kind, most = self._lives[request["node"]], request["kind"], request["most"]
        if most is None:
            return {"seen": life.limits.lift(kind)}
        alive = () if life.ended.done() else (life.pid,)
        return {"seen": life.limits.tighten(alive, kind, int(most))}

    async def tear(self, request: Message) -> Message:
        """Leave half of its newest checkpoint."""
        from node_image import checkpoint  # late: an agent needs no numpy but for this

        return {"seen": checkpoint.tear(self._folder.of_node(request["node"]) / "state")}

    async def uses(self, request: Message) -> Message:
        """CPU seconds and memory of those that live."""
        return {
            node: {"cpu_s": life.cpu_s(), "memory_bytes": life.memory_bytes()}
            for node, life in self._lives.items()
            if not life.ended.done()
        }

    async def files(self, request: Message) -> Message:
        """What a node left, with sizes."""
        folder = self._folder.of_node(request["node"])
        left = [path for path in folder.rglob("*") if path.is_file() and path.name != "spec.json"]
        return {"files": {path.relative_to(folder).as_posix(): path.stat().st_size for path in left}}

    async def fetch(self, request: Message) -> Message:
        """A piece of one of those files."""
        folder = self._folder.of_node(request["node"])
        path = (folder / request["name"]).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise ValueError(f"not a file of {request['node']}: {request['name']!r}")
        with path.open("rb") as file:
            file.seek(request["offset"])
            return {"base64": base64.b64encode(file.read(PIECE_BYTES)).decode()}
