"""A slowed run on real packets is the same run in the scenario's time, and takes longer in real time."""

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main

pytestmark = pytest.mark.root

SCENARIO = """
name: slow
substrate: mininet
stop_after: 60 s
devices:
  - {group: pi, count: 2, profile: raspberry_pi_4, link: {rate: 1 Mbit/s, delay: 40 ms, queue: 60 kB}}
learning:
  task: {name: digits}
  model: {name: mlp}
  algorithm: {name: fedavg, rounds: 6, local_epochs: 1}
  rule: {name: backprop, learning_rate: 0.05}
"""


def run(folder: Path, slow_down: int) -> tuple[dict[str, Any], dict[str, Any], float]:
    """Result, receipt, and how long the learning took in real time."""
    scenario, out = folder / "slow.yaml", folder / f"run-{slow_down}"
    scenario.write_text(SCENARIO)
    argv = ["run", str(scenario), "--slow-down", str(slow_down), "--out", str(out), "-q", "--allow-degraded"]
    assert main(argv) == 0
    result, receipt, environment = (
        json.loads((out / name).read_text()) for name in ("result.json", "receipt.json", "environment.json")
    )
    return result, receipt, environment["phases_s"]["learn"]


def weights(folder: Path, slow_down: int) -> dict[str, str]:
    """The fingerprint of each node's last model."""
    events = map(json.loads, (folder / f"run-{slow_down}" / "events.jsonl").read_text().splitlines())
    return {event["node"]: event["sha256"] for event in events if event["event"] == "node_model"}


@pytest.mark.timeout(120)
def test_a_run_slowed_by_two_lasts_as_long_in_the_scenarios_time_and_twice_as_long_in_real_time(tmp_path: Path) -> None:
    (fast, _, fast_s), (slow, receipt, slow_s) = run(tmp_path, 1), run(tmp_path, 2)
    assert slow["summary"]["lasted_s"] / fast["summary"]["lasted_s"] == pytest.approx(1, abs=0.1)
    assert slow_s / fast_s == pytest.approx(2, rel=0.15)
    assert weights(tmp_path, 1) == weights(tmp_path, 2)  # to the bit, of all three nodes
    for same in ("sent_payload_bytes", "received_payload_bytes", "round", "aggregated_updates"):
        assert slow["summary"][same] == fast["summary"][same], same
    assert receipt["facts"]["slow_down"] == 2
    links = [check for check in receipt["checks"] if check["what"] in ("rtt_s", "rate_bps", "loss")]
    assert len(links) == 10  # two pings, and rate and loss of four directed links
    assert all(check["ok"] for check in links), links
    assert any("each of its seconds took 2 real ones" in note for note in slow["notes"])
