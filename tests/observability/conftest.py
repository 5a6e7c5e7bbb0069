"""One real Prometheus for all tests of this folder: it scrapes a run while it lasts, then takes the same run again from
its directory, with a simulated one beside it. Started and stopped by `edgebed observe`, as a user does."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.substrates import SUBSTRATES
from orchestrator.telemetry.backfill import ask
from orchestrator.telemetry.openmetrics import began

SCENARIO = Path(__file__).with_name("everything.yaml")
STATE = "EDGEBED_STATE"


@dataclass(frozen=True)
class Seen:
    """Where the tests look. `live`: what was scraped of the run `live` while it lasted, by expression."""

    port: int
    replayed: Path  # a run directory; its label is its name
    simulated: Path
    live: dict[str, list[dict[str, Any]]]
    live_directory: Path | None  # None: real nodes cannot run here

    def query(self, expression: str, at_unix_s: float) -> list[dict[str, Any]]:
        return list(ask(self.port, "query", {"query": expression, "time": f"{at_unix_s:.3f}"})["result"])

    def query_range(self, expression: str, from_unix_s: float, to_unix_s: float) -> list[dict[str, Any]]:
        about = {"query": expression, "start": f"{from_unix_s:.3f}", "end": f"{to_unix_s:.3f}", "step": "1"}
        return list(ask(self.port, "query_range", about)["result"])


LIVE = (
    "sum by (kind) (last_over_time(edgebed_payload_bytes_total{direction='sent'}[10m]))",
    "sum by (component) (last_over_time(edgebed_energy_joules_total[10m]))",
    "sum(last_over_time(edgebed_wire_bytes_total{direction='sent'}[10m]))",
    "sum(last_over_time(edgebed_link_deliver_bytes_total[10m]))",
    "max_over_time(edgebed_run_active[10m])",
    "last_over_time(edgebed_run_active[10m])",
)


def edgebed(*arguments: str, state: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "orchestrator", *arguments],
        env={**os.environ, STATE: str(state)},
        capture_output=True,
        text=True,
        timeout=90,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def observed(state: Path) -> Iterator[int]:
    """`edgebed observe` for as long as the block lasts; yields its port."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "observe", "--port", str(port), "--no-grafana"],
        env={**os.environ, STATE: str(state)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        assert f"http://127.0.0.1:{port}" in said, said
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        process.stdout.close()


def gone_stale(port: int, within_s: float = 20.0) -> bool:
    """Whether the series of a run that has ended go, well before the five minutes of an ordinary Prometheus."""
    deadline = time.monotonic() + within_s
    while ask(port, "query", {"query": "edgebed_run_active"})["result"]:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def simulated_run(folder: Path, state: Path) -> Path:
    ran = edgebed("run", str(SCENARIO), "--substrate", "simulation", "--out", str(folder), "-q", state=state)
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.fixture(scope="session")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    for program in ("prometheus", "promtool"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: apt-get install prometheus")
    folder = tmp_path_factory.mktemp("observability")
    state, runs = folder / "state", folder / "runs"
    real = not SUBSTRATES["mininet"].missing()
    live: dict[str, list[dict[str, Any]]] = {}
    simulated = simulated_run(runs / "simulated", state)
    replayed = simulated
    if real:
        with observed(state) as port:
            ran = edgebed("run", str(SCENARIO), "--allow-degraded", "--out", str(runs / "live"), "-q", state=state)
            assert ran.returncode == 0, ran.stderr
            live = {expression: ask(port, "query", {"query": expression})["result"] for expression in LIVE}
            live["stale"] = [{"value": gone_stale(port)}]
            live["targets"] = [{"files": [path.name for path in (state / "targets").iterdir()]}]
        replayed = runs / "replayed"
        shutil.copytree(runs / "live", replayed)
    ran = edgebed("replay", *dict.fromkeys(map(str, (replayed, simulated))), state=state)
    assert ran.returncode == 0, ran.stderr
    with observed(state) as port:
        yield Seen(port, replayed, simulated, live, runs / "live" if real else None)


def summary(directory: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads((directory / "result.json").read_text())["summary"]
    return found


def span(directory: Path) -> tuple[float, float]:
    """When a run began and when its last record was, in Unix time."""
    lines = [line for file in directory.rglob("*.jsonl") for line in file.read_text().splitlines() if '"t"' in line]
    return began(directory), began(directory) + max(json.loads(line)["t"] for line in lines)
