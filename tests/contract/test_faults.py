"""Every kind of fault, with every algorithm, in every world: it acts with evidence, it heals, and its victim is back.

In Mininet FedAvg meets every kind, one after another in one run, each other algorithm a crash and then the kind that
troubles it most. In Docker FedAvg meets every kind that a container can, in one run too, on three devices at a time.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import MachineCannotError
from orchestrator.faults import FAULTS
from orchestrator.outcome import RunOptions
from orchestrator.plan import Plan, PlannedFault
from orchestrator.preflight import preflight
from orchestrator.substrates import SUBSTRATES
from tests.contract.cases import CASES, Case
from tests.contract.worlds import WORLDS, Ran, run_in
from tests.plans import COORDINATOR, fault

VICTIM = "d-1"
PARAMETERS: dict[str, dict[str, Any]] = {
    "battery": {"capacity": 1.0, "charged": 1.0, "recharge": 0.3, "charge": None},
    "byzantine": {"send": "nan"},
    "clock": {"skew": 0.2, "drift": 1e-4, "direction": "ahead"},
    "coordinator_crash": {},
    "coordinator_twice": {"takeover": 0.3},
    "crash": {},
    "descriptors": {"limit": None},
    "degrade": {"rate_share": 0.5, "add_delay": 0.02, "loss": 0.01},
    "disconnect": {},
    "disk": {"mode": "slow", "rate": 1e4},
    "dropout": {"by": "pause"},
    "exporter_down": {"how": "hangs"},
    "flap": {"every": 0.5, "down": 0.2},
    "memory": {"limit": None, "to": 0.8},
    "metrics_down": {"records": "kept"},
    "partition": {"direction": "both"},
    "pause": {},
    "pids": {"limit": None},
    "reset": {},
    "slow_close": {},
    "stop": {"grace": 1.0},
    "straggler": {"speed": 0.25},
    "thermal": {
        "threshold": 35.0,
        "speed": 0.5,
        "hysteresis": 5.0,
        "ambient": 25.0,
        "rise": 200.0,
        "time_constant": 2.0,
    },
}
HARDEST = {  # a device that is away in the middle of a round or of a pairing; a coordinator that forgets what it sent
    "bilayer_gossip": "partition",
    "centralized": "coordinator_crash",
    "draco": "flap",
    "dsgd": "pause",
    "eclm": "coordinator_crash",
    "elabip": "coordinator_crash",
    "fedasync": "coordinator_crash",
    "fedbuff": "coordinator_crash",
    "fedprox": "straggler",
    "local_only": "pause",
}
STARTS_S, HEALS_S, ENDS_S = 1.5, 2.5, 5.0
ACTS_S = 1.0  # each of several faults in turn; then its victim has time to come back
# A victim that was dead loads and builds anew; others are back with the next message, for which FedAvg waits least.
DEADLY = ("battery", "coordinator_crash", "coordinator_twice", "crash", "memory", "stop")
IN_CONTAINERS_S = 4.0  # from one fault to the next on the same device
BACK_IN_CONTAINERS_S = 14.0  # after a deadly one: a container that comes back loads torch first
CHANCE = 0.1
FEDAVG = CASES["fedavg"]


def groups(kinds: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """In groups of so many or less, neighbours apart: what is alike has a name that is, too."""
    count = -(-len(kinds) // size)
    return [tuple(kinds[first::count]) for first in range(count)]


def meets(name: str, kind: str) -> bool:
    """Whether the kind is about a node that the algorithm needs."""
    return FAULTS[kind].targets != "coordinator" or (has_coordinator(CASES[name]) and bool(CASES[name].gives))


def has_coordinator(case: Case) -> bool:
    return case.plan(1.0).nodes[0].role == "coordinator"


def within(world: str) -> list[str]:
    """The kinds that a world is able to make true; preflight refuses the others."""
    return [kind for kind in FAULTS if FAULTS[kind].needs(PARAMETERS[kind]) <= SUBSTRATES[world].can]


SIMULATED = within("simulation")
MET = [(name, kind) for name in CASES for kind in SIMULATED if meets(name, kind)]
IN_MININET = {name: ("crash", HARDEST[name]) for name in HARDEST} | {"fedavg": tuple(FAULTS)}
IN_CONTAINERS = within("docker")


def planned(kind: str, plan: Plan, at_s: float, heal_s: float | None, victim: str = VICTIM) -> PlannedFault:
    """A fault of this kind, of one device or all its links, or of the coordinator."""
    if FAULTS[kind].targets == "links":
        links = tuple(link.id for link in plan.links if victim in (link.source, link.target))
        return fault(kind, at_s, heal_s, links=links, parameters=PARAMETERS[kind])
    if FAULTS[kind].targets == "run":
        return fault(kind, at_s, heal_s, parameters=PARAMETERS[kind])
    node = COORDINATOR if FAULTS[kind].targets == "coordinator" else victim
    return fault(kind, at_s, heal_s, nodes=(node,), parameters=PARAMETERS[kind])


def disturbed(
    world: str,
    kind: str,
    directory: Path,
    case: Case = FEDAVG,
    times_s: tuple[float, float | None, float] = (STARTS_S, HEALS_S, ENDS_S),
) -> Ran:
    starts_s, heals_s, ends_s = times_s
    return run_in(world, case.plan(ends_s, (planned(kind, case.plan(ends_s), starts_s, heals_s),)), directory)


def taking_part(ran: Ran, case: Case, who: str) -> list[float]:
    """When others had from a device, or the coordinator from anybody, something to learn with."""
    if not case.gives:
        return [record["t"] for record in ran.records(who, "local_phase_s")]
    received = [(node, each) for node in ran.nodes() for each in ran.records(node, "received_payload_bytes")]
    return [
        each["t"]
        for node, each in received
        if each["labels"]["kind"] in case.gives and (node == who == COORDINATOR or each["labels"]["peer"] == who)
    ]


def assert_it_acted_and_healed(report: dict[str, Any], within_s: float | None = None) -> None:
    kind = report["kind"]
    assert report["error"] is None, kind
    assert report["evidence"], kind
    assert report["heal_evidence"], kind
    if within_s is not None:
        assert STARTS_S <= report["injected_at_s"] < report["healed_at_s"] <= within_s, kind


def test_every_kind_of_fault_has_its_case_here() -> None:
    assert PARAMETERS.keys() == FAULTS.keys()


def test_every_algorithm_meets_what_troubles_it_most_in_mininet() -> None:
    assert IN_MININET.keys() == CASES.keys()


@pytest.mark.parametrize(("name", "kind"), MET)
def test_a_fault_acts_and_heals_and_the_victim_takes_part_again(name: str, kind: str, tmp_path: Path) -> None:
    ran = disturbed("simulation", kind, tmp_path / "run", CASES[name])
    (report,) = ran.result()["faults"]
    assert_it_acted_and_healed(report, ENDS_S)
    assert ran.outcome.status in ("complete", "degraded"), ran.outcome.notes
    took_part = taking_part(ran, CASES[name], COORDINATOR if kind == "coordinator_crash" else VICTIM)
    assert any(t < STARTS_S for t in took_part), "it took part before"
    assert any(t > report["healed_at_s"] for t in took_part), "and after"
    accuracy = ran.outcome.summary["test_accuracy"]
    assert accuracy is not None
    assert accuracy > 3 * CHANCE


@pytest.mark.root
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", CASES)
def test_faults_in_turn_act_and_heal_on_real_processes_and_the_victim_is_back_after_each(
    name: str, tmp_path: Path
) -> None:
    case, kinds = CASES[name], IN_MININET[name]
    patience = 2.0 if name == "draco" else 1.0  # its devices speak when a Poisson clock says so
    lasts_s = (ACTS_S + patience * (3.5 if kind in DEADLY or name != "fedavg" else 1.5) for kind in kinds)
    *starts, ends_s = accumulate(lasts_s, initial=STARTS_S)
    plan = case.plan(ends_s)
    faults = tuple(
        replace(planned(kind, plan, at_s, at_s + ACTS_S), index=turn)
        for turn, (kind, at_s) in enumerate(zip(kinds, starts, strict=True))
    )
    ran = run_in("mininet", case.plan(ends_s, faults), tmp_path / "run")
    assert_all_acted_and_healed_and_their_victims_were_back(ran, case, faults, [*starts[1:], ends_s])


def assert_all_acted_and_healed_and_their_victims_were_back(
    ran: Ran, case: Case, faults: Sequence[PlannedFault], until: Sequence[float], victims: Sequence[str] = ()
) -> None:
    """Each fault's victim took part before the first and, again, between its own fault's end and an instant."""
    assert ran.outcome.status in ("complete", "degraded"), ran.outcome.notes
    reports = ran.result()["faults"]
    assert [report["kind"] for report in reports] == [fault.kind for fault in faults]
    for report, until_s, victim in zip(reports, until, victims or [VICTIM] * len(faults), strict=True):
        assert_it_acted_and_healed(report, until_s)
        took_part = taking_part(ran, case, COORDINATOR if report["kind"] == "coordinator_crash" else victim)
        assert any(t < STARTS_S for t in took_part), victim
        assert any(report["healed_at_s"] < t < until_s for t in took_part), f"{victim} back after {report['kind']}"


@pytest.mark.root
@pytest.mark.docker
@pytest.mark.timeout(300)
def test_faults_in_turn_on_three_devices_act_and_heal_in_containers_too(tmp_path: Path) -> None:
    """Two devices take turns of those that leave a container alive, one has the others; the coordinator dies last."""
    gentle = [kind for kind in IN_CONTAINERS if kind not in DEADLY]
    deadly = [kind for kind in IN_CONTAINERS if kind in DEADLY and FAULTS[kind].targets != "coordinator"]
    turns = {"d-1": gentle[::2], "d-2": deadly, "d-3": gentle[1::2]}
    met = [
        (victim, kind, STARTS_S + turn * lasts_s, STARTS_S + (turn + 1) * lasts_s)
        for victim, kinds in turns.items()
        for lasts_s in (BACK_IN_CONTAINERS_S if kinds is deadly else IN_CONTAINERS_S,)
        for turn, kind in enumerate(kinds)
    ]
    last_s = max(until_s for *_, until_s in met)
    ends_s = last_s + BACK_IN_CONTAINERS_S
    met.append((COORDINATOR, "coordinator_crash", last_s, ends_s))
    assert sorted(kind for _, kind, *_ in met) == sorted(IN_CONTAINERS)
    plan = FEDAVG.plan(ends_s)
    faults = tuple(
        replace(planned(kind, plan, at_s, at_s + ACTS_S, victim), index=index)
        for index, (victim, kind, at_s, _) in enumerate(met)
    )
    ran = run_in("docker", FEDAVG.plan(ends_s, faults), tmp_path / "run")
    until, victims = [until_s for *_, until_s in met], [victim for victim, *_ in met]
    assert_all_acted_and_healed_and_their_victims_were_back(ran, FEDAVG, faults, until, victims)
    for report, victim in zip(ran.result()["faults"], victims, strict=True):
        if report["kind"] == "partition":
            assert heard_meanwhile(ran, report, victim) == []
        if report["kind"] in ("crash", "dropout", "pause"):
            assert sent_meanwhile(ran, report, victim) == [], report["kind"]
    assert_it_went_on_with_its_rounds(ran, last_s, last_s + ACTS_S)


def test_what_containers_cannot_is_refused_with_the_reason(tmp_path: Path) -> None:
    assert sorted(set(FAULTS) - set(IN_CONTAINERS)) == ["coordinator_twice"]
    plan = FEDAVG.plan(ENDS_S, (planned("coordinator_twice", FEDAVG.plan(ENDS_S), STARTS_S, HEALS_S),))
    with pytest.raises(MachineCannotError, match=r"coordinator_twice.*container.*use --substrate mininet"):
        preflight(plan, SUBSTRATES["docker"], RunOptions(out=tmp_path, substrate="docker"))


@pytest.mark.parametrize("kind", SIMULATED)
def test_a_run_that_ends_in_the_middle_of_a_fault_heals_it_and_ends_well(kind: str, tmp_path: Path) -> None:
    ran = disturbed("simulation", kind, tmp_path / "run", times_s=(STARTS_S, None, 2.5))
    (report,) = ran.result()["faults"]
    assert_it_acted_and_healed(report)
    assert ran.outcome.status == "complete", ran.outcome.notes


@pytest.mark.root
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kinds", groups(tuple(FAULTS), 3), ids="+".join)
def test_so_it_does_on_real_processes_with_a_fault_on_each_device(kinds: tuple[str, ...], tmp_path: Path) -> None:
    plan = FEDAVG.plan(2.5)
    faults = tuple(
        replace(planned(kind, plan, STARTS_S, None, f"d-{number}"), index=number - 1)
        for number, kind in enumerate(kinds, 1)
    )
    ran = run_in("mininet", FEDAVG.plan(2.5, faults), tmp_path / "run")
    assert ran.outcome.status in ("complete", "degraded"), ran.outcome.notes
    for report in ran.result()["faults"]:
        assert_it_acted_and_healed(report)


@pytest.mark.parametrize("world", WORLDS)
def test_nothing_crosses_a_partition_while_it_lasts(world: str, tmp_path: Path) -> None:
    ran = disturbed(world, "partition", tmp_path / "run", times_s=(1.0, 3.0, ENDS_S))
    (report,) = ran.result()["faults"]
    assert heard_meanwhile(ran, report, VICTIM) == []


def heard_meanwhile(ran: Ran, report: dict[str, Any], victim: str) -> list[float]:
    """When the coordinator had something from a device while it was cut off."""
    margin_s = 0.1  # one link delay and what was queued
    return [
        record["t"]
        for record in ran.records(COORDINATOR, "received_payload_bytes")
        if record["labels"]["peer"] == victim
        and report["injected_at_s"] + margin_s < record["t"] < report["healed_at_s"]
    ]


@pytest.mark.parametrize("world", WORLDS)
def test_a_device_that_is_dead_or_frozen_sends_nothing(world: str, tmp_path: Path) -> None:
    for kind in ("crash", "pause"):
        ran = disturbed(world, kind, tmp_path / kind, times_s=(1.0, 3.0, ENDS_S))
        (report,) = ran.result()["faults"]
        assert sent_meanwhile(ran, report, VICTIM) == [], kind


def sent_meanwhile(ran: Ran, report: dict[str, Any], victim: str) -> list[float]:
    """When a device sent something while it was dead or frozen."""
    return [
        record["t"]
        for record in ran.records(victim, "sent_payload_bytes")
        if report["injected_at_s"] + 0.3 < record["t"] < report["healed_at_s"]
    ]


@pytest.mark.parametrize("world", WORLDS)
def test_a_coordinator_that_died_goes_on_with_the_round_after_its_checkpoint(world: str, tmp_path: Path) -> None:
    ran = disturbed(world, "coordinator_crash", tmp_path / "run", times_s=(2.0, 3.0, ENDS_S))
    assert_it_went_on_with_its_rounds(ran, 2.0, 3.0)


def assert_it_went_on_with_its_rounds(ran: Ran, died_s: float, back_s: float) -> None:
    rounds = [(record["t"], record["value"]) for record in ran.records(COORDINATOR, "round")]
    before = max(value for t, value in rounds if t < died_s)
    after = [value for t, value in rounds if t > back_s]
    assert after, "it closed rounds again"
    assert min(after) >= before, "it did not begin anew"
    assert [value for _, value in rounds] == sorted(value for _, value in rounds)
