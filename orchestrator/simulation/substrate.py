"""Simulation: every node a task in this process, every link the same arithmetic as in the emulation, time virtual.

The same seed gives the same bytes: records, events and final weights. What is approximated: TCP (`transport.py`), a
kernel that takes what comes for a frozen node without limit, computing, which takes what the device's cost model says
and never waits for anything but the node's own work, and what the node's software does with messages (`life.py`).
"""

import asyncio
import gc
import json
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

from node_image import checkpoint, learner, plugins
from node_image.node import evaluate_finally, fingerprint, run_node
from node_image.orders import ORDERS
from node_image.outcomes import UnfitError
from orchestrator.errors import RunBrokeError, UsageError
from orchestrator.exhausted import in_words
from orchestrator.links.shape import LinkShape
from orchestrator.plan import DirectedLink, Plan, PlannedNode
from orchestrator.receipt import Check
from orchestrator.simulation.background import Background
from orchestrator.simulation.disk import VirtualDisk
from orchestrator.simulation.life import Life
from orchestrator.simulation.network import Network
from orchestrator.simulation.peers import Frame
from orchestrator.simulation.runtime import SimRuntime
from orchestrator.simulation.said import Said, line_of
from orchestrator.simulation.switchboard import Switchboard
from orchestrator.simulation.virtual_time import VirtualTimeLoop
from orchestrator.substrates import SUBSTRATES
from orchestrator.substrates.base import LinkCount, NodeExit, NodeLine, NodeUse, Resource
from orchestrator.substrates.superseded import STOPPED, attempts

KILLED = -9
TERMINATED = 15  # SIGTERM
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
    disk: VirtualDisk = field(default_factory=VirtualDisk)
    present: _Present | None = None
    factor: float = 1.0
    busy_s: float = 0.0
    throttled_s: float = 0.0
    busy_at_freeze_s: float = 0.0
    last_words: str = ""
    superseded: _Present | None = None  # a life that another has taken the place of
    tried: list[str] = field(default_factory=list)  # what that one recorded since

    def use(self) -> NodeUse:
        """What it has used so far."""
        busy_s, throttled_s = self.busy_s, self.throttled_s
        if self.present is not None:
            life = self.present.life
            life.account()
            busy_s, throttled_s = busy_s + life.busy_s, throttled_s + life.throttled_s
        return NodeUse(busy_s, busy_s, throttled_s, memory_bytes=0, share=None, slowed_s=throttled_s)


