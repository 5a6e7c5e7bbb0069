"""Plans: the same scenario and seed decide the same, byte for byte; every decision can be explained.

`tests/golden/plans/mixed.txt` holds what one scenario becomes. Write it anew with EDGEBED_WRITE_GOLDEN=1.
"""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ScenarioError
from orchestrator.forms.link import OneWay, QueueLimit, shape_of
from orchestrator.links.shape import TraceRef
from orchestrator.plan import Plan, make_plan, plan_from_json, plan_json
from orchestrator.scenario import Scenario, load_scenario
from orchestrator.trace_files import FoundTrace

GOLDEN = Path(__file__).parent.parent / "golden" / "plans"
MIXED = GOLDEN / "mixed.yaml"


@pytest.fixture(scope="module")
def mixed() -> Scenario:
    return load_scenario(MIXED)


def told(plan: Plan) -> str:
    """What a plan decided, in lines."""
    lines = [f"{plan.name} seed {plan.seed} stop after {plan.stop_after_s} s, switches {', '.join(plan.switches)}"]
    for node in plan.nodes:
        peers = " ".join(peer.name for peer in node.spec.peers)
        radio = node.profile.radio.name if node.profile.radio else "-"
        kind = f"{node.profile.name} {radio} index {node.spec.index} seed {node.spec.seed} data {node.spec.data_seed}"
        lines.append(f"node {node.name} {node.address} {node.group} {kind} -> {peers}")
    for link in plan.links:
        shape = link.shape
        rate = f"{shape.rate_bps} bit/s {shape.delay_s} s loss {shape.loss} queue {shape.queue_bytes}"
        lines.append(f"link {link.id} {rate} seed {link.seed}")
    for fault in plan.faults:
        who = " ".join((*fault.nodes, *fault.links))
        lines.append(f"fault {fault.index} {fault.kind} {fault.at_s} to {fault.heal_s} {dict(fault.parameters)}: {who}")
    lines += [f"expect {each.text} = [{each.at_least}, {each.at_most}]" for each in plan.expectations]
    return "\n".join(lines) + "\n"


def test_a_plan_is_what_it_was(mixed: Scenario) -> None:
    found = told(make_plan(mixed))
    if os.environ.get("EDGEBED_WRITE_GOLDEN"):
        MIXED.with_suffix(".txt").write_text(found)
    assert found == MIXED.with_suffix(".txt").read_text()


def test_the_same_scenario_and_seed_are_the_same_bytes(mixed: Scenario) -> None:
    assert plan_json(make_plan(mixed)) == plan_json(make_plan(load_scenario(MIXED)))


def test_another_seed_decides_all_that_is_random_anew(mixed: Scenario) -> None:
    one, other = make_plan(mixed, 1), make_plan(mixed, 2)
    assert all(a.spec.seed != b.spec.seed for a, b in zip(one.nodes, other.nodes, strict=True))
    assert all(a.seed != b.seed for a, b in zip(one.links, other.links, strict=True))
    assert [node.address for node in one.nodes] == [node.address for node in other.nodes]
    assert any(make_plan(mixed, seed).faults[0].nodes != one.faults[0].nodes for seed in range(2, 10))
    assert (one.seed, other.nodes[0].spec.data_seed) == (1, 2)


def test_no_two_things_share_a_seed(mixed: Scenario) -> None:
    plan = make_plan(mixed)
    seeds = [node.spec.seed for node in plan.nodes] + [link.seed for link in plan.links]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_json_gives_the_plan_back_and_holds_no_infinity(mixed: Scenario) -> None:
    plan = make_plan(mixed)
    text = plan_json(plan)
    assert plan_from_json(text) == plan
    assert json.loads(text)["nodes"][1]["spec"]["peers"][0]["name"] == "coordinator"
    broken = json.loads(text)
    del broken["nodes"][0]["name"]
    with pytest.raises(TypeError):
        plan_from_json(json.dumps(broken))


def test_specs_are_slices_of_the_plan_that_agree_with_each_other(mixed: Scenario) -> None:
    plan = make_plan(mixed)
    address = {node.name: node.address for node in plan.nodes}
    assert len(set(address.values())) == len(address)
    for node in plan.nodes:
        assert (node.spec.name, node.spec.role, node.spec.address) == (node.name, node.role, node.address)
        assert node.spec.devices == len(plan.nodes) - 1
        for peer in node.spec.peers:
            assert peer.address == address[peer.name]
            back = next(other for other in plan.nodes if other.name == peer.name)
            assert node.name in {each.name for each in back.spec.peers}


def test_faults_come_in_the_order_of_time_and_keep_their_index(mixed: Scenario) -> None:
    faults = make_plan(mixed).faults
    assert [fault.at_s for fault in faults] == sorted(fault.at_s or 0.0 for fault in faults)
    assert {fault.index for fault in faults} == set(range(len(mixed.faults)))
    assert [fault.index for fault in faults] != sorted(fault.index for fault in faults)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**40))
