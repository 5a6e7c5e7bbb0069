"""Many runs at a time: 40 simulated runs by two processes and by one. `python -m bench.sweep`.

Whole commands, seconds of the clock: planning, starting processes and the table at the end are in both. What else runs
on the machine counts against two processes more than against one, so the load before each is told beside.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure, show

RUNS = 40
SCENARIO = """name: forty
about: forty short runs
stop_after: 3 s
devices: [{group: pi, count: 2, profile: raspberry_pi_4, link: wifi_2g4}]
learning: {task: digits, model: linear, algorithm: {name: fedavg, local_steps: 20}, rule: {name: backprop}}
"""


def seconds(jobs: int) -> float:
    """How long the sweep takes."""
    with tempfile.TemporaryDirectory() as folder:
        scenario = Path(folder) / "forty.yaml"
        scenario.write_text(SCENARIO)
        argv = [sys.executable, "-m", "orchestrator", "sweep", str(scenario), "--substrate", "simulation", "--quiet"]
        argv += ["--seeds", str(RUNS), "--jobs", str(jobs), "--out", f"{folder}/out"]
        began = time.perf_counter()
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began


def figures() -> Iterator[Figure]:
    """One figure."""
    loads, took = [], []
    for jobs in (2, 1):
        loads.append(os.getloadavg()[0])
        took.append(seconds(jobs))
    two_s, one_s = took
    beside = f"{two_s:.0f} s and {one_s:.0f} s; load before: {loads[0]:.1f} and {loads[1]:.1f}"
    yield Figure(
        f"sweep of {RUNS} runs, two cores to one", one_s / two_s, "times", 1.8, more_is_better=True, beside=beside
    )


if __name__ == "__main__":
    for each in figures():
        show(each)
