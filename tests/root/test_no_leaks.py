"""Whatever ends a run - a kill, Ctrl-C, a dying node - nothing of it stays on the machine, and the result says so."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.host import host_state

pytestmark = pytest.mark.root

SCENARIO = """name: short
about: two devices on digits
stop_after: 12 s
devices:
  - {group: pi, count: 2, profile: raspberry_pi_4, link: wifi_2g4}
topology: {kind: star}
learning:
  task: {name: digits, partition: {kind: iid}}
  model: {name: mlp}
  algorithm: {name: fedavg}
  rule: {name: backprop, learning_rate: 0.1}
traffic:
  - {from: pi, to: coordinator, kind: constant, rate: 100 kbit/s}
faults:
  - {kind: pause, at: 1 s, for: 60 s, count: 1}
expect:
  - {metric: test_accuracy, at_least: 50 %}
"""


def start(folder: Path) -> "subprocess.Popen[bytes]":
    scenario = folder / "short.yaml"
    scenario.write_text(SCENARIO)
    argv = [sys.executable, "-m", "orchestrator", "run", str(scenario), "--out", str(folder / "run")]
    return subprocess.Popen([*argv, "--substrate", "mininet"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def wait_for(what: Callable[[], bool], within_s: float = 40.0) -> None:
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def said(folder: Path, event: str) -> bool:
    path = folder / "run" / "events.jsonl"
    return path.exists() and f'"event": "{event}"' in path.read_text()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("moment", ["run", "node_ready", "run_began", "fault_injected"])
def test_kill_minus_9_of_the_orchestrator_leaves_nothing(moment: str, tmp_path: Path) -> None:
    before = host_state(tmp_path)
    run = start(tmp_path)
    wait_for((tmp_path / "run").exists if moment == "run" else lambda: said(tmp_path, moment))
    run.kill()
    run.wait()
    wait_for(lambda: host_state(tmp_path) == before, within_s=20.0)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_in_the_middle_of_a_fault_heals_it_and_writes_a_partial_result(
    number: signal.Signals, tmp_path: Path
) -> None:
    run = start(tmp_path)
    wait_for(lambda: said(tmp_path, "fault_injected"))
    run.send_signal(number)
    assert run.wait(60) == 130
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] == "interrupted"
    assert result["faults"][0]["healed_at_s"] is not None
    assert result["summary"]["sent_payload_bytes"] > 0


def node_pid(folder: Path, node: str) -> int:
    for line in (folder / "run" / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "node_ready" and event["node"] == node:
            return int(event["pid"])
    raise AssertionError(f"{node} was never ready")


@pytest.mark.timeout(120)
def test_a_device_that_dies_by_itself_is_told_and_the_run_goes_on_and_is_not_green(tmp_path: Path) -> None:
    run = start(tmp_path)
    wait_for(lambda: said(tmp_path, "run_began"))
    os.kill(node_pid(tmp_path, "pi-2"), signal.SIGSEGV)
    assert run.wait(90) == 6
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] == "degraded"
    assert any("pi-2" in note for note in result["notes"])
    assert result["summary"]["lasted_s"] > 11


@pytest.mark.timeout(120)
def test_a_coordinator_that_dies_by_itself_ends_the_run_as_broken(tmp_path: Path) -> None:
    run = start(tmp_path)
    wait_for(lambda: said(tmp_path, "run_began"))
    os.kill(node_pid(tmp_path, "coordinator"), signal.SIGKILL)
    assert run.wait(60) == 4
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] == "broke"
    assert any("coordinator ended by itself (exit status -9)" in note for note in result["notes"])
