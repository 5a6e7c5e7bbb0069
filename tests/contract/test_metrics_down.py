"""The way of the records is cut: they come late with their own times, or are lost, and the run says which."""

import json
from pathlib import Path
from typing import Any

import pytest

from node_image.records import Record
from tests.contract.cases import CASES
from tests.contract.worlds import WORLDS, Ran, run_in
from tests.plans import fault

CUT_S, BACK_S, ENDS_S = 1.0, 3.0, 4.0


def silent(world: str, records: str, directory: Path, back_s: float | None = BACK_S, *also: Any) -> Ran:
    faults = (fault("metrics_down", CUT_S, back_s, nodes=("d-1",), parameters={"records": records}), *also)
    return run_in(world, CASES["fedavg"].plan(ENDS_S, faults), directory)


def checks(ran: Ran, what: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((ran.directory / "receipt.json").read_text())["checks"]
    return [each for each in found if each["what"] == what]


def truth(ran: Ran, id_: str) -> str:
    found = json.loads((ran.directory / "verify.json").read_text())["invariants"]
    return str(next(each["truth"] for each in found if each["id"] == id_))


def made_meanwhile(ran: Ran, name: str) -> int:
    lines = (ran.directory / "nodes" / name / "records.jsonl").read_text().splitlines()
    return sum(CUT_S + 0.3 < Record.from_line(line).t < BACK_S - 0.3 for line in lines)


@pytest.mark.parametrize("world", WORLDS)
def test_records_that_were_kept_come_late_and_nothing_is_missing(world: str, tmp_path: Path) -> None:
    ran = silent(world, "kept", tmp_path / "run")
    (report,) = ran.result()["faults"]
    assert report["evidence"] == "d-1: confirms records kept"
    (late,) = checks(ran, "records_late")
    assert late["where"] == "d-1"
    assert late["found"] > 0
    assert report["heal_evidence"] == f"d-1: {late['found']:.0f} records late, 0 lost"
    assert not checks(ran, "records_lost")
    assert made_meanwhile(ran, "d-1") > 0
    for id_ in ("I2", "I3", "I4", "I10", "G10"):
        assert truth(ran, id_) == "true", id_


@pytest.mark.parametrize("world", WORLDS)
def test_records_that_were_lost_are_counted_and_the_run_is_not_green(world: str, tmp_path: Path) -> None:
    ran = silent(world, "lost", tmp_path / "run")
    (lost,) = checks(ran, "records_lost")
    assert lost["found"] > 0
    assert f"0 records late, {lost['found']:.0f} lost" in ran.result()["faults"][0]["heal_evidence"]
    assert made_meanwhile(ran, "d-1") == 0
    assert made_meanwhile(ran, "d-2") > 0
    assert ran.outcome.status == "degraded"
    assert ran.outcome.exit_code != 0
    assert truth(ran, "I2") == "unknown"
    assert truth(ran, "G10") == "true"


def test_a_run_with_kept_records_is_the_same_run(tmp_path: Path) -> None:
    ran = silent("simulation", "kept", tmp_path / "cut")
    beside = run_in("simulation", CASES["fedavg"].plan(ENDS_S), tmp_path / "whole")
    assert ran.outcome.summary == beside.outcome.summary
    for name in ran.nodes():
        mine, others = ((each.directory / "nodes" / name / "records.jsonl").read_text() for each in (ran, beside))
        assert mine == others, name


def test_a_run_that_ends_meanwhile_has_all_records_still(tmp_path: Path) -> None:
    ran = silent("simulation", "kept", tmp_path / "cut", None)
    beside = run_in("simulation", CASES["fedavg"].plan(ENDS_S), tmp_path / "whole")
    assert ran.outcome.summary == beside.outcome.summary


def test_what_a_node_that_dies_had_kept_is_lost_and_nobody_can_tell(tmp_path: Path) -> None:
    ran = silent("simulation", "kept", tmp_path / "run", BACK_S, fault("crash", 2.0, 2.5, nodes=("d-1",), index=1))
    assert truth(ran, "I2") == "unknown"
    assert ran.outcome.status == "complete", ran.outcome.notes
    assert ran.events("node_started")[-1]["node"] == "d-1"
    late = next(each for each in ran.result()["faults"] if each["kind"] == "metrics_down")
    assert "records late" in late["heal_evidence"], "its new life was told to keep its records too"


def test_two_cuts_that_overlap_end_with_the_last(tmp_path: Path) -> None:
    other = fault("metrics_down", 2.0, 3.5, nodes=("d-1",), index=1, parameters={"records": "kept"})
    ran = silent("simulation", "kept", tmp_path / "run", BACK_S, other)
    assert len(ran.events("records_delayed")) == 2
    beside = run_in("simulation", CASES["fedavg"].plan(ENDS_S), tmp_path / "whole")
    assert ran.outcome.summary == beside.outcome.summary
