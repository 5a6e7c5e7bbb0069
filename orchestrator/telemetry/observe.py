"""A Prometheus of our own, on loopback, that finds runs by itself.

It is Debian's `prometheus` (or any on the PATH), with the configuration of observability/ and a data folder in the
user's state folder. What it holds is a view: it can be removed at any time and filled again from run directories.
"""

import asyncio
import shutil
import socket
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from orchestrator.errors import MachineCannotError, RunBrokeError, UsageError
from orchestrator.telemetry.discovery import WATCHER, sweep
from orchestrator.telemetry.outlet import LOOPBACK

CONFIGURATION = Path(__file__).parents[2] / "observability"
PORT = 9090
LOOKBACK = "15s"  # so that a run that was killed is not shown as alive for five minutes
READY_WITHIN_S = 30.0
LAST_LINES = 3
REMEDY = "Debian: apt-get install prometheus; or put the `prometheus` and `promtool` of its release archive on the PATH"


def need(program: str) -> str:
    """The path of `prometheus` or `promtool`; MachineCannotError with the remedy."""
    path = shutil.which(program)
    if path is None:
        raise MachineCannotError(f"{program} is not installed. {REMEDY}")
    return path


def prepare(folder: Path) -> Path:
    """Make the state folder ready for a Prometheus: configuration, rules, targets; returns the configuration."""
    for name in ("targets", "data"):
        (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    sweep(folder / "targets")
    for name in ("prometheus.yml", "rules.yml"):
        shutil.copyfile(CONFIGURATION / name, folder / name)
    return folder / "prometheus.yml"


def arguments(folder: Path, port: int) -> tuple[str, ...]:
    """Everything Prometheus is started with but its own name."""
    return (
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=10y",  # a replayed run may be old
        "--storage.tsdb.retention.size=4GB",
        f"--web.listen-address={LOOPBACK}:{port}",
        f"--query.lookback-delta={LOOKBACK}",
        "--log.level=warn",
    )


@asynccontextmanager
async def prometheus(folder: Path, port: int = PORT) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Prometheus on `folder`, ready, for as long as the block lasts. Yields its process, which may end by itself.

    MachineCannotError: it is not installed. UsageError: the port is taken. RunBrokeError: it did not start.
    """
    program = need("prometheus")
    if in_use(port):
        raise UsageError(f"{LOOPBACK}:{port} is in use, perhaps by another Prometheus; choose another with --port")
    prepare(folder)
    watcher = folder / WATCHER
    with (folder / "prometheus.log").open("w", encoding="utf-8") as log:
        process = await asyncio.create_subprocess_exec(
            program, *arguments(folder, port), stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        await _ready(process, port, folder / "prometheus.log")
        watcher.write_text(f"{process.pid}\n{port}\n", encoding="utf-8")
        yield process
    finally:
        watcher.unlink(missing_ok=True)
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def in_use(port: int) -> bool:
    """Whether something listens on a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


async def _ready(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if process.returncode is not None:
            last = "\n".join(log.read_text(encoding="utf-8").splitlines()[-LAST_LINES:])
            raise RunBrokeError(f"prometheus ended at once (exit status {process.returncode}); its last words:\n{last}")
        url = f"http://{LOOPBACK}:{port}/-/ready"
        with suppress(OSError), urllib.request.urlopen(url, timeout=1) as answer:
            if answer.status == 200:
                return
        await asyncio.sleep(0.1)
    raise RunBrokeError(f"prometheus is not ready after {READY_WITHIN_S:g} s; its log: {log}")
