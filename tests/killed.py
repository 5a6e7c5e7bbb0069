"""Orchestrators started at once and killed with SIGKILL, each at a random moment of its own life."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

LEFT_WITHIN_S = 60.0  # a board heals itself when its lease is over; an engine ends containers one after another
SCENARIO = """name: short
about: two devices on digits
stop_after: 2 s
devices:
  - {group: pi, count: 2, profile: raspberry_pi_4, link: wifi_2g4}
topology: {kind: star}
learning:
  task: {name: digits, partition: {kind: iid}}
  model: {name: mlp}
  algorithm: {name: fedavg}
  rule: {name: backprop, learning_rate: 0.1}
faults:
  - {kind: pause, at: 0.3 s, for: 1 s, count: 1}
  - {kind: crash, at: 0.5 s, for: 0.5 s, count: 1}
expect:
  - {metric: test_accuracy, at_least: 50 %}
"""


def start(folder: Path, *options: str) -> "subprocess.Popen[bytes]":
    """A run of two seconds with two faults; what it says to the terminal is nobody's concern."""
    folder.mkdir(parents=True)
    scenario = folder / "short.yaml"
    scenario.write_text(SCENARIO)
    argv = [sys.executable, "-m", "orchestrator", "run", str(scenario), "--out", str(folder / "run"), "--no-probe"]
    return subprocess.Popen([*argv, *options], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def kill_at_random(
    drawn: random.Random,
    folder: Path,
    options: Sequence[str],
    at_once: int,
    longest_s: float,
    *,
    last_has_nodes: bool = False,
) -> int:
    """Start some runs at once and kill each at a moment of its own; returns how many were still there to be killed.

    `last_has_nodes`: the last of them not before its first node is ready, however busy the machine is.
    """
    began = time.monotonic()
    numbers = sorted((drawn.uniform(0.0, longest_s), number) for number in range(at_once))
    runs = [(at_s, folder / str(number), start(folder / str(number), *options)) for at_s, number in numbers]
    killed = 0
    for turn, (at_s, place, run) in enumerate(runs, 1):
        try:
            run.wait(max(0.0, began + at_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            if last_has_nodes and turn == at_once:
                until(lambda: run.poll() is not None or _has_nodes(place / "run"), lambda: "no node is ready yet")  # noqa: B023 - called at once
            run.send_signal(signal.SIGKILL)
            run.wait()
            killed += 1
    return killed


def _has_nodes(directory: Path) -> bool:
    events = directory / "events.jsonl"
    return events.exists() and '"event": "node_ready"' in events.read_text()


def until(so: Callable[[], bool], found: Callable[[], object]) -> None:
    """Wait until it is so; AssertionError with what is found instead."""
    deadline = time.monotonic() + LEFT_WITHIN_S
    while not so():
        assert time.monotonic() < deadline, f"left: {found()}"
        time.sleep(0.1)
