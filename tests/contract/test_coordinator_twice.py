"""A second coordinator while the first lives on: what the first says reaches nobody, and the second is the run's."""

import json
import re
from pathlib import Path

import pytest

from tests.contract.cases import CASES
from tests.contract.worlds import WORLDS, Ran, run_in
from tests.plans import COORDINATOR, fault

AT_S = 1.5


def twice(world: str, name: str, directory: Path, heals_s: float | None, ends_s: float) -> Ran:
    plan = CASES[name].plan(
        ends_s, (fault("coordinator_twice", AT_S, heals_s, nodes=(COORDINATOR,), parameters={"takeover": 1.0}),)
    )
    return run_in(world, plan, directory)


def truths(ran: Ran) -> dict[str, str]:
    found = json.loads((ran.directory / "verify.json").read_text())["invariants"]
    return {each["id"]: each["truth"] for each in found}


@pytest.mark.parametrize("world", WORLDS)
def test_only_the_second_of_two_coordinators_acts(world: str, tmp_path: Path) -> None:
    ran = twice(world, "fedavg", tmp_path / "run", 6.0, 8.0)
    (report,) = ran.result()["faults"]
    assert report["error"] is None
    assert ran.outcome.status in ("complete", "degraded"), ran.outcome.notes
    assert "3 connections of devices moved over" in report["evidence"]
    assert "both live" in report["evidence"]
    tried = re.search(r"sent (\d+) into connections that nobody holds, dropped: (.*)", report["heal_evidence"])
    assert tried is not None
    assert int(tried[1]) + int(re.sub(r"\D", "", tried[2]) or 0) > 0, "the first did try"
    lives = [event["t"] for event in ran.events("node_started") if event["node"] == COORDINATOR]
    assert len(lives) == 2
    rounds = [(record["t"], record["value"]) for record in ran.records(COORDINATOR, "round")]
    assert [value for _, value in rounds] == sorted(value for _, value in rounds), "one history, not two"
    assert any(t > lives[1] for t, _ in rounds)
    found = truths(ran)
    assert found.pop("I2") in ("true", "unknown" if world == "mininet" else "true")
    assert "false" not in found.values(), found
    assert found["G10"] == "true"


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case.plan(1.0).nodes[0].role == "coordinator"]
)
def test_so_it_is_with_every_algorithm_that_has_one(name: str, tmp_path: Path) -> None:
    ran = twice("simulation", name, tmp_path / "run", 3.5, 5.0)
    assert ran.outcome.status == "complete", ran.outcome.notes
    if CASES[name].gives:
        assert any(t > AT_S for t in (each["t"] for each in ran.records(COORDINATOR, "received_payload_bytes")))
    assert truths(ran)["G10"] == "true"


def test_the_same_seed_has_the_same_two_coordinators(tmp_path: Path) -> None:
    one, other = (twice("simulation", "fedasync", tmp_path / each, 3.5, 5.0) for each in ("one", "other"))
    assert (one.directory / "events.jsonl").read_text() == (other.directory / "events.jsonl").read_text()


def test_a_run_that_ends_meanwhile_leaves_no_second_one(tmp_path: Path) -> None:
    ran = twice("simulation", "fedavg", tmp_path / "run", None, 4.0)
    (report,) = ran.result()["faults"]
    assert "the superseded coordinator took in" in report["heal_evidence"]
    assert ran.outcome.status == "complete", ran.outcome.notes
