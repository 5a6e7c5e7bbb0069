"""What a real Prometheus has of runs, scraped and replayed: the totals of their run directories, and every panel."""

import re
from pathlib import Path
from typing import Any

import pytest

from orchestrator.telemetry.dashboards import dashboards
from tests.observability.conftest import LIVE, Seen, edgebed, span, summary

# All share one Prometheus and one run on real nodes, which takes half a minute and longer on a busy machine.
pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("prometheus")]
TOTALS = {
    "sent_payload_bytes": 'sum(edgebed_payload_bytes_total{{{run}, direction="sent"}})',
    "received_payload_bytes": 'sum(edgebed_payload_bytes_total{{{run}, direction="received"}})',
    "sent_payload_bytes.update": 'sum(edgebed_payload_bytes_total{{{run}, direction="sent", kind="update"}})',
    "sent_wire_bytes": 'sum(edgebed_wire_bytes_total{{{run}, direction="sent"}})',
    "received_wire_bytes": 'sum(edgebed_wire_bytes_total{{{run}, direction="received"}})',
    "link_offered_bytes": "sum(edgebed_link_transmit_bytes_total{{{run}}})",
    "link_delivered_bytes": "sum(edgebed_link_deliver_bytes_total{{{run}}})",
    "link_dropped_packets": "sum(edgebed_link_drops_total{{{run}}})",
    "link_dropped_packets.down": 'sum(edgebed_link_drops_total{{{run}, reason="down"}})',
    "energy_joules": "sum(edgebed_energy_joules_total{{{run}}})",
    "energy_joules.radio_tail": 'sum(edgebed_energy_joules_total{{{run}, component="radio_tail"}})',
    "aggregated_updates": "sum(edgebed_aggregated_updates_total{{{run}}})",
    "test_accuracy": 'max(edgebed_accuracy_ratio{{{run}, device="global", split!="own"}})',
    "local_step_s_mean": "sum(edgebed_local_step_seconds_sum{{{run}}})"
    " / sum(edgebed_local_step_seconds_count{{{run}}})",
}
PANELS = [(uid, panel) for uid, made in dashboards().items() for panel in made["panels"]]


def label(directory: Path) -> str:
    return f'run="{directory.name}"'


def number(found: list[dict[str, Any]]) -> float:
    assert len(found) == 1, found
    return float(found[0]["value"][1])


@pytest.mark.parametrize("metric", TOTALS)
@pytest.mark.parametrize("which", ["replayed", "simulated"])
def test_a_replayed_run_sums_to_what_its_directory_says(seen: Seen, which: str, metric: str) -> None:
    directory: Path = getattr(seen, which)
    said = summary(directory).get(metric)
    if said is None:
        pytest.skip(f"the {which} run has no {metric}")
    found = number(seen.query(TOTALS[metric].format(run=label(directory)), span(directory)[1]))
    assert found == pytest.approx(said, rel=1e-9)


def test_a_run_s_growth_is_seen_from_its_first_byte(seen: Seen) -> None:
    """`increase` over the whole run gives its total too (it extrapolates by less than a step at each end)."""
    began, ended = span(seen.replayed)
    expression = f'sum(increase(edgebed_payload_bytes_total{{{label(seen.replayed)}, direction="sent"}}[10m]))'
    assert number(seen.query(expression, ended)) == pytest.approx(
        summary(seen.replayed)["sent_payload_bytes"], rel=0.15
    )
    assert seen.query(f"edgebed_run_active{{{label(seen.replayed)}}}", began - 1) == []


def test_what_was_scraped_while_a_run_lasted_is_what_its_directory_says(seen: Seen) -> None:
    if seen.live_directory is None:
        pytest.skip("real nodes cannot run here, and virtual time cannot be scraped")
    said = summary(seen.live_directory)
    by_kind, by_component, wire, delivered, was_active, is_active = (seen.live[expression] for expression in LIVE)
    kinds = {each["metric"]["kind"]: float(each["value"][1]) for each in by_kind}
    components = {each["metric"]["component"]: float(each["value"][1]) for each in by_component}
    assert kinds == {kind: said[f"sent_payload_bytes.{kind}"] for kind in kinds}
    assert sum(kinds.values()) == said["sent_payload_bytes"]
    assert components == {name: pytest.approx(said[f"energy_joules.{name}"]) for name in components}
    assert (number(wire), number(delivered)) == (said["sent_wire_bytes"], said["link_delivered_bytes"])
    assert (number(was_active), number(is_active)) == (1, 0)


def test_a_run_that_has_ended_goes_stale_at_once_and_leaves_no_target(seen: Seen) -> None:
    if seen.live_directory is None:
        pytest.skip("real nodes cannot run here, and virtual time cannot be scraped")
    assert seen.live["stale"] == [{"value": True}]
    assert seen.live["targets"] == [{"files": []}]


def test_what_was_scraped_is_still_there_after_a_replay_and_a_new_start(seen: Seen) -> None:
    if seen.live_directory is None:
        pytest.skip("real nodes cannot run here, and virtual time cannot be scraped")
    expression = 'sum(last_over_time(edgebed_wire_bytes_total{run="live", direction="sent"}[10m]))'
    found = number(seen.query(expression, span(seen.live_directory)[1] + 5))
    assert found == summary(seen.live_directory)["sent_wire_bytes"]


def test_a_run_is_not_replayed_twice(seen: Seen, tmp_path_factory: pytest.TempPathFactory) -> None:
    state = seen.replayed.parents[1] / "state"
    again = edgebed("replay", str(seen.replayed), state=state)
    assert again.returncode == 2
    assert "has replayed already" in again.stderr


def substituted(expression: str, runs: str) -> str:
    replaced = expression.replace("$__range", "10m").replace("$__rate_interval", "4s").replace("$run", runs)
    assert "$" not in re.sub(r'"\$1"', "", replaced), replaced
    return replaced


@pytest.mark.parametrize(("uid", "panel"), PANELS, ids=[f"{uid}: {panel['title']}" for uid, panel in PANELS])
def test_every_query_of_every_panel_returns_data_of_a_recorded_run(seen: Seen, uid: str, panel: dict[str, Any]) -> None:
    if seen.live_directory is None and uid == "edgebed-network":
        pytest.skip("what is probed and timed of real links needs a run on real nodes")
    began, ended = span(seen.replayed)
    runs = "replayed|simulated" if uid == "edgebed-compare" else seen.replayed.name
    for target in panel["targets"]:
        expression = substituted(target["expr"], runs)
        found = seen.query(expression, ended) if target["instant"] else seen.query_range(expression, began, ended)
        points = [float(value) for each in found for _, value in each.get("values") or [each["value"]]]
        assert [value for value in points if value == value], f"no data: {expression}"


@pytest.mark.parametrize("uid", sorted(dashboards()))
def test_faults_are_annotated_while_they_act(seen: Seen, uid: str) -> None:
    (annotation,) = dashboards()[uid]["annotations"]["list"]
    began, ended = span(seen.replayed)
    found = seen.query_range(substituted(annotation["target"]["expr"], seen.replayed.name), began, ended)
    assert {(each["metric"]["kind"], each["metric"]["fault"]) for each in found} == {
        ("dropout", "0"),
        ("degrade", "1"),
        ("flap", "2"),
    }
    for each in found:
        assert 2 <= len(each["values"]) <= 5, "a fault of three or four seconds, sampled each second"
