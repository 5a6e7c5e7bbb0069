"""Deploying real nodes: how long until all are linked and ready, and what memory each takes. Needs root.

`python -m bench.deploy`. Beside it: starting one Python process that imports torch, which is what every node would
cost without the fork server.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure, show
from orchestrator.keys import RunKeys
from orchestrator.links.shape import LinkShape
from orchestrator.plan import Plan
from orchestrator.substrates.calibration import Calibration
from orchestrator.substrates.mininet import MininetSubstrate
from tests.plans import star

LINK = LinkShape(rate_bps=20e6, delay_s=0.005, queue_bytes=250_000)


async def deploy(plan: Plan) -> tuple[float, float]:
    """Seconds until all nodes are ready, and the largest proportional set size of a node in MB."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        async with MininetSubstrate(plan, Path(folder), RunKeys("bench"), "delay_line", Calibration()) as substrate:
            await asyncio.gather(*(substrate.start(node) for node in plan.nodes))
            took_s = time.monotonic() - began
            await asyncio.sleep(1.0)
            sizes = [pss_bytes(placed.process.pid) for placed in substrate._placed.values() if placed.process]
    return took_s, max(sizes) / 1e6


def pss_bytes(pid: int) -> int:
    """Proportional set size: private pages, plus shared ones divided by who shares them."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def figures() -> Iterator[Figure]:
    """10 and 100 nodes."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    alone_s = time.monotonic() - began
    for devices, goal_s in ((10, 3.0), (100, 10.0)):
        took_s, memory_mb = asyncio.run(deploy(star(devices, shape=LINK)))
        beside = f"each importing torch, one after another: {alone_s * (devices + 1):.0f} s"
        yield Figure(f"{devices} devices and a coordinator deployed and ready", took_s, "s", goal_s, beside=beside)
        goal_mb = 15.0 if devices == 100 else None
        yield Figure(f"largest proportional set size, {devices} idle devices", memory_mb, "MB", goal_mb)


if __name__ == "__main__":
    for each in figures():
        show(each)