def test_victims_are_as_many_as_asked_among_those_meant(seed: int) -> None:
    by_index = {fault.index: fault for fault in make_plan(load_scenario(MIXED), seed).faults}
    share = by_index[0].nodes
    assert len(share) == len(set(share)) == 2  # 30 % of six
    of_group = by_index[1].nodes
    assert len(of_group) == 2
    assert all(name.startswith("nano-") for name in of_group)
    assert by_index[2].nodes == ("coordinator",)
    assert by_index[3].links == ("gw-1>coordinator", "coordinator>gw-1", "pi-1>gw-1")
    access = by_index[4]
    assert set(access.links) == {
        link for name in access.nodes for gateway in ("gw-1", "gw-2") for link in _both(name, gateway) if _has(link)
    }


def _both(a: str, b: str) -> tuple[str, str]:
    return f"{a}>{b}", f"{b}>{a}"


def _has(link: str) -> bool:
    return link in {each.id for each in make_plan(load_scenario(MIXED)).links}


@pytest.mark.parametrize(
    ("way", "rtt_s", "queue_bytes"),
    [
        (OneWay.model_construct(rate_bps=1e8), 0.5, 6_250_000),  # one bandwidth-delay product
        (OneWay.model_construct(rate_bps=1e7), 0.02, 125_000),  # 100 ms
        (OneWay.model_construct(rate_bps=1e5), 0.02, 15_000),  # ten packets
        (OneWay.model_construct(rate_bps=1e7, queue=QueueLimit(size_bytes=4096.0)), 0.02, 4096),
        (OneWay.model_construct(rate_bps=1e7, queue=QueueLimit(time_s=0.01)), 0.02, 12_500),
        (OneWay.model_construct(trace=FoundTrace(TraceRef("t", "", "csv"), 8e6)), 0.02, 100_000),
        (OneWay.model_construct(), 0.02, None),
    ],
)
def test_a_queue_is_as_asked_or_the_most_of_three(way: OneWay, rtt_s: float, queue_bytes: int | None) -> None:
    assert shape_of(way, rtt_s).queue_bytes == queue_bytes


def test_each_device_of_a_group_has_its_own_pace_where_they_spread(tmp_path: Path) -> None:
    path = tmp_path / "pace.yaml"
    path.write_text(MIXED.read_text().replace("count: 3,", "count: 3, phase_every: 2 s, phase_spread: 0.5,", 1))
    plan = make_plan(load_scenario(path))
    paces = {node.name: node.spec.phase_every_s for node in plan.nodes}
    spread = [pace for pace in paces.values() if pace]
    assert len(set(spread)) == 3
    assert all(0.2 < pace < 20 for pace in spread)
    assert paces["coordinator"] == 0.0


def test_a_group_may_have_a_stream_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "rates.yaml"
    path.write_text(MIXED.read_text().replace("count: 3,", "count: 3, stream: 5 samples/s,", 1))
    rates = [node.spec.task.stream_per_s for node in make_plan(load_scenario(path)).nodes]
    assert rates.count(5.0) == 3
    assert len(set(rates)) == 2


def test_peers_of_a_ring_are_its_neighbours_and_positions_are_kept(tmp_path: Path) -> None:
    text = MIXED.read_text().replace("{kind: two_tier, gateways: 2, uplink: ethernet_100}", "{kind: ring}")
    path = tmp_path / "ring.yaml"
    path.write_text(text[: text.index("faults:")] + "coordinator: none\n")
    plan = make_plan(load_scenario(path))
    assert [peer.name for peer in plan.nodes[0].spec.peers] == ["pi-2", "nano-3"]
    assert plan.nodes[0].spec.coordinator is None
    assert (plan.nodes[0].address, plan.nodes[0].spec.index) == ("10.77.0.1", 0)
    area = "topology={kind: random_geometric, area: 10 m, radio_range: 20 m}"
    places = [node.spec.position_m(0.0) for node in make_plan(load_scenario(path, (area,))).nodes]
    assert len({place for place in places if place is not None}) == 6


def test_a_seed_whose_graph_falls_apart_is_a_problem_of_the_scenario(tmp_path: Path) -> None:
    path = tmp_path / "far.yaml"
    text = MIXED.read_text().replace(
        "{kind: two_tier, gateways: 2, uplink: ethernet_100}", "{kind: random_geometric, area: 10 m, radio_range: 14 m}"
    )
    path.write_text(text[: text.index("faults:")])
    scenario = load_scenario(path, ("topology.radio_range=8 m",))
    with pytest.raises(ScenarioError, match=r"topology.radio_range: at the places that this seed gives"):
        for seed in range(1000):
            make_plan(scenario, seed)


def test_a_thousand_devices_are_planned_without_a_form_for_each(mixed: Scenario) -> None:
    plan = make_plan(load_scenario(MIXED, ("devices.0.count=1000",)))
    assert len(plan.nodes) == 1004
    assert len({id(node.profile) for node in plan.nodes if node.group == "pi"}) == 1
    assert plan.nodes[300].address == "10.77.1.45"
