"""Devices on batteries: an empty one dies once its charge is drawn, and not before; charged, it takes part again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import MachineCannotError
from orchestrator.plan import Plan
from tests.contract.cases import CASES
from tests.contract.worlds import WORLDS, Ran, run_in
from tests.plans import BOARD, fault

BASE_W = 2.0  # what tests.plans.BOARD draws when it does nothing
EVERYTHING_W = 6.0
ON_BATTERY = {"capacity": None, "charged": 1.0, "recharge": None, "charge": None}


def on_battery(ends_s: float, **parameters: Any) -> Plan:
    faults = (fault("battery", 0.5, None, nodes=("d-1",), parameters={**ON_BATTERY, **parameters}),)
    return CASES["fedavg"].plan(ends_s, faults)


def told(ran: Ran, id_: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads((ran.directory / "verify.json").read_text())["invariants"]
    return next(each for each in found if each["id"] == id_)


def lives(ran: Ran) -> list[float]:
    return [event["t"] for event in ran.events("node_started") if event["node"] == "d-1"]


@pytest.mark.parametrize("world", WORLDS)
def test_an_empty_device_dies_and_comes_back_when_it_is_charged(world: str, tmp_path: Path) -> None:
    ran = run_in(world, on_battery(6.0, capacity=4.0, charge=4.0), tmp_path / "run")
    (report,) = ran.result()["faults"]
    assert report["error"] is None
    assert report["evidence"] == "d-1: 4 J, modelled"
    empty = ran.events("battery_empty")[0]
    assert 4.0 <= empty["joules"] <= 4.0 + 2 * 0.25 * EVERYTHING_W
    assert 4.0 / EVERYTHING_W <= empty["t"] - 0.5 <= 4.0 / BASE_W + 0.5
    charged = ran.events("battery_charged")[0]
    assert 0.9 <= charged["t"] - empty["t"] <= 2.0  # 4 J at 4 W, and what a look comes late
    assert lives(ran)[1] >= charged["t"]
    assert f"after {empty['joules']:.2f} J" in report["heal_evidence"]
    assert "ended by signal 9" in report["heal_evidence"] or "connections closed" in report["heal_evidence"]
    for id_ in ("G10", "I7", "I10"):
        assert told(ran, id_)["truth"] == "true", told(ran, id_)


def test_a_battery_that_lasts_says_what_was_drawn_and_kills_nobody(tmp_path: Path) -> None:
    ran = run_in("simulation", on_battery(3.0, capacity=1000.0, charged=0.5), tmp_path / "run")
    (report,) = ran.result()["faults"]
    drawn = float(report["heal_evidence"].split(": ")[1].split(" J")[0])
    assert "of 500 J drawn since (modelled)" in report["heal_evidence"]
    assert BASE_W * 2.0 <= drawn <= EVERYTHING_W * 2.5
    assert lives(ran) == [0.0]
    assert told(ran, "G10")["truth"] == "true"


def test_what_is_not_recharged_stays_down_until_the_fault_is_over(tmp_path: Path) -> None:
    plan = on_battery(4.0, capacity=1.0)
    ran = run_in("simulation", replace(plan, faults=(replace(plan.faults[0], heal_s=3.0),)), tmp_path / "run")
    assert lives(ran) == [0.0, 3.0]


def test_two_faults_that_keep_a_device_down_let_it_go_one_after_the_other(tmp_path: Path) -> None:
    plan = on_battery(5.0, capacity=1.0, recharge=0.3)
    crash = fault("crash", 0.6, 4.0, nodes=("d-1",), index=1)
    ran = run_in("simulation", replace(plan, faults=(*plan.faults, crash)), tmp_path / "run")
    assert lives(ran)[:2] == [0.0, 4.0]
    assert told(ran, "G10")["truth"] == "true"


def test_a_device_without_figures_is_refused_before_the_run(tmp_path: Path) -> None:
    plan = on_battery(3.0)
    with pytest.raises(MachineCannotError, match=r"d-1 \(board\) has no battery; say capacity"):
        run_in("simulation", plan, tmp_path / "run")
    dark = replace(plan, nodes=tuple(replace(node, profile=replace(BOARD, power=None)) for node in plan.nodes))
    with pytest.raises(MachineCannotError, match="no power figures to drain it by"):
        run_in("simulation", dark, tmp_path / "run")


def test_the_profiles_own_battery_serves_where_no_capacity_is_said(tmp_path: Path) -> None:
    plan = on_battery(2.0)
    small = replace(BOARD, battery_joules=2.0)
    nodes = tuple(replace(node, profile=small) if node.role == "device" else node for node in plan.nodes)
    ran = run_in("simulation", replace(plan, nodes=nodes), tmp_path / "run")
    assert ran.events("battery_empty")[0]["charge_joules"] == 2.0


def test_a_device_that_learns_knows_its_charge_while_it_lives_on_it(tmp_path: Path) -> None:
    plan = CASES["elabip"].plan(4.0, on_battery(4.0, capacity=20.0).faults)
    plan = replace(plan, faults=(replace(plan.faults[0], heal_s=3.0),))
    ran = run_in("simulation", plan, tmp_path / "run")
    told = ran.records("d-1", "charge")
    charges = [each["value"] for each in told]
    assert charges == sorted(charges, reverse=True)
    assert charges[0] > 0.9
    assert 1 - EVERYTHING_W * 2.5 / 20 <= charges[-1] <= 1 - BASE_W * 2.0 / 20
    assert all(0.5 <= each["t"] <= 3.1 for each in told), "on mains before and after it has none"
    assert ran.records("d-1", "plasticity")[-1]["t"] > 3.2
    assert not ran.records("d-2", "charge")


@pytest.mark.parametrize("world", WORLDS)
def test_a_device_that_comes_back_charged_is_told_so(world: str, tmp_path: Path) -> None:
    plan = CASES["elabip"].plan(6.0, on_battery(6.0, capacity=4.0, recharge=1.0).faults)
    ran = run_in(world, plan, tmp_path / "run")
    empty, charged = ran.events("battery_empty")[0]["t"], ran.events("battery_charged")[0]["t"]
    told = ran.records("d-1", "charge")
    before = [each["value"] for each in told if each["t"] < empty]
    assert before == sorted(before, reverse=True)
    assert before[-1] < 0.5
    after = [each["value"] for each in told if each["t"] > charged]
    if world == "simulation":  # in real time it may join again too late to say much
        assert max(after) > 0.8
    assert all(each > before[-1] for each in after[:1])


def test_a_straggler_sees_its_load_and_others_see_none(tmp_path: Path) -> None:
    slow = fault("straggler", 1.5, 3.0, nodes=("d-1",), parameters={"speed": 0.25})
    ran = run_in("simulation", CASES["elabip"].plan(4.0, (slow,)), tmp_path / "run")
    at = {each["t"]: each["value"] for each in ran.records("d-1", "load")}
    assert {load for t, load in at.items() if t < 1.5 or t > 3.2} == {0.0}
    assert max(at.values()) == pytest.approx(0.75, abs=0.01)
    assert {each["value"] for each in ran.records("d-2", "load")} == {0.0}
