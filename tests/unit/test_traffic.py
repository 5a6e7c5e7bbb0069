"""Background traffic: drawn from the seed alone, and as heavy in simulation as its rate says."""

import json
from collections import Counter
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from orchestrator.cli import main
from orchestrator.errors import MachineCannotError, ScenarioError
from orchestrator.outcome import RunOptions
from orchestrator.plan import Plan, make_plan, plan_from_json, plan_json
from orchestrator.preflight import preflight
from orchestrator.scenario import dump_resolved, load_scenario
from orchestrator.substrates import SUBSTRATES
from orchestrator.traffic.flow import LEAST_BYTES, Flow, packets
from orchestrator.traffic.trace import find_traffic, load, read_rows

FLOW = Flow(0, "a", "b", "constant", 1000, 80_000.0, None, None, 2.0, 12.0, 7, None)  # a packet each 100 ms
LONG = replace(FLOW, until_s=20_000.0)
SCENARIO = """
name: shared
stop_after: 20 s
devices:
  - {group: pi, count: 3, profile: server, link: {rate: 2 Mbit/s, delay: 10 ms, queue: 50 kB}}
learning:
  task: {name: digits}
  model: {name: mlp, hidden: 1000}
  algorithm: {name: fedavg, rounds: 3, local_steps: 1}
"""
TRAFFIC = """
traffic:
  - {from: pi, to: coordinator, kind: poisson, rate: 400 kbit/s, packet: 600 B}
  - {from: coordinator, to: pi-2, kind: on_off, rate: 1 Mbit/s, burst: 1 s, silence: 3 s, at: 2 s, for: 30 s}
"""


def scenario_file(folder: Path, text: str) -> Path:
    path = folder / "shared.yaml"
    path.write_text(text)
    return path


def planned(folder: Path, text: str = SCENARIO + TRAFFIC, seed: int = 1) -> Plan:
    return make_plan(load_scenario(scenario_file(folder, text)), seed)


def mistakes(folder: Path, traffic: str) -> str:
    with pytest.raises(ScenarioError) as error:
        load_scenario(scenario_file(folder, f"{SCENARIO}traffic:\n  - {traffic}\n"))
    return str(error.value)


def test_groups_become_pairs_of_nodes_each_with_a_seed_of_its_own(tmp_path: Path) -> None:
    flows = planned(tmp_path).traffic
    assert [str(flow) for flow in flows] == ["pi-1>coordinator", "pi-2>coordinator", "pi-3>coordinator",
                                             "coordinator>pi-2"]  # fmt: skip
    assert len({flow.seed for flow in flows}) == 4
    assert [(flow.at_s, flow.until_s) for flow in flows] == [(0.0, 20.0)] * 3 + [(2.0, 20.0)]  # not beyond the run


def test_the_same_seed_plans_the_same_packets_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = planned(tmp_path), planned(tmp_path), planned(tmp_path, seed=2)
    assert plan_json(first) == plan_json(again)
    assert plan_from_json(plan_json(first)) == first
    sent = [[list(packets(flow)) for flow in plan.traffic] for plan in (first, again, other)]
    assert sent[0] == sent[1]
    assert all(mine != theirs for mine, theirs in zip(sent[0], sent[2], strict=True))


def test_a_scenario_without_traffic_has_the_plan_that_it_had(tmp_path: Path) -> None:
    assert '"traffic"' not in plan_json(planned(tmp_path, SCENARIO))


def test_traffic_written_out_with_all_defaults_reads_as_the_same(tmp_path: Path) -> None:
    scenario = load_scenario(scenario_file(tmp_path, SCENARIO + TRAFFIC))
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(dump_resolved(scenario))
    assert load_scenario(resolved).traffic == scenario.traffic


def test_constant_packets_are_as_far_apart_as_the_rate_says_and_stay_within_their_time() -> None:
    times = [at_s for at_s, _ in packets(FLOW)]
    assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([0.1] * 99)
    assert 2.0 <= times[0] < 2.1
    assert times[-1] < 12.0


