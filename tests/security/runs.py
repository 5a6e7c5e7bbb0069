"""A small scenario to run in tests of what surrounds a run, and how to start it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCENARIO = """name: short
about: two devices on digits
stop_after: {seconds} s
devices:
  - {{group: pi, count: 2, profile: raspberry_pi_4, link: wifi_2g4}}
topology: {{kind: star}}
learning:
  task: {{name: digits, partition: {{kind: iid}}}}
  model: {{name: mlp}}
  algorithm: {{name: fedavg, rounds: {rounds}}}
  rule: {{name: backprop, learning_rate: 0.1}}
expect:
  - {{metric: test_accuracy, at_least: 1 %}}
"""


def write(folder: Path, seconds: int = 4, rounds: int = 1000) -> Path:
    """The scenario as a file."""
    path = folder / "short.yaml"
    path.write_text(SCENARIO.format(seconds=seconds, rounds=rounds))
    return path


def start(
    scenario: Path, out: Path, substrate: str, *more: str, limit: Callable[[], None] | None = None
) -> "subprocess.Popen[str]":
    """`edgebed run` as a process of its own; `limit` is called in it before it begins."""
    argv = [
        sys.executable,
        "-m",
        "orchestrator",
        "run",
        str(scenario),
        "--out",
        str(out),
        "--substrate",
        substrate,
        *more,
    ]
    return subprocess.Popen(
        argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=limit
    )


def ended(run: "subprocess.Popen[str]", within_s: float = 100.0) -> tuple[int, str]:
    """Its exit code, and all that it said; one that does not end is killed, so that it outlives no test."""
    try:
        said, _ = run.communicate(timeout=within_s)
    except BaseException:
        run.kill()
        run.communicate()
        raise
    return run.returncode, said
