"""A program of one's own on emulated links: Flower against Flower on loopback. bench/goodput.py has iperf3.

`python -m bench.workload`, as root. Beside Flower's round: the same app, SuperLink and SuperNodes on this machine's
loopback, plus the link's arithmetic. Flower polls every 3 s, so single rounds jump by that; the mean of several is
compared. It is left out without `make flower`.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import yaml

from bench.figures import Figure, show
from bench.goodput import ROOT, run

ROUNDS = 5
NODES = 2
LINK = {"rate": "10 Mbit/s", "delay": "10 ms"}
ROUND_BYTES = 2 * 2 * 10_000  # of a node, there and back: the model and what goes with it, generously
ROUND_TRIPS = 6  # of a node in a round: it asks, fetches, pushes, each on its own
PATHS = ("path", "files")


def flower_here() -> float:
    """Seconds of a round of scenarios/flower.yaml, on undisturbed links of its own."""
    scenario = yaml.safe_load((ROOT / "scenarios" / "flower.yaml").read_text())
    scenario |= {"devices": [{"group": "node", "count": NODES, "profile": "raspberry_pi_4", "link": LINK}]}
    del scenario["faults"], scenario["expect"]
    workload = scenario["workload"]
    for key in PATHS:
        workload[key] = [str((ROOT / "scenarios" / each).resolve()) for each in workload[key]]
    workload["coordinator"][1]["run"][-1] = f"num-server-rounds={ROUNDS} min-nodes={NODES}"
    with tempfile.TemporaryDirectory() as folder:
        lines = (run(scenario, Path(folder)) / "nodes" / "coordinator" / "records.jsonl").read_text().splitlines()
    began = [record["t"] for record in map(json.loads, lines) if record["metric"] == "round"]
    return (began[-1] - began[0]) / (len(began) - 1)


def flower_alone() -> float:
    """The same, without namespaces and links."""
    bin_folder, examples = ROOT / ".flower" / "bin", ROOT / "docs" / "examples"
    began: list[float] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:

        def start(name: str, *argv: str) -> "subprocess.Popen[str]":
            environment = {
                "PATH": f"{bin_folder}:{os.environ['PATH']}",
                "HOME": folder,
                "FLWR_HOME": f"{folder}/{name}",
                "FLWR_TELEMETRY_ENABLED": "0",
                "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
                "OMP_NUM_THREADS": "1",
                "PYTHONUNBUFFERED": "1",
            }
            (Path(folder) / name).mkdir()
            (Path(folder) / name / "config.toml").write_text((examples / "flower_home" / "config.toml").read_text())
            process = subprocess.Popen(
                argv, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
            return process

        server = ("--insecure", "--disable-runtime-dependency-installation", "--host", "127.0.0.1", "--port", "8000")
        _drain(start("superlink", "flower-superlink", *server), "Uvicorn running")
        for number in range(NODES):
            own = f"partition-id={number} num-partitions={NODES}"
            where = ("--superlink", "127.0.0.1:8000", "--host", "127.0.0.1", "--port", str(9100 + number))
            node = start(f"node{number}", "flower-supernode", "--insecure", *where, "--node-config", own)
            _drain(node, "SuperNode ID")
        config = ("--run-config", f"num-server-rounds={ROUNDS} min-nodes={NODES}")
        app = str(examples / "flower_app")
        client = start("run", "flwr", "run", app, "edgebed", "--stream", *config)
        assert client.stdout is not None, "it is a pipe"
        for line in client.stdout:
            if re.search(r"\[ROUND \d+/", line):
                began.append(time.monotonic())
    return (began[-1] - began[0]) / (len(began) - 1)


def _drain(process: "subprocess.Popen[str]", ready: str) -> None:
    """Wait for a line; what comes after it is taken away by a thread, so that no pipe fills."""
    stream = process.stdout
    assert stream is not None, "it is a pipe"
    for line in stream:
        if ready in line:
            break
    threading.Thread(target=stream.read, daemon=True).start()


def figures() -> Iterator[Figure]:
    """A round here beside one on loopback."""
    if not (ROOT / ".flower" / "bin" / "flwr").exists():
        sys.stdout.write("        Flower is left out: make flower\n")
        return
    here, load_here = flower_here(), os.getloadavg()[0]
    alone, load_alone = flower_alone(), os.getloadavg()[0]
    arithmetic = ROUND_BYTES * 8 / 10e6 + ROUND_TRIPS * 0.02
    beside = f"on loopback {alone:.2f} s, the link's arithmetic {arithmetic:.2f} s"
    beside += f"; load of {os.cpu_count()} cores {load_here:.0f} then {load_alone:.0f}"  # a busy machine says little
    yield Figure(f"Flower, {NODES} SuperNodes: a round here", here, "s", 1.05 * (alone + arithmetic), beside=beside)


if __name__ == "__main__":
    for each in figures():
        show(each)
