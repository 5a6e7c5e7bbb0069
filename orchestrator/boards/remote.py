"""A node on a board, as the run sees it: the same NodeProcess as anywhere, over two pipes whose far ends are here."""

import asyncio
import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.boards.station import Station
from orchestrator.errors import RunBrokeError
from orchestrator.plan import PlannedNode
from orchestrator.substrates.base import NodeExit, NodeLine, NodeUse, Resource
from orchestrator.substrates.placed import how_it_ended
from orchestrator.substrates.processes import NodeProcess

KILL_WITHIN_S = 10.0
SLOW_WITHIN_S = 10.0
LOST_STATUS = 255 << 8  # the wait status of a node whose board is gone: what ssh itself would leave with


class _Bridge:
    """The far ends of a node's pipes: what the run writes goes to the board, what the board says comes out."""

    def __init__(self, station: Station, node: str, life: int, folder: Path) -> None:
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.cpu_s = 0.0
        self._station, self._node, self._life, self._folder = station, node, life, folder
        self._unread = b""
        self._stdin: int | None = None
        self._stdout: asyncio.WriteTransport | None = None

    async def open(self) -> tuple[int, int]:
        """Our ends are open from here on; returns the run's: where it writes, where it reads."""
        loop = asyncio.get_running_loop()
        self._stdin, stdin_w = os.pipe()
        stdout_r, stdout_w = os.pipe()
        loop.add_reader(self._stdin, self._pass_on, self._stdin)
        self._stdout, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(stdout_w, "wb"))
        return stdin_w, stdout_r

    def take(self, message: dict[str, Any]) -> None:
        """A line that the node said, or its end."""
        if message.get("life") != self._life:
            return  # of a life before this one
        if "line" in message and self._stdout is not None:
            self._stdout.write(str(message["line"]).encode() + b"\n")
        elif "exited" in message:
            self.cpu_s = float(message["cpu_s"])
            self.end(int(message["exited"]), str(message["last_words"]))

    def end(self, status: int, last_words: str) -> None:
        """Its end, by itself or with its board; the first to tell decides."""
        if self.exited.done():
            return
        if last_words:
            (self._folder / "stderr").write_text(last_words, encoding="utf-8")
        self.exited.set_result(status)
        self._hang_up()
        if self._stdout is not None:
            self._stdout.close()  # what was written before is read before the end is seen

    def _pass_on(self, fd: int) -> None:
        data = os.read(fd, 65536)
        if not data:
            self._hang_up()
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._station.tell("tell", node=self._node, line=line.decode())

    def _hang_up(self) -> None:
        if self._stdin is not None:
            asyncio.get_running_loop().remove_reader(self._stdin)
            os.close(self._stdin)
            self._stdin = None