def test_poisson_packets_have_the_mean_and_the_spread_of_exponential_gaps() -> None:
    times = [at_s for at_s, _ in islice(packets(replace(LONG, kind="poisson")), 20_000)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert mean(gaps) == pytest.approx(0.1, rel=0.03)
    assert mean(gap**2 for gap in gaps) == pytest.approx(2 * 0.1**2, rel=0.06)  # of an exponential: twice the mean's


def test_on_off_traffic_sends_for_its_share_of_the_time_at_its_rate() -> None:
    flow = replace(LONG, kind="on_off", burst_s=2.0, silence_s=6.0)
    times = [at_s for at_s, _ in packets(flow)]
    sent_bps = len(times) * 8000 / (flow.until_s - flow.at_s)
    assert sent_bps / flow.mean_bps == pytest.approx(1, rel=0.05)
    assert flow.mean_bps == pytest.approx(20_000)
    gaps = Counter(round(later - earlier, 6) == 0.1 for earlier, later in pairwise(times))
    assert gaps[True] > 10 * gaps[False]  # evenly while it sends


def test_an_on_off_flow_begins_on_or_off_as_likely_as_it_is_later() -> None:
    flow = replace(LONG, kind="on_off", burst_s=2.0, silence_s=6.0)
    begun = [next(packets(replace(flow, seed=seed)))[0] < 2.1 for seed in range(2000)]
    assert mean(begun) == pytest.approx(0.26, abs=0.04)


def test_a_trace_is_played_once_and_what_is_larger_than_a_packet_leaves_in_pieces(tmp_path: Path) -> None:
    (tmp_path / "web.csv").write_text("time_s,bytes\n# a page\n0.5,2500\n0.5,1\n3,1000\n30,1\n")
    flow = replace(FLOW, kind="trace", rate_bps=None, trace=find_traffic("web.csv", tmp_path))
    assert list(packets(flow)) == [(2.5, 1000), (2.5, 1000), (2.5, 500), (2.5, LEAST_BYTES), (5.0, 1000)]
    assert flow.mean_bps == pytest.approx(8 * 3502 / 30)


def test_traces_are_read_with_spaces_or_commas_and_refused_with_the_line_that_is_wrong() -> None:
    assert read_rows("0 10\n1.5\t20\n") == read_rows("time,bytes\n0,10\n1.5,20") == ((0.0, 10), (1.5, 20))
    for text, words in (
        ("0 10\n1 x", "line 2: must be time and bytes"),
        ("1 10\n0 10", "line 2: times must not fall"),
        ("0 0", "line 1: bytes must be a whole number"),
        ("0 1.5", "line 1: bytes must be a whole number"),
        ("# nothing", "no line of time and bytes"),
    ):
        with pytest.raises(ValueError, match=words):
            read_rows(text)


def test_a_trace_that_changed_after_planning_is_not_played(tmp_path: Path) -> None:
    (tmp_path / "web.csv").write_text("0 10\n")
    trace = find_traffic("web.csv", tmp_path)
    (tmp_path / "web.csv").write_text("0 11\n")
    with pytest.raises(ScenarioError, match="has changed since"):
        load(trace)


@pytest.mark.parametrize(
    ("traffic", "words"),
    [
        ("{from: pi, to: pj, kind: constant, rate: 1 Mbit/s}", "traffic.0.to: unknown node or group (found 'pj')"),
        ("{from: pi-1, to: pi-1, kind: constant, rate: 1 Mbit/s}", "traffic.0.to: is the same node as from"),
        ("{from: pi, to: coordinator, kind: poisson}", "traffic.0.rate: is required of a flow that is poisson"),
        ("{from: pi, to: pi, kind: on_off, rate: 1 Mbit/s, burst: 1 s}", "traffic.0.silence: is required"),
        ("{from: pi, to: pi, kind: constant, rate: 1 Mbit/s, burst: 1 s}", "traffic.0.burst: is not for a flow"),
        ("{from: pi, to: pi, kind: trace}", "traffic.0.trace: is required"),
        ("{from: pi, to: pi, kind: trace, trace: no.csv}", "there is no such file"),
        ("{from: pi, to: pi, kind: constant, rate: 1 Mbit/s, at: 20 s}", "traffic.0.at: is not before the end"),
        ("{from: pi, to: pi, kind: constant, rate: 1 Mbit/s, packet: 2 kB}", "traffic.0.packet"),
    ],
)
def test_what_is_wrong_with_a_flow_is_told_where_it_is_written(traffic: str, words: str, tmp_path: Path) -> None:
    assert words in mistakes(tmp_path, traffic)


def test_boards_are_refused_and_more_packets_than_one_process_can_play(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    boards = replace(SUBSTRATES["ssh"], refuses=lambda _plan, _options: [])
    with pytest.raises(MachineCannotError, match="cannot play background traffic"):
        preflight(plan, boards, RunOptions(tmp_path))
    heavy = replace(plan, traffic=tuple(replace(flow, rate_bps=1e8) for flow in plan.traffic))
    with pytest.raises(MachineCannotError, match="more than the 5000 that one process can play"):
        preflight(heavy, SUBSTRATES["mininet"], RunOptions(tmp_path))
    preflight(heavy, SUBSTRATES["simulation"], RunOptions(tmp_path))


def simulated(folder: Path, name: str, traffic: str = "") -> tuple[dict[str, Any], Path]:
    out = folder / name
    path = scenario_file(folder, SCENARIO.replace("count: 3", "count: 1") + traffic)
    assert main(["run", str(path), "--substrate", "simulation", "--out", str(out), "-q"]) == 0
    found: dict[str, Any] = json.loads((out / "result.json").read_text())["summary"]
    return found, out


HALF = """
traffic:
  - {from: pi, to: coordinator, kind: constant, rate: 1 Mbit/s}
  - {from: coordinator, to: pi, kind: constant, rate: 1 Mbit/s}
"""


def test_traffic_of_half_a_links_rate_makes_a_simulated_transfer_take_twice_as_long(tmp_path: Path) -> None:
    (alone, _), (shared, out) = simulated(tmp_path, "alone"), simulated(tmp_path, "shared", HALF)
    assert shared["round_s"] / alone["round_s"] == pytest.approx(2, rel=0.1)
    assert shared["sent_payload_bytes"] == alone["sent_payload_bytes"]
    background = shared["sent_background_bytes"]
    assert background / shared["lasted_s"] == pytest.approx(2 * 1e6 / 8, rel=0.02)
    assert "sent_background_bytes" not in alone
    for count in json.loads((out / "links.json").read_text())["links"].values():
        dropped = sum(count["dropped_bytes"].values())
        assert count["offered_bytes"] == count["delivered_bytes"] + dropped + count["in_flight_bytes"]
    invariants = {each["id"]: each["truth"] for each in json.loads((out / "verify.json").read_text())["invariants"]}
    assert (invariants["I1"], invariants["I2"], invariants["I7"]) == ("true", "true", "true")


def test_a_simulated_run_with_traffic_is_the_same_to_the_byte_when_it_runs_again(tmp_path: Path) -> None:
    (_, first), (_, again) = simulated(tmp_path, "first", HALF), simulated(tmp_path, "again", HALF)
    for name in ("records.jsonl", "links.json", "nodes/coordinator/records.jsonl"):
        assert (first / name).read_bytes() == (again / name).read_bytes(), name
