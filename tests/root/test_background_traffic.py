"""Background traffic on real packets: it takes its part of a link, and is counted apart from the run's own."""

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main

pytestmark = pytest.mark.root

SCENARIO = """
name: shared
substrate: mininet
stop_after: 60 s
devices:
  - {group: pi, count: 1, profile: server, link: {rate: 4 Mbit/s, delay: 10 ms, queue: 60 kB}}
learning:
  task: {name: digits}
  model: {name: mlp, hidden: 1000}
  algorithm: {name: fedavg, rounds: 4, local_steps: 1}
"""
HALF = """
traffic:
  - {from: pi, to: coordinator, kind: constant, rate: 2 Mbit/s}
  - {from: coordinator, to: pi, kind: constant, rate: 2 Mbit/s}
"""


def run(folder: Path, name: str, traffic: str = "", *more: str) -> tuple[dict[str, Any], Path]:
    path, out = folder / "shared.yaml", folder / name
    path.write_text(SCENARIO + traffic)
    assert main(["run", str(path), "--out", str(out), "-q", "--no-probe", "--allow-degraded", *more]) == 0
    summary: dict[str, Any] = json.loads((out / "result.json").read_text())["summary"]
    return summary, out


@pytest.mark.timeout(120)
def test_traffic_of_half_a_links_rate_makes_a_transfer_take_twice_as_long(tmp_path: Path) -> None:
    (alone, _), (shared, out) = run(tmp_path, "alone"), run(tmp_path, "shared", HALF)
    assert shared["round_s"] / alone["round_s"] == pytest.approx(2, rel=0.15)
    assert shared["sent_payload_bytes"] == alone["sent_payload_bytes"]
    assert shared["sent_background_bytes"] / shared["lasted_s"] == pytest.approx(2 * 2e6 / 8, rel=0.05)
    assert shared["sent_wire_bytes"] / alone["sent_wire_bytes"] == pytest.approx(1, rel=0.1)  # retransmissions differ
    counts = json.loads((out / "links.json").read_text())["links"].values()
    for count in counts:
        dropped = sum(count["dropped_bytes"].values())
        assert count["offered_bytes"] == count["delivered_bytes"] + dropped + count["in_flight_bytes"]
    # The last packets may still lie between the player and the fabric.
    sent = shared["sent_wire_bytes"] + shared["sent_background_bytes"]
    assert sum(count["offered_bytes"] for count in counts) == pytest.approx(sent, rel=0.01)
    verified = json.loads((out / "verify.json").read_text())["invariants"]
    assert {each["id"]: each["truth"] for each in verified}["I1"] == "true"


@pytest.mark.timeout(120)
def test_traffic_goes_on_while_its_node_is_dead_and_when_it_has_come_back(tmp_path: Path) -> None:
    crash = "faults:\n  - {kind: crash, at: 1 s, for: 1 s, nodes: [pi-1]}\n"
    found, out = run(tmp_path, "crashed", HALF + crash, "--set", "stop_after=4 s")
    assert found["lasted_s"] == pytest.approx(4, rel=0.1)
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events].count("node_started") == 3  # the device twice
    assert found["sent_background_bytes"] / found["lasted_s"] == pytest.approx(2 * 2e6 / 8, rel=0.05)


@pytest.mark.timeout(120)
def test_a_slowed_run_has_as_many_packets_of_others_in_the_scenarios_time(tmp_path: Path) -> None:
    found, _ = run(tmp_path, "slowed", HALF, "--slow-down", "2", "--set", "learning.algorithm.rounds=2")
    assert found["sent_background_bytes"] / found["lasted_s"] == pytest.approx(2 * 2e6 / 8, rel=0.05)
