"""Deploying containers: how long until 20 nodes in containers are linked and ready. Needs root, an engine, the image.

`python -m bench.containers`. Beside it, in the same run: `docker run --rm` of the same image 20 times in a row, each
until its node is as ready (torch loaded, learner built, port open; no link) and has ended again, since the next begins
only then. The second figure leaves the endings out. Nearly all of either is the CPU time of loading torch, so on two
cores about half is what 20 at once can save.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench.figures import Figure, show
from node_image.spec import NodeSpec
from orchestrator.hosts.container import IMAGE, USER
from orchestrator.keys import RunKeys
from orchestrator.links.shape import LinkShape
from orchestrator.plan import Plan
from orchestrator.substrates.calibration import Calibration
from orchestrator.substrates.mininet import MininetSubstrate
from tests.engine import engine, missing
from tests.plans import star

CONTAINERS = 20
LINK = LinkShape(rate_bps=20e6, delay_s=0.005, queue_bytes=250_000)


async def deploy(plan: Plan, directory: Path) -> float:
    """Seconds until all nodes of a plan are ready on their links."""
    began = time.monotonic()
    substrate = MininetSubstrate(plan, directory, RunKeys("bench"), "delay_line", Calibration(), "container")
    async with substrate:
        await asyncio.gather(*(substrate.start(node) for node in plan.nodes))
        return time.monotonic() - began


def docker_run(spec: NodeSpec, folder: Path) -> float:
    """One `docker run`, from its start to its end; returns the seconds until its node was ready."""
    file = folder / "spec.json"
    file.write_text(replace(spec, address="127.0.0.1").to_json())  # without a link there is no other address
    argv = ("docker", "run", "--rm", "--interactive", "--network", "none", "--init", f"--user={USER}:{USER}")
    init = {"do": "init", **RunKeys("bench").new_life(spec), "state_dir": "/tmp/state"}
    began = time.monotonic()
    with subprocess.Popen(
        (*argv, "--volume", f"{file}:/spec.json:ro", IMAGE, "/spec.json"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(init).encode() + b"\n")
        process.stdin.flush()
        if not any(b'"ready"' in line for line in process.stdout):
            raise RuntimeError("the node ended before it was ready")
        ready_s = time.monotonic() - began
        process.stdin.write(b'{"do": "stop", "evaluate": false}\n')
        process.stdin.close()
    return ready_s


def figures() -> Iterator[Figure]:
    """20 containers, the coordinator among them."""
    plan = star(CONTAINERS - 1, shape=LINK)
    with engine(), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        docker_run(plan.nodes[1].spec, folder)  # the first reads the image from disk
        began = time.monotonic()
        ready_s = sum(docker_run(node.spec, folder) for node in plan.nodes)
        row_s = time.monotonic() - began
        took_s = asyncio.run(deploy(plan, folder))
    beside = f"docker run in a row: {row_s:.1f} s, without its endings {ready_s:.1f} s"
    yield Figure(f"{CONTAINERS} containers deployed, linked and ready", took_s, "s", row_s / 2, beside=beside)


if __name__ == "__main__":
    lacks = missing()
    if lacks:
        sys.stdout.write(f"containers: left out, {lacks[0]}\n")
    else:
        for each in figures():
            show(each)
