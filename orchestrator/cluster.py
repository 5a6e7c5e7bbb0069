"""A Ray cluster that carries out the runs of a sweep: Ray's only door.

Each run is a task with what it needs: one CPU, and for a run of real processes one unit of `edgebed_mininet` (or
docker, ssh), which a machine that can run them is started with; so it has that machine to itself. A task is sent as
texts (plan, scenario, plug-ins) with our two packages beside it, and comes home as the bytes of its run directory.
Machines need the same Python, Ray and libraries; nothing of ours has to be there.

A cluster of one's own on this machine (`--on ray`) listens on loopback only, asks for a token of its own, and leaves
nothing behind.
"""

import asyncio
import io
import json
import logging
import os
import secrets
import tarfile
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import node_image
import orchestrator
from orchestrator.errors import MachineCannotError, RunBrokeError, UsageError
from orchestrator.jobs import END_WITHIN_S, Answer, Job, carry_out
from orchestrator.pool import ONE_THREAD, Said, WorkerLostError, cores
from orchestrator.terminal import JsonDisplay

HERE = "ray"
REMOTE = "ray://"
INSTALL = "pip install 'edgebed[cluster]'"
NEWS_EVERY_S = 1.0
MOST_NEWS = 10_000  # that wait to be fetched
OBJECTS_BYTES = 256 * 2**20  # room for run directories on their way home, on this machine
# Ray binds to loopback only where it believes that it is not to make clusters of several machines; it asks this
# variable, whatever the system. Nothing is told to Ray's makers.
LOOPBACK = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def on_ray(address: str, jobs: int | None) -> Callable[[int], "RayCluster"]:
    """A place on the cluster at `ray://HOST:PORT`, or on one that is started here (`ray`); `jobs` runs at a time.

    Raises UsageError for another address, MachineCannotError where Ray is not installed.
    """
    if address != HERE and not address.startswith(REMOTE):
        raise UsageError(f"--on {address}: write ray://HOST:10001, or ray for a cluster on this machine")
    if find_spec("ray") is None:
        raise MachineCannotError(f"--on {address}: Ray is not installed here; {INSTALL}")
    return lambda _: RayCluster(address, jobs)


class RayCluster:
    """A `Place` (see `orchestrator.sweep`): entered, it is connected."""

    alike = False  # what one machine cannot, another may

    def __init__(self, address: str, jobs: int | None) -> None:
        self._address = address
        self._jobs = jobs
        self._own: tempfile.TemporaryDirectory[str] | None = None
        self._ray: ModuleType
        self._running: dict[Any, asyncio.Future[tuple[str, bytes]]] = {}  # by the references of tasks
        self._said: dict[str, Said] = {}  # where news of a run that is away go, by its label
        self._news: Any = None  # the actor that gathers them
        self._listening: asyncio.Task[None] | None = None
        self.slots = jobs or 1

    async def __aenter__(self) -> "RayCluster":
        if self._address == HERE:
            self._own = tempfile.TemporaryDirectory(prefix="eb-ray-")  # short: sockets lie in it
            token = Path(self._own.name) / "token"
            token.touch(mode=0o600)
            token.write_text(secrets.token_hex(32), encoding="utf-8")
            os.environ.update(LOOPBACK, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token))
        import ray

        self._ray = ray
        try:
            self._connect()
        except Exception as error:  # Ray has no one type for what can go wrong here
            self._leave()
            remedy = (
                "is a folder for temporary files with a short path set (TMPDIR)?"
                if self._own is not None
                else f"it must run (ray start --head --ray-client-server-port 10001), with Ray {ray.__version__}, this "
                "Python, and the token in ~/.ray/auth_token, if it asks for one"
            )
            raise MachineCannotError(f"--on {self._address}: no Ray cluster: {_first_line(error)}; {remedy}") from error
        self.slots = self._jobs or max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._news = ray.remote(num_cpus=0, max_restarts=-1)(News).remote()
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        with suppress(Exception):  # the cluster itself may be gone
            for reference in self._running:
                self._ray.cancel(reference)  # as Ctrl-C does there: a run heals what it disturbed
        if self._running:
            await asyncio.wait(self._running.values(), timeout=END_WITHIN_S)
        self._leave()

    async def run(self, slot: int, job: Job, directory: Path, said: Said) -> Answer:
        """Carry out a job as a task and bring its run directory home. Raises WorkerLostError."""
        there = _where(job)
        task = self._ray.remote(**self._needs(there))(carry_out_there)
        said({"event": "phase", "name": "sent to Ray"})
        self._said[job.label] = said
        text = json.dumps(replace(job, options={**job.options, "substrate": there}).to_json())
        reference = task.remote(text, self._news)
        self._running[reference] = asyncio.wrap_future(reference.future())
        try:
            # Shielded: whoever waits here may be cancelled, but Ray's own future is for Ray to end.
            answer, packed = await asyncio.shield(self._running[reference])
        except self._ray.exceptions.RayError as error:
            del self._running[reference]
            if isinstance(error, self._losses()):
                raise WorkerLostError(f"Ray: {_first_line(error)}") from error
            return Answer(RunBrokeError.exit_code, f"Ray: {_first_line(error)}")
        finally:
            self._said.pop(job.label, None)
        del self._running[reference]
        await asyncio.to_thread(unpack, packed, directory)
        return Answer(**json.loads(answer))

    async def _listen(self) -> None:
        """Hand on what runs that are away say of themselves. It is only shown: where it is lost, no result is."""
        while True:
            await asyncio.sleep(NEWS_EVERY_S)
            with suppress(self._ray.exceptions.RayError, ConnectionError):  # its machine may be gone; it starts again
                for label, event in await asyncio.wrap_future(self._news.take.remote().future()):
                    if label in self._said:
                        self._said[label](event)

    def _connect(self) -> None:
        packages = [str(Path(package.__path__[0])) for package in (node_image, orchestrator)]
        settings: dict[str, Any] = {
            "runtime_env": {"py_modules": packages, "excludes": ["**/__pycache__"], "env_vars": ONE_THREAD},
            "log_to_driver": False,
            "logging_level": logging.ERROR,
        }
        if self._own is not None:
            settings |= {
                "address": "local",
                "num_cpus": self._jobs or cores(),
                "include_dashboard": False,
                "object_store_memory": OBJECTS_BYTES,
                "_node_ip_address": "127.0.0.1",
                "_temp_dir": self._own.name,
            }
        else:
            settings["address"] = self._address
        with warnings.catch_warnings():  # the error that follows says the same
            warnings.simplefilter("ignore")
            self._ray.init(**settings)

    def _losses(self) -> tuple[type[Exception], ...]:
        """What Ray says when a process or a machine is gone, and not the run's own fault."""
        errors = self._ray.exceptions
        return (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError, errors.ObjectLostError)

    def _leave(self) -> None:
        with suppress(Exception):  # the cluster itself may be gone
            self._ray.shutdown()
        if self._own is not None:
            self._own.cleanup()

    def _needs(self, substrate: str) -> dict[str, Any]:
        """What a task asks of a machine. MachineCannotError where no machine has it: Ray would wait for ever."""
        needs: dict[str, Any] = {"num_cpus": 1, "max_retries": 0}  # a lost run is counted and made again by the sweep
        if substrate != "simulation":
            name = f"edgebed_{substrate}"
            if not self._ray.cluster_resources().get(name):
                raise MachineCannotError(
                    f"--on {self._address}: no machine there says that it can run {substrate}; start those that can "
                    f"with: ray start --address=... --resources '{{\"{name}\": 1}}'"
                )
            needs["resources"] = {name: 1}
        return needs


