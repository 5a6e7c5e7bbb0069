"""Containers: the one door to the Docker engine, whose SDK is imported here alone, and late.

The engine must be this machine's, reached over its Unix socket: the network namespace and the control groups of a
container are entered from outside, so that a container needs no capability. Its containers bear the run's id as a
label; what is removed is found by that label and never by a pattern.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.errors import EdgebedError, MachineCannotError, RunBrokeError

if TYPE_CHECKING:
    from docker import APIClient

IMAGE = "edgebed-node"
RUN_LABEL = "edgebed.run"
NODE_LABEL = "edgebed.node"
CONTENT_LABEL = "edgebed.content"  # of an image: what it was made from
USER = 65534  # nobody: owns nothing in the image
AT_ONCE = 8  # requests under way; the engine itself starts containers no faster with more
ANSWER_WITHIN_S = 120.0
PROBE_WITHIN_S = 5.0
PROCESSES = 256  # a node is one process with a few threads
SCRATCH = "size=64m,mode=1777"
SETTLED_S = 0.5  # after which a request of somebody who died has had its effect
SOCKET = "unix:///var/run/docker.sock"
T = TypeVar("T")


class EngineError(RunBrokeError):
    """The engine refused or did not answer; `missing`: because there is no such container or image (any more)."""

    def __init__(self, message: str, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


@dataclass(frozen=True)
class Mount:
    """A file or folder of this machine inside a container, under another name."""

    here: Path
    inside: str
    writable: bool = False


@dataclass(frozen=True)
class Wanted:
    """A container to be made. `memory_bytes` None: no limit; `cores`: at most so much CPU, from the first instant."""

    name: str
    node: str
    command: tuple[str, ...]
    mounts: tuple[Mount, ...]
    memory_bytes: int | None
    cores: float


@dataclass(frozen=True)
class Running:
    """A container that runs: its first process on this machine, and the stream of its stdin, stdout and stderr."""

    id: str
    name: str
    pid: int
    stream: socket.socket


@dataclass(frozen=True)
class Ended:
    """How a container ended: the wait status as os.waitpid gives it, and whether it went over its memory limit."""

    status: int
    over_memory: bool


def engine_address() -> str:
    """Where the engine listens: DOCKER_HOST, or the usual socket."""
    return os.environ.get("DOCKER_HOST") or SOCKET


def missing_engine(address: str) -> list[str]:
    """What keeps us from using the engine, with its remedy; empty: it answers."""
    if not address.startswith("unix://"):
        why = "the engine must be on this machine, because namespaces are entered from outside (unset DOCKER_HOST)"
        return [f"DOCKER_HOST is {address}: {why}"]
    if find_spec("docker") is None:
        return ["the Docker SDK for Python is missing (make setup)"]
    path = address.removeprefix("unix://")
    try:
        with socket.socket(socket.AF_UNIX) as attempt:
            attempt.connect(path)
    except FileNotFoundError:
        return [f"the Docker engine is missing: there is no {path} (apt-get install docker.io; systemctl start docker)"]
    except PermissionError:
        return [
            f"permission for the Docker engine's socket {path} is missing (run as root, or join group {_group(path)})"
        ]
    except OSError as error:
        return [f"the Docker engine does not answer on {path}: {error.strerror} (systemctl start docker)"]
    try:
        with client_of(address, PROBE_WITHIN_S) as client, told("say its version"):
            client.version()
    except EngineError as error:
        return [f"{error} (systemctl restart docker)"]
    return []


def missing_image(address: str, content: str) -> list[str]:
    """Why there is no image to start nodes from: none, or one made from other files than these (by their hash)."""
    with client_of(address, PROBE_WITHIN_S) as client:
        try:
            with told("look for the image"):
                labels = inspect(client)["Config"].get("Labels") or {}
        except EngineError as error:
            if not error.missing:
                return [str(error)]
            return [f"the image {IMAGE} is missing (make image; without a registry: make image BASE=debootstrap)"]
    if labels.get(CONTENT_LABEL) != content:
        return [f"the image {IMAGE} holds another node_image than this one (make image)"]
    return []


def inspect(client: "APIClient", image: str = IMAGE) -> dict[str, Any]:
    """What the engine says of an image."""
    found: dict[str, Any] = client.inspect_image(image)  # type: ignore[no-untyped-call]  # the SDK's stubs lack it
    return found


@contextmanager
def client_of(address: str, within_s: float = ANSWER_WITHIN_S) -> "Iterator[APIClient]":
    """A client of the engine that answers within so many seconds, or raises EngineError."""
    from docker import APIClient

    with told("be reached"):
        client = APIClient(base_url=address, timeout=round(within_s), max_pool_size=AT_ONCE)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def told(what: str) -> Iterator[None]:
    """What the SDK raises inside the block comes out as EngineError: the engine could not do `what`."""
    from docker.errors import DockerException, NotFound
    from requests.exceptions import RequestException

    try:
        yield
    except (DockerException, RequestException) as error:
        reason = getattr(error, "explanation", None) or str(error)
        raise EngineError(f"the Docker engine could not {what}: {reason}", isinstance(error, NotFound)) from error


class Engine:
    """The engine as a run uses it. Open it first; closed, no container of the run is left."""

    def __init__(self, run_id: str, address: str) -> None:
        self.address = address
        self._run_id = run_id
        self._client: APIClient | None = None
        self._threads = ThreadPoolExecutor(AT_ONCE, "docker")

    def open(self) -> None:
        """Connect."""
        from docker import APIClient

        with told("be reached"):
            self._client = APIClient(base_url=self.address, timeout=round(ANSWER_WITHIN_S), max_pool_size=AT_ONCE)

    async def facts(self) -> dict[str, Any]:
        """What containers are made by and of: goes into environment.json."""
        version, info, image = await asyncio.gather(
            self._ask("say its version", lambda client: client.version()),
            self._ask("describe itself", lambda client: client.info()),
            self._ask("describe the image", inspect),
        )
        return {
            "engine": version["Version"],
            "storage": info["Driver"],
            "cgroup_driver": info["CgroupDriver"],
            "image": image["Id"],
        }

    async def start(self, wanted: Wanted) -> Running:
        """Make a container, attach to it, start it. Its process is alive when this returns."""
        return await self._ask(f"start {wanted.name}", lambda client: self._start(client, wanted))

    async def pause(self, container: Running) -> bool:
        """Freeze it; False if it has ended."""
        return await self._tell(f"pause {container.name}", lambda client: client.pause(container.id))

    async def resume(self, container: Running) -> bool:
        """Thaw it; False if it has ended."""
        return await self._tell(f"resume {container.name}", lambda client: client.unpause(container.id))

    async def kill(self, container: Running) -> bool:
        """Kill -9 its first process, and so all others, frozen or not; False if it had ended."""
        return await self._tell(f"kill {container.name}", lambda client: client.kill(container.id))

    async def wait(self, container: Running) -> Ended:
        """Wait for its end."""

        def wait(client: "APIClient") -> Ended:
            code = int(client.wait(container.id)["StatusCode"])  # 128 + n for signal n
            over = bool(client.inspect_container(container.id)["State"]["OOMKilled"])
            return Ended(code - 128 if code > 128 else code << 8, over)

        return await self._ask(f"wait for {container.name}", wait)

    async def remove(self, container: Running) -> None:
        """Remove what is left of it; quiet if that is nothing."""
        await self._tell(
            f"remove {container.name}", lambda client: client.remove_container(container.id, force=True, v=True)
        )

    async def close(self) -> None:
        """Let requests under way come to their end, then remove every container of the run."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        client, self._client = self._client, None
        if client is not None:
            try:
                await asyncio.to_thread(_remove_labelled, client, self._run_id)
            finally:
                client.close()

    def _start(self, client: "APIClient", wanted: Wanted) -> Running:
        from docker.types import LogConfig
        from docker.types import Mount as Bound

        period_us = 100_000
        host_config = client.create_host_config(
            network_mode="none",
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            read_only=True,
            tmpfs={"/tmp": SCRATCH},
            mounts=[Bound(each.inside, str(each.here), "bind", not each.writable) for each in wanted.mounts],
            mem_limit=wanted.memory_bytes,
            memswap_limit=wanted.memory_bytes,
            cpu_period=period_us,
            cpu_quota=round(wanted.cores * period_us),
            pids_limit=PROCESSES,
            init=True,
            restart_policy={"Name": "no"},
            log_config=LogConfig(type="none"),
        )
        made = client.create_container(
            IMAGE,
            list(wanted.command),
            name=wanted.name,
            hostname=wanted.node[:63],
            user=f"{USER}:{USER}",
            stdin_open=True,  # and attached once: the node's stdin ends when we do
            labels={RUN_LABEL: self._run_id, NODE_LABEL: wanted.node},
            host_config=host_config,
        )
        # Attached before it is started: nothing that it says is lost, and nothing waits in the SDK's buffers.
        attached: Any = client.attach_socket(made["Id"], {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        stream = socket.socket(fileno=os.dup(attached.fileno()))
        attached._response.close()  # the SDK's own end of the same stream
        try:
            client.start(made["Id"])
            pid = int(client.inspect_container(made["Id"])["State"]["Pid"])
        except BaseException:
            stream.close()
            raise
        return Running(made["Id"], wanted.name, pid, stream)

    async def _ask(self, what: str, request: "Callable[[APIClient], T]") -> T:
        """Have a thread make a request."""
        client = self._client
        if client is None:
            raise EngineError(f"not connected to the Docker engine: cannot {what}")

        def answer() -> T:
            with told(what):
                return request(client)

        return await asyncio.get_running_loop().run_in_executor(self._threads, answer)

    async def _tell(self, what: str, request: "Callable[[APIClient], object]") -> bool:
        """The same for a request that a container which has ended answers with a refusal: then False."""
        try:
            await self._ask(what, request)
        except EngineError as error:
            if error.missing or "is not running" in str(error):
                return False
            raise
        return True


def remove_run(address: str, run_id: str) -> None:
    """Remove every container of a run whose owner is dead, also one whose making was still under way.

    Raises EngineError, or MachineCannotError if that engine cannot be reached.
    """
    missing = missing_engine(address)
    if missing:
        raise MachineCannotError(missing[0])
    with client_of(address) as client:
        _remove_labelled(client, run_id)
        time.sleep(SETTLED_S)
        _remove_labelled(client, run_id)


def _remove_labelled(client: "APIClient", run_id: str) -> None:
    first: EdgebedError | None = None
    with told("list containers"):
        found = client.containers(all=True, filters={"label": f"{RUN_LABEL}={run_id}"})
    for container in found:
        try:
            with told(f"remove {container['Id'][:12]}"):
                client.remove_container(container["Id"], force=True, v=True)
        except EngineError as error:
            if not error.missing and "already in progress" not in str(error):
                first = first or error
    if first is not None:
        raise first


def _group(path: str) -> str:
    try:
        return Path(path).group()
    except (KeyError, OSError):
        return "docker"
