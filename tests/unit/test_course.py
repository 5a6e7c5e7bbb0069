"""How a run went, out of its records: messages and their arrivals, what nodes did when, who sent what to whom."""

from pathlib import Path
from typing import Any

import pytest

from analysis import course, figures, observations
from analysis.activity import lanes, merged, shares
from analysis.groups import Group, group
from analysis.latencies import DELAY, observe, quantiles
from analysis.load import NodeRecord, Run
from analysis.messages import messages, sent_between
from analysis.traffic import matrix
from node_image.records import Record

Said = tuple[str, float, str, float, dict[str, str]]  # node, t, metric, value, labels


def run_of(said: list[Said], *, devices: int = 2, faults: list[dict[str, Any]] | None = None, seed: int = 1) -> Run:
    nodes = [{"name": f"pi{n}", "role": "device", "group": "pi", "profile": {}} for n in range(devices)]
    nodes.insert(0, {"name": "coordinator", "role": "coordinator", "group": "", "profile": {}})
    records = [NodeRecord(node, Record(t, metric, value, labels)) for node, t, metric, value, labels in said]
    return Run(
        Path(f"run{seed}"),
        f"seed={seed}",
        {"name": "x", "seed": seed, "stop_after_s": 10.0, "nodes": nodes},
        result={"status": "complete", "faults": faults or [], "summary": {"lasted_s": 10.0}},
        records=tuple(sorted(records, key=lambda entry: entry.record.t)),
    )


def sent(t: float, size: float, kind: str = "update", *, by: str = "pi0", to: str = "coordinator") -> Said:
    return by, t, "sent_payload_bytes", size, {"kind": kind, "peer": to}


def got(t: float, size: float, kind: str = "update", *, of: str = "pi0", by: str = "coordinator") -> Said:
    return by, t, "received_payload_bytes", size, {"kind": kind, "peer": of}


def connected(t: float) -> list[Said]:
    return [sent(t, 200.0, "hello"), got(t + 0.1, 200.0, "hello")]


def fault(kind: str, at_s: float, heal_s: float | None, *, nodes: list[str], links: list[str]) -> dict[str, Any]:
    return {"kind": kind, "injected_at_s": at_s, "healed_at_s": heal_s, "nodes": nodes, "links": links}


def test_each_send_of_a_pair_is_matched_with_its_arrival_in_order() -> None:
    run = run_of([*connected(0.0), sent(1.0, 10.0), sent(2.0, 10.0), got(2.5, 10.0), got(3.0, 10.0)])
    assert [(each.sent_s, each.arrived_s) for each in messages(run).all] == [(1.0, 2.5), (2.0, 3.0)]


def test_what_is_lost_with_a_connection_does_not_shift_what_comes_after() -> None:
    run = run_of([*connected(0.0), sent(1.0, 10.0), *connected(5.0), sent(6.0, 10.0), got(6.5, 10.0)])
    found = messages(run)
    assert [(each.sent_s, each.arrived_s) for each in found.all] == [(1.0, None), (6.0, 6.5)]
    assert found.unmatched == 1


def test_an_arrival_that_is_not_what_was_sent_is_not_taken_for_it() -> None:
    run = run_of([*connected(0.0), sent(1.0, 10.0), sent(2.0, 20.0), got(2.5, 11.0), got(3.0, 20.0)])
    assert [each.arrived_s for each in messages(run).all] == [None, None]


def test_a_handshake_that_only_one_side_saw_leaves_its_pair_untold() -> None:
    run = run_of([*connected(0.0), sent(1.0, 10.0), got(1.5, 10.0), sent(5.0, 200.0, "hello"), sent(6.0, 10.0)])
    assert messages(run).arrived == []


def test_a_lane_tells_computing_by_its_length_and_messages_from_send_to_arrival() -> None:
    run = run_of(
        [
            *connected(0.0),
            ("pi0", 2.0, "local_phase_s", 1.5, {}),
            ("coordinator", 4.0, "evaluate_s", 0.5, {}),
            sent(2.0, 10.0),
            got(3.0, 10.0),
        ]
    )
    coordinator, pi0, pi1 = lanes(run)
    assert (coordinator.node, pi0.node, pi1.node) == ("coordinator", "pi0", "pi1")
    assert pi0.spans["computing"] == [(0.5, 2.0)]
    assert pi0.spans["sending"] == coordinator.spans["receiving"] == [(2.0, 3.0)]
    assert coordinator.spans["computing"] == [(3.5, 4.0)]
    assert shares(pi0, 10.0)["computing"] == pytest.approx(0.15)
    assert not any(pi1.spans.values())


