"""How faults of a node's process, means and clock are written, and what is said where they are written wrongly."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import ScenarioError
from orchestrator.plan import make_plan
from orchestrator.scenario import load_scenario

HEAD = """
name: forms
stop_after: 10 s
devices:
  - {group: pi, count: 2, profile: raspberry_pi_4, link: wifi_2g4}
topology: {kind: star}
learning:
  task: {name: digits}
  model: {name: mlp}
  algorithm: {name: fedavg}
  rule: {name: backprop}
faults:
"""


def planned(folder: Path, written: str) -> dict[str, Any]:
    path = folder / "forms.yaml"
    path.write_text(f"{HEAD}  - {{at: 1 s, for: 2 s, nodes: [pi-1], {written}}}\n")
    (fault,) = make_plan(load_scenario(path)).faults
    return dict(fault.parameters)


@pytest.mark.parametrize(
    ("written", "parameters"),
    [
        ("kind: stop", {"grace": 5.0}),
        ("kind: stop, grace: 500 ms", {"grace": 0.5}),
        ("kind: memory, limit: 200 MB", {"limit": 200e6, "to": None}),
        ("kind: memory, to: 80 %", {"limit": None, "to": 0.8}),
        ("kind: pids", {"limit": None}),
        ("kind: descriptors, limit: 64", {"limit": 64}),
        ("kind: disk, mode: full", {"mode": "full", "rate": None}),
        ("kind: disk, mode: slow, rate: 100 kB", {"mode": "slow", "rate": 100e3}),
        ("kind: clock, skew: 200 ms", {"skew": 0.2, "drift": None, "direction": "ahead"}),
        ("kind: clock, drift: 100 ppm, direction: behind", {"skew": None, "drift": 1e-4, "direction": "behind"}),
    ],
)
def test_a_fault_is_planned_as_it_is_written(written: str, parameters: dict[str, Any], tmp_path: Path) -> None:
    assert planned(tmp_path, written) == parameters


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("kind: memory", "either limit .* or to"),
        ("kind: memory, limit: 1 MB, to: 50 %", "either limit .* or to"),
        ("kind: memory, limit: 200", "a number without a unit"),
        ("kind: pids, limit: 0", "limit"),
        ("kind: disk, mode: slow", "a slow disk has a rate"),
        ("kind: disk, mode: full, rate: 1 kB", "a slow disk has a rate"),
        ("kind: clock", "how wrong is the clock"),
        ("kind: clock, drift: 100", "a number without a unit"),
        ("kind: stop, grace: 0 s", "grace"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_to_write(written: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=words):
        planned(tmp_path, written)
