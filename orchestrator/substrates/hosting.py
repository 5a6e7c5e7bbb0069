"""Ways to host nodes on this machine. A run may mix them: what they share is the network and the levers.

A process is forked by a server that holds torch loaded, and enters a Mininet host and control groups of ours. A
container (docker.py) is started by an engine with a namespace and control groups of its own.
"""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from node_image import plugins
from orchestrator.journal import Journal
from orchestrator.plan import PlannedNode
from orchestrator.substrates.control_groups import ControlGroup, find_mounts
from orchestrator.substrates.placed import Group, Placed
from orchestrator.substrates.processes import ForkServer, NodeProcess, Output

if TYPE_CHECKING:
    from mininet.net import Mininet

MEMORY_FLOOR_BYTES = 512 << 20  # torch's own pages alone pass a small board's memory: below this no limit is set


def memory_limit(node: PlannedNode) -> int | None:
    """The memory limit of a node: its device's memory, or None where torch itself would not fit."""
    size_bytes = node.profile.memory_bytes
    return size_bytes if size_bytes >= MEMORY_FLOOR_BYTES else None


class Hosting(Protocol):
    """One way to host nodes. `open` first; what undoes it is left on the stack given to it."""

    async def open(self, nodes: tuple[PlannedNode, ...], stack: AsyncExitStack) -> None:
        """Set to work on what takes long, before the network is laid."""

    def add_host(self, net: "Mininet", node: PlannedNode) -> int:
        """Add the node's host to the network; returns a pid that holds its namespace."""

    def group(self, node: PlannedNode) -> Group:
        """What bounds and measures the node."""

    async def ready(self) -> None:
        """Wait until nodes can live. Raises UsageError where the scenario asks for what the data lack."""

    async def live(self, placed: Placed) -> NodeProcess:
        """Begin a life of the node: its process runs and can be spoken to. Its namespace may be another one then."""

    def state_dir(self, placed: Placed) -> str:
        """Where the node keeps its checkpoint, as the node itself calls it."""

    async def facts(self) -> dict[str, Any]:
        """How it was made true: goes into environment.json."""


class ProcessHosting:
    """Nodes as processes of this machine, each in a Mininet host of its own."""

    def __init__(self, directory: Path, run_id: str, journal: Journal, output: Output) -> None:
        self._directory = directory
        self._run_id = run_id
        self._journal = journal
        self._output = output
        self._server = ForkServer()
        self._nodes: tuple[PlannedNode, ...] = ()
        self._groups: dict[str, ControlGroup] = {}

    async def open(self, nodes: tuple[PlannedNode, ...], stack: AsyncExitStack) -> None:
        """Launch the fork server and make the control groups."""
        self._nodes = nodes
        self._server.launch(self._directory / "fork_server.log", self._loads())
        stack.callback(self._server.close)
        mounts = find_mounts()
        for node in nodes:
            group = self._groups[node.name] = ControlGroup(mounts, self._run_id, node.name, self._journal)
            stack.callback(group.remove)
            group.make()

    def add_host(self, net: "Mininet", node: PlannedNode) -> int:
        """A Mininet host: a shell that holds a namespace."""
        return int(net.addHost(node.name, ip=None).pid)

    def group(self, node: PlannedNode) -> Group:
        """Its control groups, made by us."""
        return self._groups[node.name]

    async def ready(self) -> None:
        """Wait for the fork server and the data that all its nodes share."""
        await self._server.ready()
        await self._server.load(self._nodes[-1].spec)

    async def live(self, placed: Placed) -> NodeProcess:
        """Fork it."""
        node, group = placed.node, self._groups[placed.node.name]
        limit_bytes = memory_limit(node)
        if limit_bytes is not None:
            group.set_memory(limit_bytes)
        request = {
            "fork": node.name,
            "spec": node.spec.to_json(),
            "netns_pid": placed.netns_pid,
            "cgroups": group.procs(),
            **self._more_for(placed),
        }
        process = NodeProcess(node.name, placed.folder, self._output)
        await process.start(self._server, request)
        return process

    def _loads(self) -> tuple[str, ...]:
        """What the fork server is told to load, beside what every node needs: the run's plug-ins, if it has any."""
        listed = self._directory / plugins.LIST
        return (str(listed),) if listed.is_file() else ()

    def _more_for(self, placed: Placed) -> dict[str, Any]:
        """What a fork is told beside its spec and where to live."""
        return {}

    def state_dir(self, placed: Placed) -> str:
        """In the run directory."""
        return str(placed.folder / "state")

    async def facts(self) -> dict[str, Any]:
        """Nothing that the run does not say anyway."""
        return {}
