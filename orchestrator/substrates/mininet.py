"""Mininet: every node in the network namespace of a Mininet host, on links that a shaper makes true.

    Mininet host (a shell that holds a namespace)  <- fork server forks the node, which enters namespace and group
        eb0, a TUN device  <->  fabric: moves each packet along the plan's directed links
    control group edgebed-<run>/<node>: CPU share, memory limit, freeze, kill

That is a node as a process. It may be a container instead, each group of devices as the scenario says or all of them
(substrate: docker); hosting.py and docker.py have what differs.

Nothing here outlives the orchestrator: shells end with their terminal, the fabric and the fork server with their
parent, nodes with the fork server, devices with the fabric; the janitor removes control groups and containers.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

from node_image import checkpoint
from node_image.kernel import inside_network_of, network_of
from orchestrator.errors import RunBrokeError
from orchestrator.journal import Journal
from orchestrator.keys import RunKeys
from orchestrator.links.shape import LinkShape
from orchestrator.plan import DirectedLink, HostKind, Plan, PlannedNode
from orchestrator.receipt import Check
from orchestrator.substrates import SUBSTRATES, limits
from orchestrator.substrates.background import BackgroundTraffic
from orchestrator.substrates.base import LinkCount, NodeExit, NodeLine, NodeUse, Resource
from orchestrator.substrates.calibration import Calibration
from orchestrator.substrates.hosting import Hosting, ProcessHosting
from orchestrator.substrates.networks import NETWORKS
from orchestrator.substrates.placed import Placed
from orchestrator.substrates.processes import Output
from orchestrator.substrates.superseding import Superseding
from orchestrator.workload.hosting import ProgramHosting, prepare

STARTS_AT_ONCE = 8
INIT_WITHIN_S = 120.0
STOP_WITHIN_S = 20.0
SHORTEST_TIMEOUT = Path("/proc/sys/net/ipv4/tcp_rto_min_us")
SHORTEST_TIMEOUT_US = 200_000  # Linux's own (TCP_RTO_MIN)


class MininetSubstrate:
    """Real processes and real packets on this machine. Needs root, /dev/net/tun and Mininet's mnexec.

    `host` is what nodes live in for which the plan does not say it.
    """

    def __init__(
        self,
        plan: Plan,
        directory: Path,
        keys: RunKeys,
        shaper: str,
        calibration: Calibration,
        host: HostKind = "process",
    ) -> None:
        self.can = SUBSTRATES["mininet"].can
        self._plan = plan
        self._directory = directory
        self._slow_down = plan.slow_down  # real seconds in one of the run's
        self._keys = keys
        self._calibration = calibration
        self._stack = AsyncExitStack()
        self._host = host
        self._hostings: dict[str, Hosting] = {}
        self._shaper = shaper
        self._network = NETWORKS[shaper](plan.slow_down)
        self._background = BackgroundTraffic(plan)
        self._placed: dict[str, Placed] = {}
        self._superseding = Superseding()
        self._output: Output = asyncio.Queue()
        self._starting = asyncio.Semaphore(STARTS_AT_ONCE)
        self._begun_at: float | None = None
        self._from_s = 0.0  # when in the run it began: later than 0 where it goes on with one that was killed
        self._goes = asyncio.Event()
        self._facts: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.callback(_janitor(self._directory))  # ended after the journal is closed: it waits for that
            journal = stack.enter_context(Journal(self._directory))
            await self._open_hostings(stack, journal)
            began = time.monotonic()
            pids = self._lay(stack)
            self._facts["hosts_s"] = round(time.monotonic() - began, 3)
            for node in self._plan.nodes:
                folder = self._directory / "nodes" / node.name
                self._placed[node.name] = Placed(node, pids[node.name], self._hosting(node).group(node), folder)
            stack.push_async_callback(self._network.close)
            await self._network.open(self._directory / "fabric.log")
            stack.push_async_callback(self._background.close)
            await self._background.open(pids, self._directory / "traffic.log")
            for hosting in self._hostings.values():
                await hosting.ready()
                self._facts |= await hosting.facts()
            stack.push_async_callback(self._end_processes)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            await self._stack.aclose()
        finally:
            self._output.put_nowait(None)

    def now(self) -> float:
        """Seconds of the run; until time goes on, those at which it began."""
        if self._begun_at is None:
            return self._from_s
        return max(self._from_s, (time.monotonic() - self._begun_at) / self._slow_down)

    async def sleep_until(self, t: float) -> None:
        """Wait until `now()` is t."""
        await self._goes.wait()
        await asyncio.sleep(max(0.0, t - self.now()) * self._slow_down)

    async def start(self, node: PlannedNode) -> None:
        """Begin a life of the node, let it build its learner, and if the run has begun set it to work."""
        async with self._starting:
            await self._start(self._placed[node.name])

    async def _start(self, placed: Placed) -> None:
        await placed.bury()  # a life that ended by itself
        limits.release(placed)
        hosting, namespace = self._hosting(placed.node), placed.netns_pid
        placed.group.set_share(None)  # to load is no work of the device's; with its share it took seconds
        process = await hosting.live(placed)
        placed.live(process)
        if placed.netns_pid != namespace:
            _like_boards(placed.netns_pid, self._slow_down)
            await self._network.attach(placed.node.name, placed.netns_pid)
            await self._background.attach(placed.node.name, placed.netns_pid)
        state_dir = hosting.state_dir(placed)
        init = {"do": "init", **self._keys.new_life(placed.node.spec), "state_dir": state_dir}
        await process.init(init, INIT_WITHIN_S)
        await limits.renew(placed)
        if self._begun_at is not None:
            placed.begin()
            self._set_to_work(placed)

    async def begin(self, at_s: float = 0.0, first: Callable[[], Awaitable[Any]] | None = None) -> None:
        """Give every node its CPU share and the instant at which all set to work.

        Of a run that goes on, the instant at which it would have begun: clocks, links and traffic need no more.
        """
        self._from_s = at_s
        for placed in self._placed.values():
            if placed.node.workload is not None:
                placed.share = placed.node.workload.share
            elif placed.process is not None and placed.node.profile.slowed:
                placed.share = await self._calibration.share(placed.node, placed.process)
        await prepare(self._placed.values())
        for placed in self._placed.values():
            placed.begin()
        if first is not None:
            await first()
        goes_at = time.monotonic() + 0.05 + 0.001 * len(self._placed)
        self._begun_at = begun_at = goes_at - at_s * self._slow_down
        await self._network.epoch(begun_at)
        await self._background.epoch(begun_at, at_s)
        self._goes.set()
        if at_s > 0.0:  # a node sets to work at once where its run has begun before
            await asyncio.sleep(goes_at - time.monotonic())
        for placed in self._placed.values():
            self._set_to_work(placed)
        await asyncio.sleep(goes_at - time.monotonic())

    def _set_to_work(self, placed: Placed) -> None:
        placed.bound()
        if placed.process is not None:
            if placed.node.workload is None:
                placed.process.tell({"do": "slow", "factor": placed.pace()})
            placed.process.tell({"do": "start", "start_at": self._begun_at})

    async def ask(self, node: PlannedNode, command: dict[str, Any]) -> dict[str, Any]:
        """Send a ready node a command and wait for its answer."""
        process = self._placed[node.name].process
        if process is None:
            raise RunBrokeError(f"{node.name} is not running: cannot ask it to {command['do']!r}")
        return await process.ask(command, float(command.get("within_s", 30.0)) * self._slow_down)

    async def stop(self, node: PlannedNode) -> None:
        """Ask it to evaluate and end; kill it after a deadline. The CPU share is lifted: the clock has stopped."""
        placed = self._placed[node.name]
        process = placed.process
        if process is None:
            return
        placed.account()
        placed.group.set_share(None)
        process.asked_to_end = True
        process.tell({"do": "stop", "evaluate": True})
        if not await process.ended(STOP_WITHIN_S):
            placed.notes.append(f"did not stop within {STOP_WITHIN_S:g} s and was killed")
            await placed.group.kill()
            await process.ended(STOP_WITHIN_S)
        elif placed.node.workload is not None:
            await placed.group.kill()  # what its programs left running in sessions of their own
        await process.close()
        placed.process = None

    async def kill(self, node: PlannedNode) -> str:
        """Kill -9 of all its processes."""
        placed = self._placed[node.name]
        process = placed.process
        if process is None or not placed.lives:
            await placed.bury()
            return f"{node.name}: had ended before"
        process.asked_to_end = True
        placed.account()
        code = await placed.bury()
        if code != -9:
            raise RunBrokeError(f"{node.name}: killed, but its exit was {code} and not signal 9")
        return f"{node.name}: pid {process.pid} ended by signal 9"

    async def terminate(self, node: PlannedNode, grace_s: float) -> str:
        """SIGTERM to its process, which passes it on to its programs; kill -9 of all that is left after the grace."""
        return await self._placed[node.name].terminate(grace_s)

    def runs(self, node: PlannedNode) -> bool:
        """Whether its process lives."""
        return self._placed[node.name].lives

    async def limit(self, node: PlannedNode, resource: Resource, most: int | None) -> str:
        """Limit it by its control groups or by resource limits of its processes."""
        return await limits.limit(self._placed[node.name], resource, most)

    async def supersede(self, node: PlannedNode, after_s: float) -> str:
        """SIGSTOP its process and fork another in its place."""
        return await self._superseding.supersede(self._placed[node.name], after_s * self._slow_down, self.start)

    async def release_superseded(self, node: PlannedNode) -> str:
        """SIGCONT to the first process."""
        return await self._superseding.release(node.name)

    async def end_superseded(self, node: PlannedNode) -> str:
        """Kill the first process; what it tried, from its own records."""
        return await self._superseding.end(node.name)

    async def tear(self, node: PlannedNode) -> str:
        """Cut its newest checkpoint in half."""
        return f"{node.name}: {checkpoint.tear(self._placed[node.name].folder / 'state')}"

    async def pause(self, node: PlannedNode) -> str:
        """Freeze all its processes; the kernel confirms."""
        return await self._placed[node.name].freeze()

    async def resume(self, node: PlannedNode) -> str:
        """Thaw it; says how much CPU it used while frozen."""
        return await self._placed[node.name].thaw()

    async def slow(self, node: PlannedNode, factor: float) -> str:
        """Scale its speed and the bound of its CPU."""
        return await self._placed[node.name].slow(factor)

    async def shape(self, link: DirectedLink, shape: LinkShape, *, up: bool = True) -> str:
        """Change a link in the fabric."""
        return await self._network.shape(link, shape, up)

    async def block(self, pairs: frozenset[tuple[str, str]]) -> str:
        """Block exactly these pairs in the fabric."""
        return await self._network.block(pairs)

    async def uses(self) -> dict[str, NodeUse]:
        """CPU and memory from the control groups. A process has memory beside what it shares with the fork server."""
        return {name: placed.use() for name, placed in self._placed.items()}

    async def links(self) -> dict[str, LinkCount]:
        """Counters of the fabric."""
        return await self._network.counters()

    async def traffic(self) -> dict[str, list[tuple[int, int, int]]]:
        """0.1 s bins of the fabric."""
        return await self._network.traffic()

    async def background(self) -> dict[str, tuple[int, int]]:
        """Counters of the player."""
        return await self._background.bytes_by_node()

    def metered(self, *_: object) -> AbstractAsyncContextManager[None]:
        """None: its machine is the orchestrator's, which `--meter` reads."""
        return nullcontext()

    async def output(self) -> AsyncIterator[NodeLine | NodeExit]:
        """Lines and exits of all nodes, in the order in which they were read."""
        while (item := await self._output.get()) is not None:
            yield item

    async def collect(self, node: PlannedNode, into: Path) -> None:
        """Nodes write into the run directory itself: nothing to bring."""

    def facts(self) -> dict[str, Any]:
        """How it was made true."""
        shares = {name: placed.share for name, placed in self._placed.items()}
        notes = {name: placed.notes for name, placed in self._placed.items() if placed.notes}
        return {
            "shaper": self._shaper,
            "cpu_shares": shares,
            "calibration": self._calibration.found(),
            "notes": notes,
            **self._facts,
        }

    async def fidelity(self) -> list[Check]:
        """What the network watched of itself; how long nodes waited for a CPU beyond their share."""
        lasted_s = self.now() - self._from_s
        waiting = [placed.waiting(lasted_s) for placed in self._placed.values()]
        return [*await self._network.fidelity(), *await self._background.fidelity(), *waiting]

    async def _open_hostings(self, stack: AsyncExitStack, journal: Journal) -> None:
        """Have nodes of each kind that there is set to load: processes first, whose server does so by itself."""
        nodes: dict[HostKind, list[PlannedNode]] = {"process": [], "container": []}
        for node in self._plan.nodes:
            folder = self._directory / "nodes" / node.name
            folder.mkdir(parents=True, exist_ok=True)
            nodes[node.host or self._host].append(node)
        for kind, hosted in nodes.items():
            if hosted:
                hosting = _hosting_of(kind) if self._plan.workload is None else partial(ProgramHosting, self._plan)
                self._hostings[kind] = hosting(self._directory, self._keys.run_id, journal, self._output)
                await self._hostings[kind].open(tuple(hosted), stack)

    def _hosting(self, node: PlannedNode) -> Hosting:
        return self._hostings[node.host or self._host]

    def _lay(self, stack: AsyncExitStack) -> dict[str, int]:
        """One Mininet host a node, and what the links need; returns the pid that holds each node's namespace."""
        from mininet.log import setLogLevel
        from mininet.net import Mininet

        setLogLevel("error")
        net = Mininet(controller=None, build=False, autoSetMacs=False)
        stack.callback(net.stop)
        hosts = {node.name: self._hosting(node).add_host(net, node) for node in self._plan.nodes}
        self._facts["tcp_congestion_control"] = sorted({_like_boards(pid, self._slow_down) for pid in hosts.values()})
        addresses = {node.name: node.address for node in self._plan.nodes}
        self._network.lay(net, self._plan.links, self._plan.switches, addresses)
        return hosts

    async def _end_processes(self) -> None:
        """Kill whatever still runs (an interrupted run comes here with everything alive)."""
        await self._superseding.end_all()
        for placed in self._placed.values():
            process = placed.process
            if process is not None:
                process.asked_to_end = True
                await placed.group.kill()
        for placed in self._placed.values():
            if placed.process is not None:
                await placed.process.ended(5.0)
                await placed.process.close()
                placed.process = None


