"""kill -9 of an orchestrator in the middle of a fault, on real processes, and `--resume`: the run comes to its end."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from orchestrator.verify import verify
from orchestrator.verify.history import read_history
from tests.host import host_state

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

STATED = {0, 1, 6}  # met, missed, and degraded by whatever else this machine does
WITHIN_S = 120.0
SCENARIO = """name: short
about: two devices on digits; it is killed while one of them is down and the other cut off
stop_after: 5 s
devices:
  - {group: pi, count: 2, profile: raspberry_pi_4, link: wifi_2g4}
topology: {kind: star}
learning:
  task: {name: digits, partition: {kind: iid}}
  model: {name: mlp}
  algorithm: {name: fedasync, checkpoint_every: 1}
  rule: {name: backprop, learning_rate: 0.1}
faults:
  - {kind: pause, at: 0.3 s, for: 0.3 s, nodes: [pi-1]}
  - {kind: crash, at: 1 s, for: 2.5 s, nodes: [pi-1]}
  - {kind: disconnect, at: 1.5 s, for: 2 s, nodes: [pi-2]}
  - {kind: straggler, at: 4 s, for: 0.5 s, nodes: [pi-2], speed: 50 %}
"""


def edgebed(*words: str) -> "subprocess.Popen[bytes]":
    argv = [sys.executable, "-m", "orchestrator", "run", *words, "--no-probe", "--keep", "always", "-q"]
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL)


def killed_once_told(run: "subprocess.Popen[bytes]", events: Path, words: str) -> None:
    """Kill an orchestrator as soon as it has written an event with these words."""
    deadline = time.monotonic() + WITHIN_S
    while not (events.exists() and words in events.read_text()):
        assert run.poll() is None, f"it ended with {run.returncode} before it told {words!r}"
        assert time.monotonic() < deadline, f"it never told {words!r}"
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL


def test_a_run_killed_in_a_fault_and_again_as_it_goes_on_comes_to_its_end_and_leaves_nothing(tmp_path: Path) -> None:
    before = host_state(tmp_path)
    (tmp_path / "short.yaml").write_text(SCENARIO)
    out = tmp_path / "run"
    events = out / "events.jsonl"
    run = edgebed(str(tmp_path / "short.yaml"), "--out", str(out), "--substrate", "mininet")
    killed_once_told(run, events, '"event": "fault_injected", "fault": 2')
    killed_once_told(edgebed("--resume", str(out)), events, '"event": "fault_resumed", "fault": 2')
    last = edgebed("--resume", str(out))
    assert last.wait(WITHIN_S) in STATED
    assert host_state(tmp_path) == before

    result = json.loads((out / "result.json").read_text())
    assert result["status"] in ("complete", "degraded")
    assert len(result["resumed"]) == 2
    history = read_history(out)
    assert {each.id: each.reasons for each in verify(history) if each.truth == "false"} == {}
    assert [event.number for event in history.events] == list(range(1, len(history.events) + 1))
    began = Counter(event.details["fault"] for event in history.named("fault_injected"))
    assert began == {0: 1, 1: 1, 2: 1, 3: 1}, "none is repeated"
    assert all(each["healed_at_s"] is not None and each["error"] is None for each in result["faults"])
    resumed_s = result["resumed"][-1]["at_s"]
    versions = [(record.t, record.value) for record in history.of("coordinator", "version")]
    before_it = max((value for t, value in versions if t <= resumed_s), default=0.0)
    after_it = [value for t, value in versions if t > resumed_s]
    assert after_it, "the coordinator goes on"
    assert after_it[0] >= before_it, "from its checkpoint, which has all that it told of"
