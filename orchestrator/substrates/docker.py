"""Nodes in containers, as hosts of the same Mininet network as nodes in processes.

    container (Docker engine): python -m node_image, no network, no capability, read-only but for its state
        its namespace <- eb0, put there from outside     its control groups <- CPU share, meters
    Mininet host: a shell outside the container, in its network alone, so that an image needs no tools

A container lives as long as its node's process. One that crashed comes back as a new container with a new namespace,
and the network gives it new devices. Nothing outlives the orchestrator: a container's stdin ends with us, which ends
its node, and the janitor removes what bears the run's label.
"""

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mininet.node import Host

from node_image import plugins
from orchestrator.errors import RunBrokeError
from orchestrator.hosts.attached import Attached
from orchestrator.hosts.container import USER, Engine, Mount, Running, Wanted, engine_address
from orchestrator.journal import Journal
from orchestrator.plan import PlannedNode
from orchestrator.substrates.container_group import ContainerGroup
from orchestrator.substrates.control_groups import find_mounts
from orchestrator.substrates.hosting import memory_limit
from orchestrator.substrates.placed import Group, Placed
from orchestrator.substrates.processes import NodeProcess, Output, fail, last_lines, settle

if TYPE_CHECKING:
    from mininet.net import Mininet

SPEC = "/run/edgebed/spec.json"
PLUGINS = "/run/edgebed"
STATE = "/run/edgebed/state"


class ContainerHost(Host):  # type: ignore[misc]  # Mininet has no types
    """A Mininet host in the network of a container. `container_pid`: a process in it; it becomes the host's pid."""

    def __init__(self, name: str, container_pid: int, **params: Any) -> None:
        self._container_pid = container_pid
        super().__init__(name, inNamespace=False, **params)

    def startShell(self, mnopts: str | None = None) -> None:  # Mininet's name
        """Start the shell outside the container; only its network is entered."""
        super().startShell(mnopts)
        self.pid = self._container_pid

    def _popen(self, cmd: list[str], **params: Any) -> Any:
        return super()._popen(["nsenter", f"--net=/proc/{self._container_pid}/ns/net", *cmd], **params)


@dataclass(frozen=True)
class _Life:
    """A container that runs, and how to speak to it."""

    running: Running
    stdin: int
    stdout: int
    exited: "asyncio.Future[int]"