def test_a_node_is_down_between_its_exit_and_its_start_and_paused_while_a_pause_acts() -> None:
    up: list[Said] = [
        ("pi0", t, "node_up", value, {}) for t, value in ((0.0, 1.0), (3.0, 0.0), (6.0, 1.0), (10.0, 0.0))
    ]
    late: list[Said] = [("pi1", 2.0, "node_up", 1.0, {})]
    paused = [fault("pause", 4.0, None, nodes=["pi1"], links=[])]
    _, pi0, pi1 = lanes(run_of([*up, *late], faults=paused))
    assert pi0.spans["down"] == [(3.0, 6.0)], "the end of the run takes no one down"
    assert pi1.spans["down"] == [(0.0, 2.0)]
    assert pi1.spans["paused"] == [(4.0, 10.0)]


def test_spans_closer_than_the_resolution_become_one() -> None:
    assert merged([(3.0, 4.0), (0.0, 1.0), (1.05, 2.0)], 0.1) == [(0.0, 2.0), (3.0, 4.0)]


def test_a_fault_of_a_link_touches_the_devices_at_its_ends() -> None:
    run = run_of([], faults=[fault("degrade", 1.0, 2.0, nodes=[], links=["pi1>coordinator"])])
    assert [window.touched for window in run.acted] == [("pi1",)]


def test_the_time_line_marks_every_node_that_a_fault_hit() -> None:
    run = run_of([("pi0", 2.0, "local_phase_s", 1.5, {})], faults=[fault("dropout", 3.0, 6.0, nodes=["pi0"], links=[])])
    axes = figures.timeline(run).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["coordinator", "pi0", "pi1"]
    assert [text.get_text() for text in axes.texts] == ["dropout (1)"]
    outlined = [patch for patch in axes.patches if not patch.get_fill()]
    assert [(box.get_x(), box.get_width()) for box in outlined] == [(3.0, 3.0)]  # type: ignore[attr-defined]  # Rectangle


def test_latencies_are_those_of_all_seeds_together() -> None:
    runs = [
        run_of(
            [*connected(0.0), sent(1.0, 10.0), got(1.0 + delay, 10.0), ("coordinator", 5.0, "round_s", 4.0, {})], seed=n
        )
        for n, delay in ((1, 0.5), (2, 1.5))
    ]
    found = observe(Group("a", "", tuple(runs)))
    assert found.samples[DELAY] == pytest.approx([0.5, 1.5])
    assert found.samples["round_s"] == [4.0, 4.0]
    assert quantiles(found.samples[DELAY]).p50 == pytest.approx(1.0)
    table = observations.latencies([found])
    assert table.rows[0] == ("message delay", "a", "2", "1.0 s", "1.4 s", "1.5 s", "1.5 s")


def test_a_metric_that_is_always_zero_has_no_panel() -> None:
    run = run_of([("coordinator", 5.0, "staleness", 0.0, {}), ("coordinator", 5.0, "round_s", 4.0, {})])
    drawn = figures.latencies([observe(each) for each in group([run])])
    assert [axes.get_title(loc="left") for axes in drawn.axes] == ["round"]


def test_a_star_is_a_row_for_each_device_and_a_column_for_each_kind_and_direction() -> None:
    down = sent(0.5, 50.0, "model", by="coordinator", to="pi1")
    found = matrix([run_of([*connected(0.0), sent(1.0, 10.0), sent(2.0, 30.0), down])])
    assert found.hub == "coordinator"
    assert found.rows == ("pi0", "pi1")
    assert dict(found.cells) == {
        ("pi0", "update\nto coordinator"): 40.0,
        ("pi1", "model\nfrom coordinator"): 50.0,
    }


def test_where_peers_talk_to_each_other_rows_send_and_columns_receive() -> None:
    said = [sent(1.0, 10.0, by=f"pi{a}", to=f"pi{b}") for a, b in ((0, 1), (1, 2), (2, 0))]
    found = matrix([run_of(said, devices=3)])
    assert found.hub is None
    assert found.cells["pi1", "pi2"] == 10.0
    assert figures.traffic(group([run_of(said, devices=3)])).axes[0].get_xlabel() == "to"


def test_many_nodes_are_summed_by_their_groups() -> None:
    said = [sent(1.0, 10.0, by=f"pi{n}") for n in range(30)]
    found = matrix([run_of(said, devices=30)])
    assert found.rows == ("pi",)
    assert sum(found.cells.values()) == 300.0


def test_bytes_between_nodes_are_means_over_the_seeds() -> None:
    runs = [run_of([sent(1.0, size)], seed=seed) for seed, size in ((1, 10.0), (2, 30.0))]
    assert sent_between(runs) == {("pi0", "coordinator", "update"): 20.0}
    table = observations.sent_to_whom(group(runs))
    assert table.rows == (("x", "pi → coordinator", "20.0 B", "20.0 B"),)


def test_a_report_shows_the_time_line_of_the_setting_with_faults() -> None:
    calm = run_of([sent(1.0, 10.0)])
    stormy = run_of([sent(1.0, 10.0)], faults=[fault("pause", 4.0, 5.0, nodes=["pi0"], links=[])])
    groups = [Group("a", "calm", (calm,)), Group("a", "storm", (stormy,))]
    assert course.shown_runs(groups) == [stormy]
