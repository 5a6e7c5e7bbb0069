"""Partitions that are not two plain sides: halves joined by a bridge, and a ring."""

from pathlib import Path

import pytest

from orchestrator.errors import MachineCannotError, ScenarioError
from orchestrator.faults.partition import pairs_cut
from orchestrator.plan import Plan, make_plan, plan_from_json, plan_json
from orchestrator.scenario import load_scenario
from tests.contract.cases import CASES, SLOW_BOARD
from tests.contract.worlds import WORLDS, run_in
from tests.plans import fault, mesh

FIVE = ("a", "b", "c", "d", "e")
BRIDGE = {"shape": "bridge", "direction": "both", "through": "c"}
RING = {"shape": "ring", "direction": "both", "through": None}

SCENARIO = """name: shapes
stop_after: 5 s
devices:
  - {{group: pi, count: 5, profile: raspberry_pi_4, link: ethernet_1000}}
coordinator: none
topology: {{kind: full}}
learning: {{task: digits, model: mlp, algorithm: dsgd}}
faults:
  - {{kind: partition, at: 1 s, for: 1 s, {fault}}}
"""


def planned(tmp_path: Path, written: str) -> Plan:
    path = tmp_path / "shapes.yaml"
    path.write_text(SCENARIO.format(fault=written), encoding="utf-8")
    return make_plan(load_scenario(path))


def test_over_a_bridge_go_its_own_pairs_alone() -> None:
    found = pairs_cut(BRIDGE, ("a", "b"), FIVE)
    assert found == {pair for x in "ab" for y in "de" for pair in ((x, y), (y, x))}


def test_a_victim_that_is_the_bridge_is_on_no_side() -> None:
    assert pairs_cut(BRIDGE, ("a", "b", "c"), FIVE) == pairs_cut(BRIDGE, ("a", "b"), FIVE)


def test_in_a_ring_everybody_hears_two() -> None:
    found = pairs_cut(RING, FIVE, FIVE)
    for name in FIVE:
        assert sum((other, name) in found for other in FIVE) == len(FIVE) - 1 - 2
    assert ("a", "b") not in found
    assert ("e", "a") not in found
    assert ("a", "c") in found


def test_who_is_no_victim_is_no_part_of_the_ring() -> None:
    assert not {name for pair in pairs_cut(RING, FIVE[1:], FIVE) for name in pair} & {"a"}


def test_the_plan_lists_the_pairs_of_a_shape_and_reads_them_back(tmp_path: Path) -> None:
    plan = planned(tmp_path, "shape: ring, all: true")
    (ring,) = plan.faults
    assert len(ring.pairs) == 5 * 2
    assert ("pi-1", "pi-3") in ring.pairs
    assert plan_from_json(plan_json(plan)) == plan
    (bridge,) = planned(tmp_path, "shape: bridge, through: pi-3, nodes: [pi-1, pi-2]").faults
    assert bridge.pairs == tuple(sorted(pairs_cut({"shape": "bridge", "through": "pi-3"}, bridge.nodes, PIS)))
    (sides,) = planned(tmp_path, "nodes: [pi-1]").faults
    assert sides.pairs == ()
    assert '"pairs"' not in plan_json(planned(tmp_path, "nodes: [pi-1]"))


PIS = tuple(f"pi-{number}" for number in range(1, 6))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("shape: bridge, nodes: [pi-1]", "shape: bridge needs it"),
        ("shape: ring, through: pi-1, all: true", "no other has it"),
        ("shape: bridge, through: pi-9, nodes: [pi-1]", r"unknown node \(found .pi-9.\)"),
        ("shape: ring, direction: in, all: true", "a ring is cut both ways"),
    ],
)
def test_a_shape_that_is_not_whole_is_refused_with_its_place(written: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=said):
        planned(tmp_path, written)


def test_a_ring_of_three_cuts_nobody_off_and_is_refused_before_the_run(tmp_path: Path) -> None:
    faults = (fault("partition", 1.0, 2.0, nodes=("d-1", "d-2", "d-3"), parameters=RING),)
    with pytest.raises(MachineCannotError, match="of a ring of fewer than four all are neighbours"):
        run_in("simulation", CASES["draco"].plan(3.0, faults), tmp_path / "run")


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(
    ("parameters", "victims"),
    [
        ({"shape": "bridge", "direction": "both", "through": "d-2"}, ("d-1",)),
        (RING, ("d-1", "d-2", "d-3", "d-4")),
    ],
    ids=("bridge", "ring"),
)
def test_neighbours_hear_each_other_and_who_is_apart_does_not(
    parameters: dict[str, str], victims: tuple[str, ...], world: str, tmp_path: Path
) -> None:
    case = CASES["draco"]
    base = mesh(4, algorithm=case.plan(1.0).nodes[0].spec.algorithm, profile=SLOW_BOARD)
    apart = pairs_cut(parameters, victims, [node.name for node in base.nodes])
    faults = (fault("partition", 1.0, 4.0, nodes=victims, parameters=parameters),)
    plan = mesh(
        4,
        algorithm=base.nodes[0].spec.algorithm,
        profile=SLOW_BOARD,
        rule=case.rule,
        stop_after_s=6.0,
        faults=faults,
    )
    ran = run_in(world, plan, tmp_path / "run")
    assert ran.outcome.status in ("complete", "degraded"), ran.outcome.notes
    (report,) = ran.result()["faults"]
    assert report["evidence"].startswith(f"{len(apart)} pairs blocked") or str(len(apart)) in report["evidence"]
    heard = {
        (record["labels"]["peer"], name)
        for name in ran.nodes()
        for record in ran.records(name, "received_payload_bytes")
        if report["injected_at_s"] + 0.3 < record["t"] < report["healed_at_s"] and record["labels"]["kind"] != "hello"
    }
    everybody = {(a, b) for a in ran.nodes() for b in ran.nodes() if a != b}
    assert not heard & apart
    assert heard == everybody - apart
