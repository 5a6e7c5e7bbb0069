"""Every kind of fault, in every world: it acts with evidence, it heals, and the world is then as before."""

from pathlib import Path
from typing import Any

import pytest

from node_image.spec import Chosen
from orchestrator.faults import FAULTS
from orchestrator.plan import PlannedFault
from tests.contract.worlds import WORLDS, Ran, run_in
from tests.plans import fault, star

LINKS = ("d-1>coordinator", "coordinator>d-1")
CASES: dict[str, dict[str, Any]] = {
    "coordinator_crash": {"nodes": ("coordinator",)},
    "crash": {"nodes": ("d-1",)},
    "degrade": {"links": LINKS, "parameters": {"rate_share": 0.5, "add_delay": 0.02, "loss": 0.01}},
    "disconnect": {"nodes": ("d-1",)},
    "dropout": {"nodes": ("d-1",), "parameters": {"by": "pause"}},
    "flap": {"links": LINKS, "parameters": {"every": 0.5, "down": 0.2}},
    "partition": {"nodes": ("d-1",), "parameters": {"direction": "both"}},
    "pause": {"nodes": ("d-1",)},
    "straggler": {"nodes": ("d-1",), "parameters": {"speed": 0.25}},
}
STARTS_S, HEALS_S, ENDS_S = 1.0, 2.5, 6.5


def disturbed(world: str, planned: PlannedFault, directory: Path, stop_after_s: float = ENDS_S) -> Ran:
    algorithm = Chosen("fedavg", {"local_steps": 5, "deadline_s": 1.0})
    return run_in(world, star(3, algorithm=algorithm, stop_after_s=stop_after_s, faults=(planned,)), directory)


def test_every_kind_of_fault_has_its_case_here() -> None:
    assert CASES.keys() == FAULTS.keys()


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_acts_and_heals_and_the_victim_takes_part_again(kind: str, world: str, tmp_path: Path) -> None:
    ran = disturbed(world, fault(kind, STARTS_S, HEALS_S, **CASES[kind]), tmp_path / "run")
    (report,) = ran.result()["faults"]
    assert report["error"] is None
    assert report["evidence"]
    assert report["heal_evidence"]
    assert STARTS_S <= report["injected_at_s"] < report["healed_at_s"] <= ENDS_S
    assert ran.outcome.status in ("complete", "degraded"), ran.outcome.notes
    victim = "coordinator" if kind == "coordinator_crash" else "d-1"
    sent = [record["t"] for record in ran.records(victim, "sent_payload_bytes")]
    assert any(t < STARTS_S for t in sent), "it took part before"
    assert any(t > HEALS_S for t in sent), "and after"


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("kind", FAULTS)
def test_a_run_that_ends_in_the_middle_of_a_fault_heals_it_and_ends_well(kind: str, world: str, tmp_path: Path) -> None:
    ran = disturbed(world, fault(kind, STARTS_S, None, **CASES[kind]), tmp_path / "run", stop_after_s=2.5)
    (report,) = ran.result()["faults"]
    assert report["evidence"]
    assert report["heal_evidence"]
    assert report["error"] is None
    assert ran.outcome.status in ("complete", "degraded"), ran.outcome.notes


@pytest.mark.parametrize("world", WORLDS)
def test_nothing_crosses_a_partition_while_it_lasts(world: str, tmp_path: Path) -> None:
    ran = disturbed(world, fault("partition", 1.0, 3.0, **CASES["partition"]), tmp_path / "run")
    (report,) = ran.result()["faults"]
    margin_s = 0.1  # one link delay and what was queued
    heard = [
        record["t"]
        for record in ran.records("coordinator", "received_payload_bytes")
        if record["labels"]["peer"] == "d-1"
        and report["injected_at_s"] + margin_s < record["t"] < report["healed_at_s"]
    ]
    assert heard == []


@pytest.mark.parametrize("world", WORLDS)
def test_a_device_that_is_dead_or_frozen_sends_nothing(world: str, tmp_path: Path) -> None:
    for kind in ("crash", "pause"):
        ran = disturbed(world, fault(kind, 1.0, 3.0, **CASES[kind]), tmp_path / kind)
        (report,) = ran.result()["faults"]
        during = [
            record["t"]
            for record in ran.records("d-1", "sent_payload_bytes")
            if report["injected_at_s"] + 0.3 < record["t"] < report["healed_at_s"]
        ]
        assert during == [], kind


@pytest.mark.parametrize("world", WORLDS)
def test_a_coordinator_that_died_goes_on_with_the_round_after_its_checkpoint(world: str, tmp_path: Path) -> None:
    ran = disturbed(world, fault("coordinator_crash", 2.0, 3.0, nodes=("coordinator",)), tmp_path / "run")
    rounds = [(record["t"], record["value"]) for record in ran.records("coordinator", "round")]
    before = max(value for t, value in rounds if t < 2.0)
    after = [value for t, value in rounds if t > 3.0]
    assert after, "it closed rounds again"
    assert min(after) >= before, "it did not begin anew"
    assert [value for _, value in rounds] == sorted(value for _, value in rounds)
