"""Faults of a node's process and of what it lives on, in every world that has them: what is seen, and what comes of it.

Each run is short, and its own verification must not take what the fault did for a defect.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import MachineCannotError
from orchestrator.plan import PlannedFault
from tests.contract.cases import CASES
from tests.contract.worlds import WORLDS, Ran, run_in
from tests.plans import COORDINATOR, fault

VICTIM = "d-1"
ENDS_S = 6.0  # a node that comes back has to load first


def ran_with(world: str, directory: Path, *faults: PlannedFault, case: str = "fedavg", ends_s: float = ENDS_S) -> Ran:
    ran = run_in(world, CASES[case].plan(ends_s, faults), directory / "run")
    assert ran.outcome.status in ("complete", "degraded"), ran.outcome.notes
    verified = json.loads((ran.directory / "verify.json").read_text())["invariants"]
    reasons = [reason for each in verified if each["truth"] == "false" for reason in each["reasons"]]
    assert reasons == []
    return ran


def only_report(ran: Ran) -> dict[str, Any]:
    (report,) = ran.result()["faults"]
    assert report["error"] is None, report["error"]
    found: dict[str, Any] = report
    return found


def of_node(ran: Ran, event: str, node: str) -> list[dict[str, Any]]:
    return [each for each in ran.events(event) if each["node"] == node]


@pytest.mark.parametrize("world", WORLDS)
def test_a_node_that_is_told_to_end_says_goodbye_and_ends_within_its_grace(world: str, tmp_path: Path) -> None:
    stop = fault("stop", 1.0, 2.0, nodes=(VICTIM,), parameters={"grace": 3.0})
    ran = ran_with(world, tmp_path, stop)
    report = only_report(ran)
    assert "exit status 143" in report["evidence"]
    assert "within its grace of 3 s" in report["evidence"]
    assert report["heal_evidence"] == f"{VICTIM}: started again"
    assert [each["signal"] for each in of_node(ran, "node_told_to_end", VICTIM)] == [15]
    exits = of_node(ran, "node_exited", VICTIM)
    assert [(each["returncode"], each["asked"]) for each in exits] == [(143, True), (0, True)]
    assert not any(1.3 < record["t"] < 2.0 for record in ran.records(VICTIM, "sent_payload_bytes"))


@pytest.mark.parametrize("world", WORLDS)
def test_a_coordinator_that_was_told_to_end_goes_on_from_its_checkpoint(world: str, tmp_path: Path) -> None:
    stop = fault("stop", 1.5, 2.0, nodes=(COORDINATOR,), parameters={"grace": 3.0})
    ran = ran_with(world, tmp_path, stop)
    assert "within its grace" in only_report(ran)["evidence"]
    rounds = [(record["t"], record["value"]) for record in ran.records(COORDINATOR, "round")]
    assert min(value for t, value in rounds if t > 2.0) >= max(value for t, value in rounds if t < 1.5)


@pytest.mark.parametrize("kind", ["memory", "pids", "descriptors"])
def test_a_simulation_refuses_to_limit_what_its_nodes_do_not_have(kind: str, tmp_path: Path) -> None:
    parameters = {"limit": 100, "to": None} if kind == "memory" else {"limit": 100}
    with pytest.raises(MachineCannotError, match=rf"fault 0 \({kind}\) needs {kind}, .* --substrate mininet"):
        ran_with("simulation", tmp_path, fault(kind, 1.0, 2.0, nodes=(VICTIM,), parameters=parameters))


@pytest.mark.root
def test_limits_are_read_back_from_the_kernel_and_lifted_again(tmp_path: Path) -> None:
    faults = (
        fault("memory", 1.0, 2.0, nodes=("d-1",), index=0, parameters={"limit": 900e6, "to": None}),
        fault("pids", 1.0, 2.0, nodes=("d-2",), index=1, parameters={"limit": 100}),
        fault("descriptors", 1.0, 2.0, nodes=("d-3",), index=2, parameters={"limit": 200}),
    )
    ran = ran_with("mininet", tmp_path, *faults)
    memory, pids, descriptors = ran.result()["faults"]
    assert "memory limit read back as 900.0 MB" in memory["evidence"]
    assert memory["heal_evidence"] == f"d-1: memory limit read back as {(1 << 30) / 1e6:.1f} MB, oom_kill 0"
    assert "pids.max read back as 100" in pids["evidence"]
    assert pids["heal_evidence"] == "d-2: pids.max read back as max, 0 refused meanwhile"
    assert "max open files read back as 200," in descriptors["evidence"]
    assert "max open files read back as 200," not in descriptors["heal_evidence"]
    assert {each["returncode"] for each in ran.events("node_exited")} == {0}


@pytest.mark.root
def test_who_uses_more_memory_than_is_left_is_killed_for_it_and_comes_back(tmp_path: Path) -> None:
    ran = ran_with(
        "mininet", tmp_path, fault("memory", 1.0, 2.0, nodes=(VICTIM,), parameters={"limit": None, "to": 0.5})
    )
    report = only_report(ran)
    assert "memory limit read back as" in report["evidence"]
    assert "oom_kill" in report["heal_evidence"]  # the kernel counts each of its attempts
    assert "oom_kill 0" not in report["heal_evidence"]
    assert "ended for want of it, started again" in report["heal_evidence"]
    exits = of_node(ran, "node_exited", VICTIM)
    assert [(each["returncode"], each["asked"]) for each in exits] == [(-9, True), (0, True)]
    assert not any("ended by themselves" in note for note in ran.outcome.notes)


@pytest.mark.root
def test_nodes_that_get_no_more_threads_or_files_live_on_or_come_back(tmp_path: Path) -> None:
    faults = (
        fault("pids", 0.5, 1.5, nodes=(COORDINATOR,), index=0, parameters={"limit": None}),
        fault("descriptors", 3.0, 6.0, nodes=(COORDINATOR,), index=1, parameters={"limit": None}),
    )
    ran = ran_with("mininet", tmp_path, *faults, ends_s=8.0)
    for report in ran.result()["faults"]:
        assert report["error"] is None
        assert "read back" in report["evidence"]
    reasons = {each["labels"]["reason"] for each in ran.records(COORDINATOR, "failed_saves")}
    assert "EMFILE" in reasons, "its checkpoints found no descriptor"
    assert any(record["t"] > 6.0 for record in ran.records(COORDINATOR, "round"))


def checkpoint_faults(mode: str, **more: Any) -> PlannedFault:
    return fault("disk", 1.0, 2.5, nodes=(COORDINATOR,), parameters={"mode": mode, "rate": None, **more})


@pytest.mark.parametrize("world", WORLDS)
def test_a_full_disk_refuses_checkpoints_and_the_node_says_so_and_goes_on(world: str, tmp_path: Path) -> None:
    ran = ran_with(world, tmp_path, checkpoint_faults("full"))
    report = only_report(ran)
    failed = ran.records(COORDINATOR, "failed_saves")
    assert failed
    assert {each["labels"]["reason"] for each in failed} == {"ENOSPC" if world == "simulation" else "EFBIG"}
    assert all(1.0 <= each["t"] <= 3.0 for each in failed)
    told = int(report["heal_evidence"].partition(" checkpoints could not")[0].rpartition(" ")[2])
    assert abs(told - len(failed)) <= 1, "one may be under way at the heal"
    assert any(1.0 < record["t"] < 2.5 for record in ran.records(COORDINATOR, "round")), "it learns on without them"
    assert [each["returncode"] for each in of_node(ran, "node_exited", COORDINATOR)] == [0]


@pytest.mark.parametrize("world", WORLDS)
def test_a_slow_disk_takes_its_time_over_every_checkpoint(world: str, tmp_path: Path) -> None:
    rate = 40e3
    ran = ran_with(world, tmp_path, checkpoint_faults("slow", rate=rate))
    report = only_report(ran)
    assert "confirms 40000 bytes a second" in report["evidence"]
    words = report["heal_evidence"].split()
    size, took_s = float(words[words.index("bytes,") - 1]), float(words[-2])
    assert size > 0
    assert took_s >= 0.95 * size / rate


@pytest.mark.parametrize("world", WORLDS)
def test_a_torn_checkpoint_is_told_and_the_one_before_it_is_where_the_node_goes_on(world: str, tmp_path: Path) -> None:
    ran = ran_with(
        world, tmp_path, fault("disk", 1.5, 2.0, nodes=(COORDINATOR,), parameters={"mode": "torn", "rate": None})
    )
    report = only_report(ran)
    assert "torn" in report["evidence"]
    assert "1 before it" in report["evidence"]
    assert of_node(ran, "node_checkpoint_broken", COORDINATOR)
    rounds = [(record["t"], record["value"]) for record in ran.records(COORDINATOR, "round")]
    died_s = of_node(ran, "node_exited", COORDINATOR)[0]["t"]  # on a busy machine later than the fault's instant
    reached = max(value for t, value in rounds if t < died_s)
    assert reached - 1 <= min(value for t, value in rounds if t > died_s) <= reached + 1, "not from the beginning"


@pytest.mark.parametrize("world", WORLDS)
def test_a_clock_that_is_set_wrong_is_measured_so_and_records_keep_the_runs_time(world: str, tmp_path: Path) -> None:
    parameters = {"skew": 1.5, "drift": None, "direction": "ahead"}
    ran = ran_with(world, tmp_path, fault("clock", 1.0, 2.5, nodes=(VICTIM,), parameters=parameters))
    report = only_report(ran)
    offsets = [float(found) for found in re.findall(r"([+-][0-9.]+) ms ahead", report["evidence"])]
    healed = [float(found) for found in re.findall(r"([+-][0-9.]+) ms ahead", report["heal_evidence"])]
    slack = 1e-6 if world == "simulation" else 50.0
    for found, expected in zip([*offsets, *healed], [0.0, 1500.0, 1500.0, 0.0], strict=True):
        assert abs(found - expected) <= slack
    times = [record["t"] for record in ran.records(VICTIM, "local_phase_s")]
    assert times == sorted(times)
    assert max(times) <= ENDS_S + 0.5


@pytest.mark.parametrize("direction", ["ahead", "behind"])
def test_a_clock_that_drifts_is_off_by_its_rate_times_the_time(direction: str, tmp_path: Path) -> None:
    parameters = {"skew": None, "drift": 0.01, "direction": direction}
    ran = ran_with("simulation", tmp_path, fault("clock", 1.0, 3.0, nodes=(COORDINATOR,), parameters=parameters))
    report = only_report(ran)
    assert f"goes {'+' if direction == 'ahead' else '-'}10000 ppm" in report["evidence"]
    (before, after) = re.findall(r"([+-][0-9.]+) ms ahead", report["heal_evidence"])
    assert (float(before), float(after)) == (20.0 if direction == "ahead" else -20.0, 0.0)