def _hosting_of(kind: HostKind) -> Callable[[Path, str, Journal, Output], Hosting]:
    if kind == "process":
        return ProcessHosting
    from orchestrator.substrates.docker import ContainerHosting

    return ContainerHosting


def _janitor(directory: Path) -> Any:
    """Start the janitor; returns what ends it: closing the pipe that it waits on."""
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator.janitor", str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=Path(__file__).parents[2],
    )

    def end() -> None:
        if process.stdin is not None:
            process.stdin.close()
        process.wait(15)

    return end


def _like_boards(pid: int, slow_down: float) -> str:
    """Give a namespace a congestion control that boards have: cubic, Linux's default, or reno if only that may be set.

    It would inherit this machine's, and BBR, for one, paces small messages: 10 kB over an RTT of 70 ms came 7 ms
    later. A namespace may only choose what the host's tcp_allowed_congestion_control lists. Returns what is in force.

    Where the run is slowed, so is TCP's shortest time-out, which else would come too early; kernels before 6.11 have
    no such setting.
    """
    namespace = network_of(pid)
    try:
        with inside_network_of(namespace):
            file = Path("/proc/sys/net/ipv4/tcp_congestion_control")
            for wanted in ("cubic", "reno"):
                with suppress(OSError):
                    file.write_text(wanted)
                    break
            if slow_down != 1 and SHORTEST_TIMEOUT.exists():
                SHORTEST_TIMEOUT.write_text(str(round(SHORTEST_TIMEOUT_US * slow_down)))
            return file.read_text().strip()
    finally:
        os.close(namespace)