class ContainerHosting:
    """Nodes as containers of this machine's Docker engine; see `hosting.Hosting`."""

    def __init__(self, directory: Path, run_id: str, journal: Journal, output: Output) -> None:
        self._directory = directory
        self._run_id = run_id
        self._journal = journal
        self._output = output
        self._engine = Engine(run_id, engine_address())
        self._groups: dict[str, ContainerGroup] = {}
        self._lives: dict[str, int] = {}
        self._born: dict[str, _Life] = {}  # started, not yet taken up by `live`
        self._watching: set[asyncio.Task[None]] = set()

    async def open(self, nodes: tuple[PlannedNode, ...], stack: AsyncExitStack) -> None:
        """Start every node's container, several at once; each loads torch when it is told to build its learner."""
        mounts = find_mounts()
        self._groups = {node.name: ContainerGroup(self._engine, mounts) for node in nodes}
        self._journal.make("containers", f"{self._engine.address} {self._run_id}")
        stack.push_async_callback(self._close)
        self._engine.open()
        for failed in await asyncio.gather(*(self._bear(node) for node in nodes), return_exceptions=True):
            if isinstance(failed, BaseException):
                raise failed

    def add_host(self, net: "Mininet", node: PlannedNode) -> int:
        """Have the container's network as a host."""
        pid = self._born[node.name].running.pid
        if not Path(f"/proc/{pid}").exists():
            words = last_lines(self._folder(node) / "stderr")
            raise RunBrokeError(f"{node.name}: its container ended as soon as it was started; last words:\n{words}")
        return int(net.addHost(node.name, cls=ContainerHost, ip=None, container_pid=pid).pid)

    def group(self, node: PlannedNode) -> Group:
        """The engine's."""
        return self._groups[node.name]

    async def ready(self) -> None:
        """Containers get ready by themselves."""

    async def live(self, placed: Placed) -> NodeProcess:
        """Take up the container that was started first, or start another."""
        name = placed.node.name
        life = self._born.pop(name, None) or await self._start(placed.node)
        placed.netns_pid = life.running.pid
        process = NodeProcess(name, placed.folder, self._output)
        await process.adopt(life.running.pid, life.exited, life.stdin, life.stdout)
        return process

    def state_dir(self, placed: Placed) -> str:
        """A folder of the run directory, by the name that it has inside."""
        return STATE

    async def facts(self) -> dict[str, Any]:
        """The engine and the image."""
        return {"containers": await self._engine.facts()}

    def _folder(self, node: PlannedNode) -> Path:
        return self._directory / "nodes" / node.name

    async def _bear(self, node: PlannedNode) -> None:
        self._born[node.name] = await self._start(node)

    async def _start(self, node: PlannedNode) -> _Life:
        life = self._lives[node.name] = self._lives.get(node.name, 0) + 1
        running = await self._engine.start(self._wanted(node, life))
        self._groups[node.name].enter(running)
        stderr = self._folder(node) / "stderr"
        stdin, stdout, output = await Attached(running.stream, stderr).open()
        exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        watching = asyncio.create_task(self._watch(running, stderr, output, exited), name=f"end of {running.name}")
        self._watching.add(watching)
        watching.add_done_callback(self._watching.discard)
        return _Life(running, stdin, stdout, exited)

    async def _watch(
        self, running: Running, stderr: Path, output: "asyncio.Task[None]", exited: "asyncio.Future[int]"
    ) -> None:
        """Tell the container's end, then remove what is left of it."""
        await output
        try:
            ended = await self._engine.wait(running)
            if ended.over_memory:
                with stderr.open("a", encoding="utf-8") as words:
                    words.write("killed by the kernel: it wanted more memory than its device has\n")
            settle(exited, ended.status)
        except RunBrokeError as error:
            fail([exited], error)
            return
        await self._engine.remove(running)

    def _wanted(self, node: PlannedNode, life: int) -> Wanted:
        folder, command = self._folder(node), [SPEC]
        spec, state = folder / "spec.json", folder / "state"
        spec.write_text(node.spec.to_json(), encoding="utf-8")
        state.mkdir(mode=0o700, exist_ok=True)
        os.chown(state, USER, USER)
        mounts = [Mount(spec, SPEC), Mount(state, STATE, writable=True)]
        readable = [spec]
        if (listed := self._directory / plugins.LIST).is_file():
            copies = self._directory / plugins.FOLDER
            mounts += [Mount(listed, f"{PLUGINS}/{plugins.LIST}"), Mount(copies, f"{PLUGINS}/{plugins.FOLDER}")]
            readable += [listed, *copies.iterdir()]
            command.append(f"{PLUGINS}/{plugins.LIST}")
        for each in readable:
            each.chmod(0o644)  # whatever our umask: the container's user is nobody
        for named in (node.spec.task.data_dir, node.spec.initial):
            if named is not None:
                mounts.append(Mount(Path(named), named))
        cores = min(node.profile.cores, os.cpu_count() or 1)
        name = f"edgebed-{self._run_id}-{node.name}-{life}"
        return Wanted(name, node.name, tuple(command), tuple(mounts), memory_limit(node), cores)

    async def _close(self) -> None:
        """Remove every container of the run; then nothing more is said by any."""
        await self._engine.close()
        for life in self._born.values():
            os.close(life.stdin)
            os.close(life.stdout)
        for task in tuple(self._watching):
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        self._journal.gone("containers", f"{self._engine.address} {self._run_id}")
