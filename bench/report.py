"""The report of a comparison: 10 devices, 3 algorithms, 5 seeds, a dropout in each run. `python -m bench.report`.

The runs of one seed are simulated first (digits, a small perceptron, 72 s with a phase a second and a device); those of
the other four are copies of them with another seed and another accuracy at the end, since reading and drawing cost the
same. None of that is part of the figure: it is the whole command `edgebed report`, in a process of its own. Beside it:
how much of that processors worked, for a machine that does other things too.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np

from bench.figures import Figure, show

COMPARISON = """name: ten
about: A third of ten devices leave and come back. Which algorithm notices?
substrate: simulation
seed: 1
stop_after: 72 s
devices:
  - {group: pi, count: 10, profile: raspberry_pi_4, link: wifi_2g4, phase_every: 1 s}
topology: {kind: star}
learning:
  task: {name: digits, partition: {kind: iid}}
  model: {name: mlp}
  algorithm: {name: fedavg, local_steps: 20}
  rule: {name: backprop, learning_rate: 0.1}
faults:
  - {kind: dropout, at: 24 s, for: 24 s, share: 30 %}
compare:
  algorithm:
    - {name: local_only, local_steps: 20, evaluate_every: 2 s}
    - {name: fedavg, local_steps: 20}
    - {name: fedasync, local_steps: 20, evaluate_every: 2 s}
"""
SEEDS = 5
TIMES = 3


def edgebed(*arguments: str) -> tuple[float, float]:
    """Wall and CPU seconds of a command."""
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", *arguments], check=False, capture_output=True, text=True
    )
    took, after = time.perf_counter() - began, os.times()
    if done.returncode not in (0, 1):  # an expectation that is missed is no failure of the command
        raise RuntimeError(f"edgebed {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-500:]}")
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return took, used


def more_seeds(runs: Path) -> None:
    """Copy each run for the other seeds, and list all of them in `compare.json`."""
    listing = json.loads((runs / "compare.json").read_text())
    listed: list[dict[str, str]] = []
    for entry in listing["runs"]:
        for seed in range(1, SEEDS + 1):
            name = f"{entry['directory']}-seed={seed}"
            shutil.copytree(runs / entry["directory"], runs / name)
            plan = json.loads((runs / name / "plan.json").read_text())
            (runs / name / "plan.json").write_text(json.dumps({**plan, "seed": seed}))
            result = json.loads((runs / name / "result.json").read_text())
            # By an amount that differs between algorithms, so that there is something to analyse.
            chance = np.random.default_rng([seed, len(listed)])
            result["summary"]["test_accuracy"] *= 1 - 0.01 * chance.random()
            (runs / name / "result.json").write_text(json.dumps(result))
            listed.append({**entry, "label": f"{entry['label']} seed={seed}", "directory": name})
        shutil.rmtree(runs / entry["directory"])
    (runs / "compare.json").write_text(json.dumps({**listing, "runs": listed, "planned": len(listed)}))


def figures() -> Iterator[Figure]:
    """Three figures: time, of which the machine's processors worked so long, and the size of the file."""
    with tempfile.TemporaryDirectory() as folder:
        runs, file = Path(folder) / "runs", Path(folder) / "report.html"
        scenario = Path(folder) / "ten.yaml"
        scenario.write_text(COMPARISON)
        edgebed("run", str(scenario), "--out", str(runs))
        more_seeds(runs)
        lines = sum(path.read_bytes().count(b"\n") for path in runs.rglob("records.jsonl"))
        took = [edgebed("report", str(runs), "--output", str(file)) for _ in range(TIMES)]
        size = file.stat().st_size / 1e6
    what = "report of 10 devices, 3 algorithms, 5 seeds"
    beside = f"{lines:,} records"
    yield Figure(what, median(wall for wall, _ in took), "s", 10.0, beside=beside)
    yield Figure("of which processors worked", median(cpu for _, cpu in took), "s")
    yield Figure("the file", size, "MB")


if __name__ == "__main__":
    for each in figures():
        show(each)