class News:
    """What the runs say of themselves, until it is fetched: an actor, of which a cluster has one for each sweep."""

    def __init__(self) -> None:
        self._said: deque[tuple[str, dict[str, Any]]] = deque(maxlen=MOST_NEWS)

    def tell(self, label: str, event: dict[str, Any]) -> None:
        """An event of a run, as `--json` writes it."""
        self._said.append((label, event))

    def take(self) -> list[tuple[str, dict[str, Any]]]:
        """All that is new, the oldest first."""
        found = list(self._said)
        self._said.clear()
        return found


class _FromThere(JsonDisplay):
    """Tells the events of a run to the one that gathers them, and waits for no answer; of progress not all."""

    def __init__(self, label: str, news: Any) -> None:
        super().__init__()
        self._label = label
        self._news = news
        self._again_at = 0.0

    def _write(self, event: str, values: Mapping[str, object]) -> None:
        if event == "progress":
            if time.monotonic() < self._again_at:
                return
            self._again_at = time.monotonic() + NEWS_EVERY_S
        self._news.tell.remote(self._label, {"event": event, **values})


def carry_out_there(text: str, news: Any) -> tuple[str, bytes]:
    """Carry out a job (JSON) on a machine of the cluster: the answer (JSON) and the run directory, packed."""
    job = Job.from_json(json.loads(text))
    with tempfile.TemporaryDirectory(prefix="edgebed-") as folder:
        directory = Path(folder) / "run"
        answer = carry_out(job, directory, _FromThere(job.label, news))
        return json.dumps(vars(answer)), pack(directory)


def pack(directory: Path) -> bytes:
    """A folder as the bytes of a compressed archive; nothing, where there is no folder."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1) as tar:
        if directory.is_dir():
            tar.add(directory, arcname=".")
    return archive.getvalue()


def unpack(packed: bytes, directory: Path) -> None:
    """Inverse of `pack`, whole or not at all. What an archive must not do (links, paths outside) is refused."""
    with tempfile.TemporaryDirectory(prefix=".coming-", dir=directory.parent) as folder:
        scratch = Path(folder) / "run"
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
            if not tar.getnames():
                return
            tar.extractall(scratch, filter="data")
        scratch.rename(directory)


def _where(job: Job) -> str:
    """The substrate of a run that is sent away: what is asked for, or, where that is left open, the simulation."""
    asked = job.options["substrate"]
    if asked == "auto":
        asked = json.loads(job.plan)["substrate"]
    return "simulation" if asked == "auto" else str(asked)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [repr(error)])[0]
