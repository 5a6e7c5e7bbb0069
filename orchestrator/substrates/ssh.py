"""ssh: nodes on physical boards, each reached by one SSH connection; links of the plan made by the fabric, or, with the
shaper netem, those out of a board by its own kernel.

    orchestrator -- SSH: JSON lines, one transport a board -- agent on the board -- stdin/stdout -- node
    fabric, which holds every directed link -- UDP to the board's data address -- agent -- eb0 in the node's namespace

Two nodes of which one is on a board speak to each other in TLS 1.3, by certificates of the run, unless the user says
`insecure`. The coordinator stays on this machine, behind an agent like the others', unless a board has its profile. All
that a run does to a board is a lease of its agent: whatever becomes of us, the board is as before within LEASE_S.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from node_image.meters import Metering
from node_image.records import Record
from orchestrator.boards.certificates import Authority
from orchestrator.boards.inventory import Inventory
from orchestrator.boards.kernel_links import KernelLinks
from orchestrator.boards.metering import BoardMeter, boards_metered
from orchestrator.boards.outfit import put_plugins, put_spec
from orchestrator.boards.placement import pairs_in_the_open, place, runs_at_its_own_speed
from orchestrator.boards.remote import KILL_WITHIN_S, Placed, on_our_clock
from orchestrator.boards.returns import Returns, connect, tunnels
from orchestrator.boards.station import Station
from orchestrator.errors import EdgebedError, RunBrokeError
from orchestrator.keys import RunKeys
from orchestrator.links.delay_line import DelayLine
from orchestrator.links.shape import LinkShape
from orchestrator.plan import DirectedLink, Plan, PlannedNode
from orchestrator.receipt import Check
from orchestrator.substrates import SUBSTRATES
from orchestrator.substrates.base import LinkCount, NodeExit, NodeLine, NodeUse, Resource
from orchestrator.substrates.calibration import Calibration
from orchestrator.substrates.superseded import NobodySuperseded

INIT_WITHIN_S = 300.0  # a small board takes its time over torch
STOP_WITHIN_S = 60.0
BEGIN_AHEAD_S = 0.25  # the nodes hear of the beginning so long before it
LATENESS_TOLERANCE_S = 0.005  # 99th percentile


class SshSubstrate(NobodySuperseded):
    """Real boards. Needs their inventory; this machine needs root only where nodes stay on it."""

    def __init__(
        self,
        plan: Plan,
        directory: Path,
        keys: RunKeys,
        boards: Inventory,
        shaper: str = "delay_line",
        *,
        insecure: bool = False,
    ) -> None:
        self.can = SUBSTRATES["ssh"].can
        self._plan = plan
        self._directory = directory
        self._keys = keys
        places = place(plan, boards.boards)
        self._in_the_open = pairs_in_the_open(plan, places)
        self._insecure = insecure
        self._authority: Authority | None = None
        self._stations = {board.name: Station(board, boards, keys.run_id) for board in places.values()}
        self._calibrations = {name: Calibration() for name in self._stations}
        self._output: asyncio.Queue[NodeLine | NodeExit | None] = asyncio.Queue()
        self._placed = {
            node.name: Placed(
                node,
                self._stations[places[node.name].name],
                runs_at_its_own_speed(node, places[node.name]),
                directory / "nodes" / node.name,
                self._output,
            )
            for node in plan.nodes
        }
        self._line = DelayLine()
        by_boards = plan.links if shaper == "netem" else ()
        self._kernel = KernelLinks(by_boards, {name: placed.station for name, placed in self._placed.items()})
        self._shaper = shaper
        self._stack = AsyncExitStack()
        self._begun_at: float | None = None
        self._meters: dict[str, BoardMeter] = {}
        self._returns = Returns(self._placed, self._line, self._kernel, self.now, self._start_again)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for station in self._stations.values():
                stack.push_async_callback(station.leave)
            await _together(station.enter() for station in self._stations.values())
            self._certify()
            stack.push_async_callback(self._line.close)
            ends = await tunnels(self._placed.values())
            links = self._kernel.left_to_fabric(self._plan.links)
            await self._line.open(links, ends, self._directory / "fabric.log")
            await connect(self._placed.values(), self._line)
            await self._kernel.lay(node.name for node in self._plan.nodes)
            for station in self._stations.values():
                station.on_lost = self._returns.lost
            stack.push_async_callback(self._end_processes)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            await self._stack.aclose()
        finally:
            self._output.put_nowait(None)

    def now(self) -> float:
        """Seconds since `begin`; before it, 0."""
        return 0.0 if self._begun_at is None else time.monotonic() - self._begun_at

    async def sleep_until(self, t: float) -> None:
        """Wait until `now()` is t."""
        await asyncio.sleep(max(0.0, t - self.now()))

    async def start(self, node: PlannedNode) -> None:
        """Start the node on its board, let it build its learner, and if the run has begun set it to work."""
        placed = self._placed[node.name]
        async with placed.turn:
            if placed.process is not None:
                return
            spec, initial = await put_spec(placed)
            listed = await put_plugins(placed.station, self._directory)
            state = await placed.start(spec, initial, listed)
            init = {"do": "init", **self._keys.new_life(node.spec), **self._tls(node), "state_dir": state}
            assert placed.process is not None, "it has just started"
            await placed.process.init(init, INIT_WITHIN_S)
            for resource, most in tuple(placed.limited.items()):
                await placed.limit(resource, most)
            if self._begun_at is not None:
                self._set_to_work(placed)

    async def begin(self, at_s: float = 0.0, first: Callable[[], Awaitable[Any]] | None = None) -> None:
        """Tell every node at which instant of its own clock to set to work. No run goes on here; not in `can`."""
        if at_s or first is not None:
            raise RunBrokeError("ssh: a run on boards cannot be gone on with; not in `can`")
        for placed in self._placed.values():
            if placed.process is not None and not placed.own_speed:
                calibration = self._calibrations[placed.station.board.name]
                placed.share = await calibration.share(placed.node, placed.process)
        slowest_s = max(station.offsets[-1].rtt_s for station in self._stations.values())
        self._begun_at = time.monotonic() + BEGIN_AHEAD_S + slowest_s
        await self._line.epoch(self._begun_at)
        for placed in self._placed.values():
            self._set_to_work(placed)
        await asyncio.sleep(self._begun_at - time.monotonic())

    def _set_to_work(self, placed: Placed) -> None:
        if placed.process is not None and self._begun_at is not None:
            placed.process.tell({"do": "slow", "factor": placed.pace()})
            placed.process.tell({"do": "start", "start_at": self._begun_at + placed.station.offsets[0].ahead_s})

    async def _start_again(self, station: Station, nodes: Sequence[PlannedNode]) -> None:
        """A lost board is back, and its links are laid."""
        for node in nodes:
            await self.start(node)
        if station.board.name in self._meters:
            await self._meters[station.board.name].start()

    async def ask(self, node: PlannedNode, command: dict[str, Any]) -> dict[str, Any]:
        """Send a ready node a command and wait for its answer."""
        process = self._placed[node.name].process
        if process is None:
            raise RunBrokeError(f"{node.name} is not running: cannot ask it to {command['do']!r}")
        return await process.ask(command, float(command.get("within_s", 30.0)))

    async def stop(self, node: PlannedNode) -> None:
        """Ask it to evaluate and end; kill it after a deadline."""
        self._returns.ending = True
        placed = self._placed[node.name]
        process = placed.process
        if process is None:
            return
        process.asked_to_end = True
        process.tell({"do": "stop", "evaluate": True})
        if not await process.ended(STOP_WITHIN_S):
            placed.notes.append(f"did not stop within {STOP_WITHIN_S:g} s and was killed")
            await placed.station.ask("kill", node=node.name)
            await process.ended(KILL_WITHIN_S)
        await placed.done()

    async def kill(self, node: PlannedNode) -> str:
        """Kill -9 of its whole session on the board."""
        return await self._placed[node.name].kill()

    async def terminate(self, node: PlannedNode, grace_s: float) -> str:
        """SIGTERM to its session on the board; kill -9 after the grace."""
        return await self._placed[node.name].terminate(grace_s)

    def runs(self, node: PlannedNode) -> bool:
        """Whether its process lives, as far as we have heard."""
        return self._placed[node.name].lives

    async def limit(self, node: PlannedNode, resource: Resource, most: int | None) -> str:
        """Limit its process on the board. Control groups it has none there, so memory and pids are refused."""
        return await self._placed[node.name].limit(resource, most)

    async def tear(self, node: PlannedNode) -> str:
        """Cut its newest checkpoint on the board in half."""
        station = self._placed[node.name].station
        return f"{node.name} on {station.board.name}: {(await station.ask('tear', node=node.name))['seen']}"

    async def pause(self, node: PlannedNode) -> str:
        """Stop all its tasks; the board's kernel confirms."""
        return await self._placed[node.name].freeze()

    async def resume(self, node: PlannedNode) -> str:
        """Let it go on; says how much CPU it used meanwhile."""
        return await self._placed[node.name].thaw()

    async def slow(self, node: PlannedNode, factor: float) -> str:
        """Have it pace its work; the node confirms."""
        return await self._placed[node.name].slow(factor)

    async def shape(self, link: DirectedLink, shape: LinkShape, *, up: bool = True) -> str:
        """Change a link, in its board's kernel or in the fabric; up or down it is in the fabric."""
        if link not in self._kernel:
            return await self._line.shape(link, shape, up)
        seen = await self._kernel.shape(link, shape)
        return f"{seen}; {await self._line.shape(link, LinkShape(), up)}"

    async def block(self, pairs: frozenset[tuple[str, str]]) -> str:
        """Block exactly these pairs in the fabric."""
        return await self._line.block(pairs)

    async def uses(self) -> dict[str, NodeUse]:
        """CPU and memory as each board's kernel counts them."""
        asked = await asyncio.gather(
            *(station.ask("uses") for station in self._stations.values()), return_exceptions=True
        )
        for found in asked:
            if isinstance(found, dict):
                for name, use in found.items():
                    self._placed[name].saw(use)
        return {name: placed.use() for name, placed in self._placed.items()}

    async def links(self) -> dict[str, LinkCount]:
        """Counters of the fabric, and of the boards' kernels where they make the link."""
        return await self._kernel.counted(await self._line.counters())

    async def background(self) -> dict[str, tuple[int, int]]:
        """None: preflight refuses it."""
        return {}

    async def traffic(self) -> dict[str, list[tuple[int, int, int]]]:
        """0.1 s bins of the fabric."""
        return await self._line.traffic()

    def metered(
        self, record: Callable[[Record], None], ended: Callable[[Metering], None], /
    ) -> AbstractAsyncContextManager[None]:
        """The meters that the inventory names, each read on its board."""
        named = [station for station in self._stations.values() if station.board.meter is not None]
        self._meters = {station.board.name: BoardMeter(station, self.now, record) for station in named}
        return boards_metered(self._meters.values(), ended)

    async def output(self) -> AsyncIterator[NodeLine | NodeExit]:
        """Lines and exits of all nodes; times as our clock has them."""
        while (item := await self._output.get()) is not None:
            if isinstance(item, NodeLine):
                later_s = self._placed[item.node].station.later_s()
                item = replace(item, line=on_our_clock(item.line, later_s))
            elif item.node in self._placed and not item.asked:
                await self._placed[item.node].done()
            yield item

    async def collect(self, node: PlannedNode, into: Path) -> None:
        """Bring its stderr and checkpoints; what a lost board holds stays there until its lease is over."""
        with suppress(RunBrokeError):
            await self._placed[node.name].station.fetch(node.name, into)

    def facts(self) -> dict[str, Any]:
        """How it was made true."""
        calibration: dict[str, Any] = {}
        for each in self._calibrations.values():
            calibration |= each.found()
        notes = {name: placed.notes for name, placed in self._placed.items() if placed.notes}
        return {
            "shaper": self._shaper,
            "encryption": self._encryption(),
            "made_by_boards": self._kernel.facts(),
            "places": {name: placed.station.board.name for name, placed in self._placed.items()},
            "boards": {name: station.to_json() for name, station in self._stations.items()},
            "cpu_shares": {name: placed.share for name, placed in self._placed.items()},
            "calibration": calibration,
            "notes": notes | ({"boards": self._returns.notes} if self._returns.notes else {}),
        }

    async def fidelity(self) -> list[Check]:
        """How late the fabric delivered, and what it fetched too late or could not deliver."""
        late, missed = await self._line.lateness(), await self._line.missed()
        lost = sum(missed.unread.values()) + missed.refused
        ok = late.p99_s <= LATENESS_TOLERANCE_S
        return [
            Check("lateness_p99_s", "fabric", 0.0, late.p99_s, LATENESS_TOLERANCE_S, ok),
            Check(
                "packets_missed", "fabric", 0.0, float(lost), 0.0, lost == 0, "fetched too late, or a board was away"
            ),
        ]

    def _certify(self) -> None:
        """Make what signs the nodes' certificates, valid by the clock of every board."""
        if self._in_the_open and not self._insecure:
            ahead_s = max(station.offsets[-1].wall_ahead_s for station in self._stations.values())
            self._authority = Authority.for_run(self._keys.run_id, self._plan.stop_after_s, ahead_s)

    def _tls(self, node: PlannedNode) -> dict[str, Any]:
        """What a process that begins to be this node must know to encrypt what leaves this machine."""
        peers = {peer for pair in self._in_the_open if node.name in pair for peer in pair - {node.name}}
        return {} if self._authority is None or not peers else {"tls": self._authority.told(node.name, peers)}

    def _encryption(self) -> str:
        pairs = f"{len(self._in_the_open)} pairs of nodes" if len(self._in_the_open) != 1 else "1 pair of nodes"
        if not self._in_the_open:
            return "none needed: no message leaves this machine"
        return (
            f"insecure: none between {pairs} on the boards' network" if self._insecure else f"TLS 1.3 between {pairs}"
        )

    async def _end_processes(self) -> None:
        """Kill whatever still runs (an interrupted run comes here with everything alive)."""
        await self._returns.close()
        for placed in self._placed.values():
            if placed.process is not None:
                placed.process.asked_to_end = True
                with suppress(RunBrokeError):
                    await placed.station.ask("kill", node=placed.node.name)
                placed.lose("killed at the end of the run")
                await placed.done()


async def _together(jobs: Iterable[Awaitable[None]]) -> None:
    """All at once; when all have ended, every failure is told."""
    ended = await asyncio.gather(*jobs, return_exceptions=True)
    wrong = [each for each in ended if isinstance(each, BaseException)]
    if len(wrong) > 1 and all(isinstance(each, EdgebedError) for each in wrong):
        raise RunBrokeError("\n".join(map(str, wrong)))
    if wrong:
        raise wrong[0]
