"""What the live page is told: a picture of a run that grows, and what a page that has seen part of it lacks."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from node_image.records import Record
from orchestrator.telemetry.live.bins import MOST_BINS, Bins
from orchestrator.telemetry.live.facts import facts
from orchestrator.telemetry.live.picture import MOST_LINES, Picture, widths_s
from orchestrator.telemetry.live.wording import worded
from tests.unit.recorded_runs import write_run


def picture(stop_after_s: float = 100.0) -> Picture:
    made = Picture(stop_after_s, ["coordinator"], ["pi-1", "pi-2"])
    made.advance()
    return made


def fault(event: str, t: float, **details: Any) -> dict[str, Any]:
    return {"t": t, "event": event, "fault": 0, "kind": "dropout", "nodes": ["pi-1"], "links": [], **details}


def told(news: list[float | None]) -> dict[int, float]:
    """The bins that a page is told of, those with nothing in them left out."""
    first, *values = news
    return {int(first or 0) + offset: value for offset, value in enumerate(values) if value is not None}


def test_the_last_value_of_a_bin_counts_and_increments_add_up() -> None:
    bins = Bins()
    bins.put(3, 0.5, 1)
    bins.put(3, 0.6, 1)
    assert bins.since(0) == [3, 0.6]
    bins.add(5, 10.0, 2)
    bins.add(5, 2.5, 3)
    assert bins.since(1) == [5, 12.5]
    assert bins.since(3) is None
    assert bins.since(0) == [3, 0.6, None, 12.5]


def test_a_bin_beyond_all_bounds_is_the_last_one_and_takes_no_more_memory() -> None:
    bins = Bins()
    bins.add(10**12, 1.0, 1)
    bins.add(-5, 1.0, 1)
    assert len(bins.values) == MOST_BINS


def test_a_page_that_saw_part_of_it_is_told_the_rest_and_knows_all() -> None:
    """Whatever it has seen and however often it asks: what it was told adds up to what a page is told that begins."""
    grown = picture()
    seen: dict[str, dict[int, float]] = {}
    version = 0
    for step in range(40):
        grown.advance()
        grown.record("coordinator", Record(step * 2.5, "test_accuracy", step / 40, {"split": "global"}))
        grown.record("pi-1", Record(step * 2.5, "sent_payload_bytes", 100.0, {"kind": "update", "peer": "coordinator"}))
        if step % 3 == 0 or step == 39:
            for _ in range(2):  # told twice, as after a reconnection: no difference
                for family, members in grown.since(version).get("series", {}).items():
                    for name, news in members.items():
                        seen.setdefault(f"{family} {name}", {}).update(told(news))
            version = grown.version
    whole = grown.since(0)["series"]
    assert seen["accuracy coordinator"] == told(whole["accuracy"]["coordinator"])
    assert sum(seen["payload update"].values()) == 40 * 100.0
    assert grown.since(grown.version) == {}


def test_events_become_states_of_nodes() -> None:
    grown = picture()
    grown.event({"t": 0.0, "event": "node_ready", "node": "pi-1"})
    grown.event({"t": 0.1, "event": "node_started", "node": "pi-1"})
    grown.event({"t": 9.0, "event": "node_exited", "node": "pi-1", "returncode": -9, "asked": True})
    grown.event({"t": 9.5, "event": "node_exited", "node": "pi-2", "returncode": 1, "asked": False, "last_words": "x"})
    grown.event({"t": 12.0, "event": "links_out_of_range", "links": ["pi-1>pi-2"], "evidence": ""})
    grown.event({"t": 13.0, "event": "links_shaped", "links": {"pi-1>pi-2": {"up": True, "rate_bps": 1e6}}})
    assert [tuple(change) for change in grown.since(0)["changes"]["items"]] == [
        (0.0, "pi-1", "ready"),
        (0.1, "pi-1", "up"),
        (9.0, "pi-1", "stopped"),
        (9.5, "pi-2", "died"),
        (12.0, "pi-1>pi-2", "shut"),
        (13.0, "pi-1>pi-2", "open"),
    ]


def test_that_nodes_are_stopped_after_the_end_is_not_shown_as_a_loss() -> None:
    grown = picture()
    grown.event({"t": 0.1, "event": "node_started", "node": "pi-1"})
    grown.event({"t": 40.0, "event": "run_ended"})
    grown.event({"t": 40.0, "event": "node_exited", "node": "pi-1", "returncode": 0, "asked": True})
    grown.event({"t": 40.1, "event": "node_exited", "node": "pi-2", "returncode": 1, "asked": False})
    assert [change[1:] for change in grown.since(0)["changes"]["items"]] == [("pi-1", "up"), ("pi-2", "died")]


def test_a_fault_begins_ends_or_fails_with_what_was_seen() -> None:
    grown = picture()
    grown.event(fault("fault_injected", 24.1, evidence="ended by signal 9"))
    began = grown.version
    assert grown.since(0)["executed"] == {"0": {"began_s": 24.1, "evidence": "ended by signal 9"}}
    grown.advance()
    grown.event(fault("fault_healed", 48.2, evidence="started again"))
    assert grown.since(began)["executed"]["0"]["ended_s"] == 48.2
    assert grown.since(began)["executed"]["0"]["end_evidence"] == "started again"
    grown.event({"t": 50.0, "event": "fault_failed", "fault": 1, "kind": "pause", "error": "no such group"})
    assert grown.since(began)["executed"]["1"] == {"failed_s": 50.0, "error": "no such group"}


def test_counters_sampled_at_the_end_of_an_interval_belong_to_it() -> None:
    """Samples come every second in a run of 100 s: bytes sampled at 5.002 s crossed the link in second 4 to 5."""
    grown = picture(100.0)
    grown.record(None, Record(5.002, "link_delivered_bytes", 1000.0, {"link": "a>b"}))
    grown.record(None, Record(6.0, "link_delivered_bytes", 500.0, {"link": "a>b"}))
    assert grown.since(0)["series"]["link"]["a>b"] == [4, 1000.0, 500.0]


def test_joules_are_kept_by_component_and_source_and_never_mixed() -> None:
    grown = picture()
    for component, source in (("cpu", "model"), ("cpu", "measured:rapl"), ("base", "model")):
        grown.record(
            None, Record(1.0, "energy_joules", 2.0, {"node": "pi-1", "component": component, "source": source})
        )
    assert set(grown.since(0)["series"]["joules"]) == {"cpu/model", "cpu/measured:rapl", "base/model"}
    assert grown.since(0)["nodes"]["pi-1"]["joules"] == 4.0, "of the node, modelled joules alone"


def test_the_accuracy_of_a_run_is_the_coordinators_else_the_mean_of_all_devices() -> None:
    grown = picture(300.0)
    grown.record("pi-1", Record(1.0, "test_accuracy", 0.2, {"split": "global"}))
    assert grown.main_accuracy() == []
    grown.record("pi-2", Record(2.0, "test_accuracy", 0.4, {"split": "global"}))
    grown.record("pi-2", Record(4.0, "test_accuracy", 0.8, {"split": "global"}))
    assert grown.main_accuracy() == [None, None, pytest.approx(0.3), None, pytest.approx(0.5)]
    grown.record("coordinator", Record(3.0, "test_accuracy", 0.9, {"split": "global"}))
    assert grown.main_accuracy() == [None, None, None, 0.9]


def test_accuracy_on_a_devices_own_part_of_the_test_set_is_another_thing() -> None:
    grown = picture()
    grown.record("pi-1", Record(1.0, "test_accuracy", 1.0, {"split": "own"}))
    assert "series" not in grown.since(0)


def test_a_page_that_opens_late_is_told_the_newest_lines_of_the_log_alone() -> None:
    grown = picture()
    for number in range(MOST_LINES + 10):
        grown.event({"t": float(number), "event": "run_began"})
    log = grown.since(0)["log"]
    assert log["from"] == 10
    assert len(log["items"]) == MOST_LINES


@pytest.mark.parametrize(
    "raw",
    [
        {"t": float("nan"), "event": "run_began"},
        {"event": "run_began"},
        {"t": 1.0},
        {"t": 1.0, "event": "node_started"},
    ],
)
def test_what_is_no_event_is_refused(raw: Mapping[str, Any]) -> None:
    with pytest.raises((ValueError, KeyError)):
        picture().event(raw)


def test_all_that_is_told_is_json_without_nan() -> None:
    grown = picture()
    with pytest.raises(ValueError, match="finite"):
        grown.record("pi-1", Record(1.0, "test_accuracy", float("nan"), {}))
    json.dumps(grown.since(0), allow_nan=False)


def test_the_width_of_bins_follows_the_length_of_the_run() -> None:
    assert widths_s(300.0) == (1.0, 3.0)
    assert widths_s(20.0)[1] == 1.0  # counters are not sampled more often than once a second
    assert all(width > 0 for width in (*widths_s(0.0), *widths_s(float("nan"))))


def test_an_event_of_another_version_is_told_field_by_field() -> None:
    line = worded(3.0, "firmware_flashed", {"t": 3.0, "event": "firmware_flashed", "node": "pi-1", "image": "a.bin"})
    assert (line.kind, line.text) == ("run", "firmware flashed: node pi-1, image a.bin")


def test_a_link_that_is_shaped_anew_is_told_in_its_units() -> None:
    shapes = {"a>b": {"up": True, "rate_bps": 250000.0, "delay_s": 0.014, "loss": 0.02}, "b>a": {"up": False}}
    line = worded(3.0, "links_shaped", {"links": shapes})
    assert (line.kind, line.text) == ("link", "a>b is now 250 kbit/s, 14.0 ms one way, loss 2.0 %; b>a is now down")


def test_a_node_that_ended_by_itself_is_a_problem_with_its_last_words() -> None:
    raw = {"node": "pi-1", "returncode": 1, "asked": False, "last_words": "a\nb\nc\nMemoryError"}
    line = worded(3.0, "node_exited", raw)
    assert line.kind == "problem"
    assert line.text == "pi-1 ended by itself (exit status 1): b | c | MemoryError"


def test_a_plan_of_another_version_is_shown_as_far_as_it_is_understood(tmp_path: Any) -> None:
    problems: list[str] = []
    plan = json.loads((write_run(tmp_path / "run") / "plan.json").read_text())
    plan["faults"] = [{"what": "a meteor"}]
    shown = facts(tmp_path / "run", plan, problems)
    assert [node["name"] for node in shown["nodes"]] == ["coordinator", "pi0", "pi1", "pi2"]
    assert shown["faults"] == []
    assert any(problem.startswith("plan.json: faults:") for problem in problems)


def test_numbers_that_are_none_do_not_reach_the_page(tmp_path: Any) -> None:
    problems: list[str] = []
    plan = {"name": "x", "stop_after_s": float("inf"), "nodes": [], "switches": [], "links": [], "faults": []}
    assert facts(tmp_path, plan, problems)["stop_after_s"] == 0.0
    assert any("stop_after_s" in problem for problem in problems)
