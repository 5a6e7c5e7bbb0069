"""Mininet: every node a real process in the network namespace of a Mininet host, on links that a shaper makes true.

    Mininet host (a shell that holds a namespace)  <- fork server forks the node, which enters namespace and group
        eb0, a TUN device  <->  fabric: moves each packet along the plan's directed links
    control group edgebed-<run>/<node>: CPU share, memory limit, freeze, kill

Nothing here outlives the orchestrator: shells end with their terminal, the fabric and the fork server with their
parent, nodes with the fork server, devices with the fabric; the janitor removes the control groups.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Self

from node_image.kernel import inside_network_of, network_of
from node_image.spec import NodeSpec
from orchestrator.errors import RunBrokeError
from orchestrator.journal import Journal
from orchestrator.links.shape import LinkShape
from orchestrator.plan import DirectedLink, Plan, PlannedNode
from orchestrator.receipt import Check
from orchestrator.substrates.base import LinkCount, NodeExit, NodeLine, NodeUse
from orchestrator.substrates.calibration import Calibration
from orchestrator.substrates.control_groups import ControlGroup, find_mounts
from orchestrator.substrates.networks import NETWORKS
from orchestrator.substrates.placed import Placed
from orchestrator.substrates.processes import ForkServer, NodeProcess

STARTS_AT_ONCE = 8
INIT_WITHIN_S = 120.0
STOP_WITHIN_S = 20.0
MEMORY_FLOOR_BYTES = 512 << 20  # torch's own pages alone pass a small board's memory: below this no limit is set


class MininetSubstrate:
    """Real processes and real packets on this machine. Needs root, /dev/net/tun and Mininet's mnexec."""

    def __init__(
        self, plan: Plan, directory: Path, run_id: str, secret: str, shaper: str, calibration: Calibration
    ) -> None:
        self.can = frozenset({"kill", "restart", "pause", "cpu", "shape", "block", "ask"})
        self._plan = plan
        self._directory = directory
        self._run_id = run_id
        self._secret = secret
        self._calibration = calibration
        self._stack = AsyncExitStack()
        self._server = ForkServer()
        self._shaper = shaper
        self._network = NETWORKS[shaper]()
        self._placed: dict[str, Placed] = {}
        self._output: asyncio.Queue[NodeLine | NodeExit | None] = asyncio.Queue()
        self._starting = asyncio.Semaphore(STARTS_AT_ONCE)
        self._begun_at: float | None = None
        self._facts: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            journal = stack.enter_context(Journal(self._directory))
            stack.callback(_janitor(self._directory))
            self._server.launch(self._directory / "fork_server.log")
            stack.callback(self._server.close)
            began = time.monotonic()
            hosts = self._lay(stack)
            self._facts["hosts_s"] = round(time.monotonic() - began, 3)
            mounts = find_mounts()
            for node in self._plan.nodes:
                group = ControlGroup(mounts, self._run_id, node.name, journal)
                stack.callback(group.remove)
                group.make()
                folder = self._directory / "nodes" / node.name
                folder.mkdir(parents=True, exist_ok=True)
                self._placed[node.name] = Placed(node, hosts[node.name], group, folder)
            stack.push_async_callback(self._network.close)
            await self._network.open(self._directory / "fabric.log")
            await self._server.ready()
            await self._server.load(self._plan.nodes[-1].spec)
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
        """Fork the node, let it build its learner, and if the run has begun set it to work."""
        placed = self._placed[node.name]
        async with self._starting:
            await self._start(placed, node.spec)

    async def _start(self, placed: Placed, spec: NodeSpec) -> None:
        process = NodeProcess(placed.node.name, placed.folder, self._output)  # type: ignore[arg-type]  # never sends None
        request = {
            "fork": placed.node.name,
            "spec": spec.to_json(),
            "netns_pid": placed.netns_pid,
            "cgroups": placed.group.procs(),
        }
        if placed.node.profile.memory_bytes >= MEMORY_FLOOR_BYTES:
            placed.group.set_memory(placed.node.profile.memory_bytes)
        await process.start(self._server, request)
        placed.live(process)
        init = {"do": "init", "run_id": self._run_id, "secret": self._secret, "state_dir": str(placed.folder / "state")}
        await process.init(init, INIT_WITHIN_S)
        if self._begun_at is not None:
            self._set_to_work(placed)

    async def begin(self) -> None:
        """Give every node its CPU share and the instant at which all set to work."""
        for placed in self._placed.values():
            if placed.process is not None and placed.node.profile.slowed:
                placed.share = await self._calibration.share(placed.node, placed.process)
            placed.begin()
        self._begun_at = time.monotonic() + 0.05 + 0.001 * len(self._placed)
        await self._network.epoch(self._begun_at)
        for placed in self._placed.values():
            self._set_to_work(placed)
        await asyncio.sleep(self._begun_at - time.monotonic())

    def _set_to_work(self, placed: Placed) -> None:
        placed.bound()
        if placed.process is not None:
            placed.process.tell({"do": "slow", "factor": placed.pace()})
            placed.process.tell({"do": "start", "start_at": self._begun_at})

    async def ask(self, node: PlannedNode, command: dict[str, Any]) -> dict[str, Any]:
        """Send a ready node a command and wait for its answer."""
        process = self._placed[node.name].process
        if process is None:
            raise RunBrokeError(f"{node.name} is not running: cannot ask it to {command['do']!r}")
        return await process.ask(command, float(command.get("within_s", 30.0)))

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
            placed.group.kill()
            await process.ended(STOP_WITHIN_S)
        await process.close()
        placed.process = None

    async def kill(self, node: PlannedNode) -> str:
        """Kill -9 of its whole control group."""
        placed = self._placed[node.name]
        process = placed.process
        if process is None or process.exited is None:
            return f"{node.name}: had ended before"
        process.asked_to_end = True
        placed.group.kill()
        if not await process.ended(5.0):
            raise RunBrokeError(f"{node.name} (pid {process.pid}) survived a kill for 5 s")
        placed.account()
        code = os.waitstatus_to_exitcode(await process.exited)
        await process.close()
        placed.process = None
        if code != -9:
            raise RunBrokeError(f"{node.name}: killed, but its exit was {code} and not signal 9")
        return f"{node.name}: pid {process.pid} ended by signal 9"

    async def pause(self, node: PlannedNode) -> str:
        """Freeze its control group; the kernel confirms."""
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
        """CPU and memory from the control groups: what the node has beside the pages it shares with the fork server."""
        return {name: placed.use() for name, placed in self._placed.items()}

    async def links(self) -> dict[str, LinkCount]:
        """Counters of the fabric."""
        return await self._network.counters()

    async def traffic(self) -> dict[str, list[tuple[int, int, int]]]:
        """0.1 s bins of the fabric."""
        return await self._network.traffic()

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
        lasted_s = self.now()
        waiting = [placed.waiting(lasted_s) for placed in self._placed.values()]
        return [*await self._network.fidelity(), *waiting]

    def _lay(self, stack: AsyncExitStack) -> dict[str, int]:
        """One Mininet host a node, and what the links need; returns the pid that holds each node's namespace."""
        from mininet.log import setLogLevel
        from mininet.net import Mininet

        setLogLevel("error")
        net = Mininet(controller=None, build=False, autoSetMacs=False)
        stack.callback(net.stop)
        hosts = {node.name: net.addHost(node.name, ip=None).pid for node in self._plan.nodes}
        self._facts["tcp_congestion_control"] = sorted({_without_pacing(pid) for pid in hosts.values()})
        addresses = {node.name: node.address for node in self._plan.nodes}
        self._network.lay(net, self._plan.links, self._plan.switches, addresses)
        return hosts

    async def _end_processes(self) -> None:
        """Kill whatever still runs (an interrupted run comes here with everything alive)."""
        for placed in self._placed.values():
            process = placed.process
            if process is not None:
                process.asked_to_end = True
                placed.group.kill()
        for placed in self._placed.values():
            if placed.process is not None:
                await placed.process.ended(5.0)
                await placed.process.close()
                placed.process = None


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


def _without_pacing(pid: int) -> str:
    """Give a namespace a congestion control that boards have: cubic, Linux's default, or reno if only that may be set.

    It would inherit this machine's, and BBR, for one, paces small messages: 10 kB over an RTT of 70 ms came 7 ms
    later. A namespace may only choose what the host's tcp_allowed_congestion_control lists. Returns what is in force.
    """
    namespace = network_of(pid)
    try:
        with inside_network_of(namespace):
            file = Path("/proc/sys/net/ipv4/tcp_congestion_control")
            for wanted in ("cubic", "reno"):
                with suppress(OSError):
                    file.write_text(wanted)
                    break
            return file.read_text().strip()
    finally:
        os.close(namespace)
