"""Simulation: every node a task in this process, every link the same arithmetic as in the emulation, time virtual.

The same seed gives the same bytes: records, events and final weights. What is approximated: TCP (`transport.py`), a
kernel that takes what comes for a frozen node without limit, computing, which takes what the device's cost model says
and never waits for anything but the node's own work, and what the node's software does with messages (`life.py`).
"""

import asyncio
import gc
import json
import traceback
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

from node_image import checkpoint, learner
from node_image.data.folder import DataNotFoundError
from node_image.data.partition import PartitionError
from node_image.node import evaluate_finally, run_node
from orchestrator.errors import RunBrokeError
from orchestrator.links.shape import LinkShape
from orchestrator.plan import DirectedLink, Plan, PlannedNode
from orchestrator.receipt import Check
from orchestrator.simulation.life import Life
from orchestrator.simulation.network import Network
from orchestrator.simulation.runtime import Disk, SimRuntime
from orchestrator.simulation.said import Said
from orchestrator.simulation.switchboard import Switchboard
from orchestrator.simulation.virtual_time import VirtualTimeLoop
from orchestrator.substrates.base import LinkCount, NodeExit, NodeLine, NodeUse

KILLED = -9
# Python's ordinary (700, 10, 10) would search through all that is under way, again and again: a fifth of the time.
COLLECTION = (200_000, 20, 20)


@dataclass
class _Present:
    """The present life of a node: its runtime and, once the run has begun, its part in it."""

    life: Life
    runtime: SimRuntime
    task: asyncio.Task[None] | None = None


@dataclass
class _Placed:
    """A node through all its lives. `busy_s` and `throttled_s` are those of past lives."""

    planned: PlannedNode
    disk: Disk = field(default_factory=Disk)
    present: _Present | None = None
    factor: float = 1.0
    busy_s: float = 0.0
    throttled_s: float = 0.0
    busy_at_freeze_s: float = 0.0
    last_words: str = ""

    def use(self) -> NodeUse:
        """What it has used so far."""
        busy_s, throttled_s = self.busy_s, self.throttled_s
        if self.present is not None:
            life = self.present.life
            life.account()
            busy_s, throttled_s = busy_s + life.busy_s, throttled_s + life.throttled_s
        return NodeUse(busy_s, busy_s, throttled_s, memory_bytes=0, share=None)