class Simulation:
    """A substrate on the virtual clock; to be used on a `VirtualTimeLoop`. Needs nothing of the machine."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        self.can = SUBSTRATES["simulation"].can
        self._plan = plan
        self._directory = directory
        self._placed = {node.name: _Placed(node) for node in plan.nodes}
        self._begun = False
        self._from_s = 0.0
        self._goes = asyncio.Event()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualTimeLoop):
            raise TypeError(f"a simulation runs on a VirtualTimeLoop, not on {type(loop).__name__}")
        self._loop = loop
        self._said = Said(loop)
        self._collection = gc.get_threshold()
        gc.set_threshold(*COLLECTION)
        self._network = Network(self._plan, self._loop)
        self._board = Switchboard(self._network, self._plan.seed, self._lost)
        self._background = Background(self._plan, self._network, self._loop)
        return self

    async def __aexit__(self, *exc: object) -> None:
        for placed in self._placed.values():
            if placed.superseded is not None:
                await self.end_superseded(placed.planned)
            if placed.present is not None:
                self._end(placed, KILLED, asked=True)
        self._said.close()
        gc.set_threshold(*self._collection)

    def now(self) -> float:
        """Virtual seconds of the run; until time goes on, those at which it begins."""
        return self._loop.time() - self._network.epoch_s if self._begun else self._from_s

    async def sleep_until(self, t: float) -> None:
        """Wait until `now()` is t."""
        if not self._begun:
            await self._goes.wait()
        await asyncio.sleep(max(0.0, t - self.now()))

    async def start(self, node: PlannedNode) -> None:
        """Make the node's learner and runtime; if the run has begun it sets to work."""
        placed = self._placed[node.name]
        if placed.present is not None:
            raise RunBrokeError(f"{node.name} runs already: stop or kill it before it is started again")
        try:
            built = learner.build(node.spec)
        except UnfitError:
            raise  # the scenario asks for what does not fit together: nothing broke
        except Exception as error:
            mistake = plugins.find_mistake(error)
            if mistake is not None and not self._begun:
                raise UsageError(f"{node.name}: {mistake}") from error  # nothing has run
            why = mistake or in_words(error) or error
            raise RunBrokeError(f"{node.name}: its learner could not be built: {why}") from error
        built.network.tested.is_kept = True  # what a test costs is charged, however long it takes here
        life = Life(self._loop)
        life.slow(placed.factor)
        tell = partial(self._said.record, node.name)
        runtime = SimRuntime(node.spec, built, self._board, life, placed.disk, tell, partial(self._event, node))
        placed.present = _Present(life, runtime)
        runtime.listen()
        self._event(node, "ready")
        if self._begun:
            self._set_to_work(placed)

    async def begin(self, at_s: float = 0.0, first: Callable[[], Awaitable[Any]] | None = None) -> None:
        """All nodes set to work, at this virtual time."""
        self._from_s = at_s
        if first is not None:
            await first()
        self._begun = True
        self._network.begin(at_s)
        self._background.begin(at_s)
        self._goes.set()
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
            if placed.present is not present:
                return  # it has been superseded, and what becomes of it is no matter of the run's
            placed.last_words = plugins.last_words(error, self.now(), str(present.runtime.progress))
            self._event(node, "failed", error=traceback.format_exception_only(error)[-1].strip())
            present.task = None
            self._end(placed, 1, asked=False)
        else:
            if placed.present is present:
                self._event(node, "finished", reason=ending)

    async def ask(self, node: PlannedNode, command: dict[str, Any]) -> dict[str, Any]:
        """Give a node an order. Probes are refused: simulated links are what the plan says."""
        if command["do"] not in ORDERS:
            raise RunBrokeError(f"simulation: {node.name} cannot be asked to {command['do']!r}; 'ask' is not in `can`")
        return await ORDERS[command["do"]](self._living(self._placed[node.name]).runtime, command)

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
            self._event(node, "model", **fingerprint(present.runtime.learner))
        present.runtime.count_waiting()
        self._end(placed, 0, asked=True)

    async def kill(self, node: PlannedNode) -> str:
        """End all that the node does at once; its peers see its connections close."""
        placed = self._placed[node.name]
        if placed.present is None:
            return f"{node.name}: had ended before"
        connections = self._end(placed, KILLED, asked=True)
        return f"{node.name}: ended by signal 9, {connections} connections closed with it"

    async def terminate(self, node: PlannedNode, grace_s: float) -> str:
        """End its part of the algorithm, then the node, as SIGTERM does, once the checkpoint being written is."""
        placed = self._placed[node.name]
        present = placed.present
        if present is None:
            return f"{node.name}: had ended before"
        self._event(node, "told_to_end", signal=TERMINATED)
        if present.task is not None:
            present.task.cancel()
            await asyncio.gather(present.task, return_exceptions=True)
            present.task = None
        began_s = self.now()
        if not await present.runtime.has_saved(grace_s):
            self._end(placed, KILLED, asked=True)
            return f"{node.name}: lived on for its grace of {grace_s:g} s after SIGTERM and was killed"
        present.runtime.count_waiting()
        connections = self._end(placed, 128 + TERMINATED, asked=True)
        return (
            f"{node.name}: ended {self.now() - began_s:.3f} s after SIGTERM (exit status {128 + TERMINATED}), "
            f"within its grace of {grace_s:g} s; {connections} connections closed with it"
        )

    async def supersede(self, node: PlannedNode, after_s: float) -> str:
        """Freeze its life and begin another in its place."""
        placed = self._placed[node.name]
        old = self._living(placed)
        old.life.freeze()
        old.runtime.supersede(lambda *record: placed.tried.append(line_of(*record)))
        placed.superseded, placed.present = old, None
        placed.busy_s += old.life.busy_s
        placed.throttled_s += old.life.throttled_s
        self._said.put(NodeExit(node.name, STOPPED, True, ""))
        await asyncio.sleep(after_s)
        await self.start(node)
        return f"{node.name}: frozen, and another life has taken its place"

    async def release_superseded(self, node: PlannedNode) -> str:
        """Let the first life go on beside the other."""
        old = self._placed[node.name].superseded
        if old is None:
            raise RunBrokeError(f"{node.name} has no superseded life")
        old.life.thaw()
        return f"{node.name}: both live"

    async def end_superseded(self, node: PlannedNode) -> str:
        """End the first life; what it tried."""
        placed = self._placed[node.name]
        old, placed.superseded = placed.superseded, None
        if old is None:
            return f"{node.name}: has no superseded life"
        old.life.end()
        if old.task is not None:
            old.task.cancel()
        old.runtime.close()
        return attempts(node.name, placed.tried)

    def runs(self, node: PlannedNode) -> bool:
        """Whether it has a life now."""
        return self._placed[node.name].present is not None

    async def limit(self, node: PlannedNode, resource: Resource, most: int | None) -> str:
        """Its disk is modelled. What else there is belongs to the process of which all nodes are tasks: refused."""
        if resource == "disk":
            kept = self._placed[node.name].disk
            kept.full = most is not None
            return f"{node.name}: {'nothing more can be written' if kept.full else 'there is room again'}"
        raise RunBrokeError(f"simulation: {node.name} has no {resource} of its own to limit; not in `can`")

    async def tear(self, node: PlannedNode) -> str:
        """Lose its newest checkpoint."""
        return f"{node.name}: {self._placed[node.name].disk.tear()}"

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

    async def background(self) -> dict[str, tuple[int, int]]:
        """The part of it that is not the run's own."""
        return self._background.bytes_by_node()

    def metered(self, *_: object) -> AbstractAsyncContextManager[None]:
        """None: nothing of it is a machine."""
        return nullcontext()

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

    def _lost(self, sender: str, receiver: str, item: object) -> None:
        """A message will never be read: what no sender on a real network can know, its records say here."""
        if isinstance(item, Frame) and not item.is_untold:
            labels = {"kind": item.kind, "peer": receiver}
            present = self._placed[sender].present
            tell = partial(self._said.record, sender) if present is None else present.runtime.pass_on
            tell(self.now(), "lost_payload_bytes", item.size_bytes, labels)

    def _event(self, node: PlannedNode, event: str, **details: Any) -> None:
        line = json.dumps({"event": event, "t": self.now(), **details}, separators=(",", ":"))
        self._said.put(NodeLine(node.name, line))
