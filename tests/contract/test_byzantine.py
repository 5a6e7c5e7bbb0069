"""Every algorithm, with a device that lies: it goes on, refuses by name what it cannot use, and it is told."""

import json
from collections import Counter
from pathlib import Path

import pytest

from node_image.byzantine import WAYS
from orchestrator.plan import PlannedFault
from tests.contract.cases import CASES
from tests.contract.worlds import Ran, run_in
from tests.plans import fault

LIAR = "d-1"
STARTS_S, HEALS_S, ENDS_S = 1.0, 2.5, 4.0
REFUSED = {"nan": "not_finite", "wrong_shape": "wrong_shape"}
WITHOUT_FLOATS = {"centralized", "elabip"}  # they send whole numbers: samples and features of eight bits
TALKING = [name for name, case in CASES.items() if case.gives]
LIES = [(name, way) for name in TALKING for way in WAYS if way != "nan" or name not in WITHOUT_FLOATS]


def lied_to(world: str, name: str, way: str, directory: Path) -> Ran:
    faults = (fault("byzantine", STARTS_S, HEALS_S, nodes=(LIAR,), parameters={"send": way}),)
    return run_in(world, CASES[name].plan(ENDS_S, faults), directory)


def altered(ran: Ran) -> list[float]:
    return [record["t"] for record in ran.records(LIAR, "altered_messages")]


def refused(ran: Ran) -> Counter[str]:
    """What others refused of the liar, by reason."""
    found = [record for node in ran.nodes() for record in ran.records(node, "discarded_updates")]
    return Counter(each["labels"]["reason"] for each in found if each["labels"].get("peer") == LIAR)


def truth(ran: Ran, id_: str) -> str:
    found = json.loads((ran.directory / "verify.json").read_text())["invariants"]
    return str(next(each["truth"] for each in found if each["id"] == id_))


@pytest.mark.parametrize(("name", "way"), LIES)
def test_every_algorithm_goes_on_among_lies(name: str, way: str, tmp_path: Path) -> None:
    ran = lied_to("simulation", name, way, tmp_path / "run")
    assert ran.outcome.status == "complete", ran.outcome.notes
    (report,) = ran.result()["faults"]
    assert report["error"] is None
    assert f"confirms send {way}" in report["evidence"]
    assert f"{len(altered(ran))} messages altered" in report["heal_evidence"]
    assert altered(ran)
    assert all(STARTS_S <= t <= HEALS_S for t in altered(ran))
    assert truth(ran, "G10") == "true"
    if way in REFUSED:
        assert refused(ran)[REFUSED[way]] > 0
        assert f" {REFUSED[way]}" in report["heal_evidence"]


@pytest.mark.parametrize("name", sorted(WITHOUT_FLOATS))
def test_a_liar_that_had_nothing_to_alter_is_no_evidence(name: str, tmp_path: Path) -> None:
    ran = lied_to("simulation", name, "nan", tmp_path / "run")
    assert ran.outcome.status == "complete", ran.outcome.notes
    assert "0 messages altered" in ran.result()["faults"][0]["heal_evidence"]
    assert truth(ran, "G10") == "unknown"


def among(directory: Path, *others: PlannedFault) -> Ran:
    """FedAvg with a liar whom other faults hit as well."""
    faults = (fault("byzantine", STARTS_S, HEALS_S, nodes=(LIAR,), parameters={"send": "sign_flip"}), *others)
    return run_in("simulation", CASES["fedavg"].plan(ENDS_S, faults), directory)


def test_a_liar_that_is_frozen_as_its_time_ends_tells_the_truth_when_it_goes_on(tmp_path: Path) -> None:
    ran = among(tmp_path / "run", fault("pause", 2.0, 3.0, nodes=(LIAR,), index=1))
    assert "frozen by fault 1, nobody to tell" in ran.result()["faults"][0]["heal_evidence"]
    sent = [record["t"] for record in ran.records(LIAR, "sent_payload_bytes")]
    assert max(sent) > 3.0
    assert max(altered(ran)) < 2.0
    assert truth(ran, "G10") == "true"


def test_a_liar_that_dies_lies_on_in_its_next_life(tmp_path: Path) -> None:
    ran = among(tmp_path / "run", fault("crash", 1.4, 1.6, nodes=(LIAR,), index=1))
    assert min(altered(ran)) < 1.4
    assert 1.6 < max(altered(ran)) <= HEALS_S
    told = int(ran.result()["faults"][0]["heal_evidence"].split()[1])  # by its records, which come a little late
    assert len(altered(ran)) - 3 <= told <= len(altered(ran))


def test_of_two_lies_at_once_the_later_is_told_until_it_ends(tmp_path: Path) -> None:
    other = fault("byzantine", 1.5, 2.0, nodes=(LIAR,), index=1, parameters={"send": "wrong_shape"})
    ran = among(tmp_path / "run", other)
    ways = [(record["t"], record["labels"]["how"]) for record in ran.records(LIAR, "altered_messages")]
    assert {way for t, way in ways if 1.5 < t < 2.0} == {"wrong_shape"}
    assert {way for t, way in ways if not 1.5 <= t <= 2.0} == {"sign_flip"}
    assert any(t > 2.0 for t, _ in ways), "the first goes on"


@pytest.mark.root
def test_a_liar_on_a_real_network_is_refused_by_name(tmp_path: Path) -> None:
    ran = lied_to("mininet", "fedavg", "nan", tmp_path / "run")
    (report,) = ran.result()["faults"]
    assert report["error"] is None
    assert "confirms send nan" in report["evidence"]
    assert altered(ran)
    assert refused(ran)["not_finite"] == len(altered(ran))
    assert truth(ran, "G10") == "true"