class Simulation:
    """A substrate on the virtual clock; to be used on a `VirtualTimeLoop`. Needs nothing of the machine."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        self.can = frozenset({"kill", "restart", "pause", "cpu", "shape", "block"})
        self._plan = plan
        self._directory = directory
        self._placed = {node.name: _Placed(node) for node in plan.nodes}
        self._begun = False

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualTimeLoop):
            raise TypeError(f"a simulation runs on a VirtualTimeLoop, not on {type(loop).__name__}")
        self._loop = loop
        self._said = Said(loop)
        self._collection = gc.get_threshold()
        gc.set_threshold(*COLLECTION)
        self._network = Network(self._plan, self._loop)
        self._board = Switchboard(self._network, self._plan.seed)
        return self

    async def __aexit__(self, *exc: object) -> None:
        for placed in self._placed.values():
            if placed.present is not None:
                self._end(placed, KILLED, asked=True)
        self._said.close()
        gc.set_threshold(*self._collection)

    def now(self) -> float:
        """Virtual seconds since `begin`; before it, 0."""
        return self._loop.time() - self._network.epoch_s if self._begun else 0.0

    async def sleep_until(self, t: float) -> None:
        """Wait until `now()` is t."""
        await asyncio.sleep(max(0.0, t - self.now()))

    async def start(self, node: PlannedNode) -> None:
        """Make the node's learner and runtime; if the run has begun it sets to work."""
        placed = self._placed[node.name]
        if placed.present is not None:
            raise RunBrokeError(f"{node.name} runs already: stop or kill it before it is started again")
        try:
            built = learner.build(node.spec)
        except (DataNotFoundError, PartitionError):
            raise  # the scenario asks for what the data lack: nothing broke
        except Exception as error:
            raise RunBrokeError(f"{node.name}: its learner could not be built: {error}") from error
        life = Life(self._loop)
        life.slow(placed.factor)
        tell = partial(self._said.record, node.name)
        runtime = SimRuntime(node.spec, built, self._board, life, placed.disk, tell)
        placed.present = _Present(life, runtime)
        runtime.listen()
        self._event(node, "ready")
        if self._begun:
            self._set_to_work(placed)

    async def begin(self) -> None:
        """All nodes set to work, at virtual time 0."""
        self._begun = True
        self._network.begin()
        for placed in self._placed.values():
            if placed.present is not None:
                self._set_to_work(placed)

    def _set_to_work(self, placed: _Placed) -> None:
        present, name = placed.present, placed.planned.name
        if present is not None:
            present.runtime.start()
            present.task = self._loop.create_task(self._live(placed, present), name=name)

    async def _live(self, placed: _Placed, present: _Present) -> None:
        """The run as a node lives it. After its end the node still answers for its connections until stopped."""
        node = placed.planned
        self._event(node, "started")
        try:
            ending = await run_node(present.runtime, node.spec)
        except Exception as error:
            placed.last_words = "".join(traceback.format_exception(error))
            self._event(node, "failed", error=traceback.format_exception_only(error)[-1].strip())
            present.task = None
            self._end(placed, 1, asked=False)
        else:
            self._event(node, "finished", reason=ending)

    async def ask(self, node: PlannedNode, command: dict[str, Any]) -> dict[str, Any]:
        """Refused: simulated links are what the plan says, there is nothing to probe."""
        raise RunBrokeError(f"simulation: {node.name} cannot be asked to {command['do']!r}; 'ask' is not in `can`")

    async def stop(self, node: PlannedNode) -> None:
        """End a node gracefully: it evaluates a last time, at no cost. A frozen one is killed."""
        placed = self._placed[node.name]
        present = placed.present
        if present is None:
            return
        if present.life.frozen:
            self._end(placed, KILLED, asked=True)
            return
        if present.task is not None:
            present.task.cancel()
            await asyncio.gather(present.task, return_exceptions=True)
            present.task = None
            present.runtime.stop_clock()
            await evaluate_finally(present.runtime)
        present.runtime.count_waiting()
        self._end(placed, 0, asked=True)

    async def kill(self, node: PlannedNode) -> str:
        """End all that the node does at once; its peers see its connections close."""
        placed = self._placed[node.name]
        if placed.present is None:
            return f"{node.name}: had ended before"
        connections = self._end(placed, KILLED, asked=True)
        return f"{node.name}: ended by signal 9, {connections} connections closed with it"

    def _end(self, placed: _Placed, returncode: int, *, asked: bool) -> int:
        """End a life; returns how many connections it had."""
        present, placed.present = placed.present, None
        if present is None:
            return 0
        life = present.life
        life.end()
        placed.busy_s += life.busy_s
        placed.throttled_s += life.throttled_s
        if present.task is not None:
            present.task.cancel()
        connections = present.runtime.close()
        words = placed.last_words if returncode == 1 else ""
        self._said.put(NodeExit(placed.planned.name, returncode, asked, words))
        return connections

    async def pause(self, node: PlannedNode) -> str:
        """Freeze it: it makes no progress, its kernel still takes and acknowledges what comes."""
        placed = self._placed[node.name]
        life = self._living(placed).life
        placed.busy_at_freeze_s = placed.use().busy_s
        life.freeze()
        return f"{node.name}: frozen"

    async def resume(self, node: PlannedNode) -> str:
        """Let it go on; says how much computing it did while frozen."""
        placed = self._placed[node.name]
        used_s = placed.use().busy_s - placed.busy_at_freeze_s
        self._living(placed).life.thaw()
        return f"{node.name}: thawed, {used_s * 1e3:.1f} ms of CPU used while frozen"

    async def slow(self, node: PlannedNode, factor: float) -> str:
        """Give it `factor` (0-1] of its ordinary speed; a node that is down has it when it comes back."""
        placed = self._placed[node.name]
        placed.factor = factor
        if placed.present is None:
            return f"{node.name}: down; {factor:.0%} of its speed when it starts again"
        placed.present.life.slow(factor)
        return f"{node.name}: computes at {placed.present.life.factor:.0%} of its speed"

    def _living(self, placed: _Placed) -> _Present:
        if placed.present is None:
            raise RunBrokeError(f"{placed.planned.name} is not running")
        return placed.present

    async def shape(self, link: DirectedLink, shape: LinkShape, *, up: bool = True) -> str:
        """Change a link, or take it down."""
        found = self._network.reshape(link, shape, up=up)
        self._board.look_after(found)
        rate = f"{found.shape.rate_bps:.0f} bit/s" if found.shape.rate_bps is not None else "no rate limit"
        state = "up" if found.up else "down"
        return f"{link.id}: {state}, {rate}, {found.shape.delay_s * 1e3:g} ms, loss {found.shape.loss:g}"

    async def block(self, pairs: frozenset[tuple[str, str]]) -> str:
        """From now on exactly these pairs hear nothing."""
        self._network.block(pairs)
        self._board.look_after()
        return f"{len(pairs)} pairs blocked: {', '.join(f'{a}>{b}' for a, b in sorted(pairs)) or 'none'}"

    async def uses(self) -> dict[str, NodeUse]:
        """Computing as charged by the cost models. Memory is shared by all nodes and so not given."""
        return {name: placed.use() for name, placed in self._placed.items()}

    async def links(self) -> dict[str, LinkCount]:
        """Counters of every directed link, by id."""
        self._board.settle()
        return self._network.counts()

    async def traffic(self) -> dict[str, list[tuple[int, int, int]]]:
        """0.1 s bins of every node. The lists grow with the run: whoever keeps one must copy it."""
        self._board.settle()
        return self._network.traffic()

    def output(self) -> AsyncIterator[NodeLine | NodeExit]:
        """Lines and exits of all nodes, in the order in which they came about."""
        return aiter(self._said)

    async def collect(self, node: PlannedNode, into: Path) -> None:
        """Write down the node's last words and its checkpoint."""
        placed = self._placed[node.name]
        if placed.last_words:
            into.mkdir(parents=True, exist_ok=True)
            (into / "stderr").write_text(placed.last_words)
        if placed.disk.state is not None:
            checkpoint.save(into / "state", placed.disk.state)

    def facts(self) -> dict[str, Any]:
        """How it was made true."""
        return {"shaper": "arithmetic", "clock": "virtual", "transport": "TCP modelled by flights (CUBIC)"}

    async def fidelity(self) -> list[Check]:
        """Nothing can be late on a virtual clock: there is nothing to watch."""
        return []

    def _event(self, node: PlannedNode, event: str, **details: Any) -> None:
        line = json.dumps({"event": event, "t": self.now(), **details}, separators=(",", ":"))
        self._said.put(NodeLine(node.name, line))