@dataclass
class Placed:
    """One node through all its lives on its board. `share`: what its device is of the board's speed (None: all)."""

    node: PlannedNode
    station: Station
    own_speed: bool
    folder: Path
    output: "asyncio.Queue[NodeLine | NodeExit | None]"
    process: NodeProcess | None = None
    share: float | None = None
    factor: float = 1.0  # what a straggler fault leaves of its speed
    notes: list[str] = field(default_factory=list)
    limited: dict[Resource, int] = field(default_factory=dict)  # what faults leave it
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # one start or end at a time
    _bridge: _Bridge | None = None
    _lives: int = 0
    _cpu_before_s: float = 0.0  # of lives that have ended
    _cpu_s: float = 0.0  # of this life
    _memory_bytes: int = 0
    _cpu_at_freeze_s: float | None = None

    @property
    def lives(self) -> bool:
        """Whether its process runs, as far as we have heard."""
        process = self.process
        return process is not None and process.exited is not None and not process.exited.done()

    async def start(self, spec: str, initial: str | None, plugins: list[str]) -> str:
        """A new life; returns where the board keeps its state."""
        self._lives += 1
        self._cpu_before_s, self._cpu_s = self._cpu_before_s + self._cpu_s, 0.0
        bridge = _Bridge(self.station, self.node.name, self._lives, self.folder)
        self._bridge = self.station.bridges[self.node.name] = bridge
        process = NodeProcess(self.node.name, self.folder, self.output)
        stdin, stdout = await bridge.open()
        try:
            started = await self.station.ask(
                "start", node=self.node.name, life=self._lives, spec=spec, initial=initial, plugins=plugins
            )
        except BaseException:
            os.close(stdin)
            os.close(stdout)
            bridge.end(LOST_STATUS, "")
            raise
        await process.adopt(started["pid"], bridge.exited, stdin, stdout)
        self.process = process
        return str(started["state"])

    def lose(self, why: str) -> None:
        """Its board is gone, or will not say any more: take it as ended."""
        if self._bridge is not None:
            self._bridge.end(LOST_STATUS, why)

    async def done(self) -> None:
        """Its process has ended: read what it said to the end."""
        process, self.process = self.process, None
        if process is not None:
            await process.close()
        if self._bridge is not None:
            self._cpu_s = max(self._cpu_s, self._bridge.cpu_s)

    async def kill(self) -> str:
        """Kill -9 of its whole session; says what the board saw."""
        async with self.turn:
            process, name = self.process, self.node.name
            if process is None or process.exited is None:
                return f"{name}: had ended before"
            process.asked_to_end = True
            status = int((await self.station.ask("kill", node=name))["status"])
            await process.ended(KILL_WITHIN_S)
            await self.done()
            code = os.waitstatus_to_exitcode(status)
            if code != -9:
                raise RunBrokeError(f"{name}: killed, but its exit was {code} and not signal 9")
            return f"{name}: pid {process.pid} on {self.station.board.name} ended by signal 9"

    async def terminate(self, grace_s: float) -> str:
        """SIGTERM to its session, and kill -9 after the grace; says how it ended and when."""
        async with self.turn:
            process, name = self.process, self.node.name
            if process is None or not self.lives:
                return f"{name}: had ended before"
            process.asked_to_end = True
            within_s = grace_s + KILL_WITHIN_S
            said = await self.station.ask("terminate", within_s, node=name, grace_s=grace_s)
            await process.ended(KILL_WITHIN_S)
            await self.done()
        code = os.waitstatus_to_exitcode(int(said["status"]))
        took_s = None if said["killed"] else float(said["took_s"])
        return how_it_ended(f"{name}: pid {process.pid} on {self.station.board.name}", code, took_s, grace_s)

    async def limit(self, resource: Resource, most: int | None) -> str:
        """Limit its process, in this life and in later ones; says what was read back."""
        name = self.node.name
        if resource in ("memory", "pids"):
            raise RunBrokeError(f"ssh: {name} cannot be limited in {resource}; not in `can`")
        if most is None:
            self.limited.pop(resource, None)
        else:
            self.limited[resource] = most
        if self.process is None or not self.lives:
            return f"{name}: not running"
        self.process.excused = lambda _code: bool(self.limited)
        seen = (await self.station.ask("limit", node=name, kind=resource, most=most))["seen"]
        return f"{name} on {self.station.board.name}: {seen}"

    async def freeze(self) -> str:
        """Stop all its tasks; the board's kernel confirms."""
        self._cpu_at_freeze_s = (await self.station.ask("freeze", node=self.node.name))["cpu_s"]
        return f"{self.node.name}: stopped, the kernel of {self.station.board.name} shows it so"

    async def thaw(self) -> str:
        """Let them go on; says how much CPU was used meanwhile."""
        cpu_s = (await self.station.ask("thaw", node=self.node.name))["cpu_s"]
        before_s, self._cpu_at_freeze_s = self._cpu_at_freeze_s, None
        used_s = 0.0 if before_s is None else cpu_s - before_s
        return f"{self.node.name}: goes on, {used_s * 1e3:.0f} ms of CPU used while stopped"

    async def slow(self, factor: float) -> str:
        """Leave it `factor` of its speed: it paces its work, and confirms."""
        self.factor = factor
        if self.process is None:
            return f"{self.node.name}: not running"
        factor_now = (await self.process.ask({"do": "slow", "factor": self.pace()}, SLOW_WITHIN_S))["factor"]
        took = "as long as on the board" if factor_now is None else f"{factor_now:g} times its profile's time"
        return f"{self.node.name}: its work takes {took}, it confirms"

    def pace(self) -> float | None:
        """How many times as long as its profile says its work takes; None: as long as it takes on the board."""
        return 1 / self.factor if not self.own_speed or self.factor < 1 else None

    def saw(self, use: dict[str, Any]) -> None:
        """What the board says that this life has used so far."""
        self._cpu_s, self._memory_bytes = float(use["cpu_s"]), int(use["memory_bytes"])

    def use(self) -> NodeUse:
        """Over all its lives."""
        cpu_s = self._cpu_before_s + self._cpu_s
        return NodeUse(cpu_s, cpu_s / (self.share or 1.0), 0.0, self._memory_bytes, self.share)


def on_our_clock(line: str, later_s: float) -> str:
    """A node's line with its time moved by so many seconds; a line without a time stays as it is."""
    if not later_s or '"t":' not in line:
        return line
    with suppress(ValueError, TypeError, KeyError):
        said = json.loads(line)
        said["t"] = round(max(0.0, said["t"] + later_s), 6)
        return json.dumps(said, separators=(",", ":"))
    return line
