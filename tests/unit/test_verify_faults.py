"""The checkers of what faults did: silence, healing, evidence and the log."""

from dataclasses import replace

import pytest

from node_image.records import Record
from orchestrator.verify.history import Event, History
from orchestrator.verify.spells import Spell, blocked, dead, frozen, links_down, lives
from tests.plans import COORDINATOR
from tests.unit.histories import (
    changed,
    disturbed,
    first,
    said,
    truth,
    with_events,
    with_links,
    with_records,
    with_report,
    without_event,
)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    return disturbed(tmp_path_factory.mktemp("disturbed") / "run")


def test_spells_are_those_of_the_plan(history: History) -> None:
    assert lives(history)["d-1"] == [Spell(0.0, 1.0), Spell(1.6, 12.0)]
    assert dead(history)["d-1"][0] == Spell(1.0, 1.6)
    assert frozen(history) == {"d-2": [Spell(2.0, 2.6)]}
    ((spell, pairs),) = blocked(history)
    assert (spell, len(pairs)) == (Spell(3.0, 3.8), 6)
    assert links_down(history)["d-2>coordinator"] == [Spell(4.2, 4.8)]


# --- I6, I7: silence ---


@pytest.mark.parametrize(("device", "t"), [("d-3", 3.7), ("d-2", 4.75)])
def test_a_message_through_a_partition_or_a_link_that_is_down_is_told(history: History, device: str, t: float) -> None:
    received = first(history, COORDINATOR, "received_payload_bytes", kind="update", peer=device)
    assert truth("I6", history) == "true"
    assert truth("I6", with_records(history, COORDINATOR, replace(received, t=t))) == "false"


def test_what_was_under_way_when_the_cut_came_may_arrive(history: History) -> None:
    received = first(history, COORDINATOR, "received_payload_bytes", kind="update", peer="d-3")
    assert truth("I6", with_records(history, COORDINATOR, replace(received, t=3.05))) == "true"


@pytest.mark.parametrize(("device", "t"), [("d-1", 1.3), ("d-2", 2.3)])
def test_a_word_from_the_dead_or_the_frozen_is_told(history: History, device: str, t: float) -> None:
    assert truth("I7", history) == "true"
    assert truth("I7", with_records(history, device, Record(t, "round_s", 1.0))) == "false"


def test_energy_that_is_no_sum_of_its_parts_or_not_power_times_time_is_told(history: History) -> None:
    base = next(r for r in history.own if r.metric == "energy_joules" and r.labels["component"] == "base")
    total = history.summary["energy_joules"]
    assert total is not None
    without = [record for record in history.own if record is not base]
    less = {**history.summary, "energy_joules": total - base.value}
    assert "the parts make" in said("I7", replace(history, own=without)).reasons[0]
    assert "was on for" in said("I7", replace(history, own=without, summary=less)).reasons[0]
    fallen = [replace(record, value=-1.0) if record is base else record for record in history.own]
    assert "fell" in said("I7", replace(history, own=fallen)).reasons[0]


# --- I10: the log ---


def test_a_log_with_a_gap_or_back_in_time_is_told(history: History) -> None:
    assert truth("I10", history) == "true"
    assert truth("I10", replace(history, events=[*history.events[:5], *history.events[6:]])) == "false"
    late = with_events(history, lambda e: replace(e, t=e.t + 5.0) if e.name == "fault_injected" else e)
    assert truth("I10", late) == "false"
    records = history.nodes["d-1"]
    assert truth("I10", replace(history, nodes={**history.nodes, "d-1": [records[-1], *records[:-1]]})) == "false"


def test_a_log_without_numbers_cannot_prove_that_it_is_whole(history: History) -> None:
    assert truth("I10", replace(history, events=[replace(each, number=None) for each in history.events])) == "unknown"


@pytest.mark.parametrize("name", ["fault_injected", "fault_healed"])
def test_a_fault_without_its_beginning_or_its_end_is_told(history: History, name: str) -> None:
    assert truth("I10", without_event(history, name, fault=0)) == "false"


def test_an_end_or_a_start_without_a_cause_is_told(history: History) -> None:
    def other(event: Event) -> Event:
        return (
            replace(event, details={**event.details, "node": "d-3"})
            if event.t == 1.0 and "node" in event.details
            else event
        )

    assert "no cause" in " ".join(said("I10", with_events(history, other)).reasons)


def test_a_fault_that_came_late_too_soon_or_never_is_told(history: History) -> None:
    assert truth("I10", with_report(history, 1, injected_at_s=2.1)) == "false"
    assert truth("I10", with_report(history, 1, healed_at_s=2.5)) == "false"
    assert truth("I10", with_report(history, 1, injected_at_s=None)) == "false"
    assert truth("I10", replace(history, faults=history.faults[:-1])) == "false"


# --- G9, G10: healed, acted ---


def test_links_that_are_not_as_planned_at_the_end_are_told(history: History) -> None:
    assert truth("G9", history) == "true"
    assert truth("G9", with_links(history, as_laid=False)) == "false"


def test_packets_that_meet_a_fault_after_its_end_are_told(history: History) -> None:
    record = Record(8.0, "link_dropped_packets", 1.0, {"link": "d-2>coordinator", "reason": "down"})
    assert truth("G9", replace(history, own=[*history.own, record])) == "false"


def test_who_lives_and_hears_nothing_more_is_told_once_there_was_time(history: History) -> None:
    deaf = changed(history, "d-3", lambda r: None if r.metric == "received_payload_bytes" and r.t > 4 else r)
    assert truth("G9", deaf) == "unknown", "7 s are not three times as long as the faults lasted"
    patient = replace(deaf, faults=[each for each in deaf.faults if each.index > 2])
    assert truth("G9", patient) == "false"


def test_of_a_run_that_did_not_end_nobody_can_say_that_it_healed(history: History) -> None:
    assert truth("G9", without_event(history, "run_ended")) == "unknown"


@pytest.mark.parametrize(
    "changes", [{"evidence": None}, {"evidence": ""}, {"heal_evidence": ""}, {"error": "the lever broke"}]
)
def test_a_fault_without_evidence_is_told(history: History, changes: dict[str, str | None]) -> None:
    assert truth("G10", history) == "true"
    assert truth("G10", with_report(history, 1, **changes)) == "false"


def test_a_victim_that_lived_on_or_was_left_dead_is_told(history: History) -> None:
    lived = without_event(without_event(history, "node_exited", node="d-1"), "node_started", node="d-1")
    began = next(event for event in history.events if event.name == "node_started")
    start = Event(1, 0.0, "node_started", {"node": "d-1"})
    assert began.t == 0.0
    assert "lived on" in said("G10", replace(lived, events=[start, *lived.events])).reasons[0]
    left = with_events(
        history, lambda e: None if e.name == "node_started" and e.details["node"] == "d-1" and e.t > 1 else e
    )
    assert "not started again" in said("G10", left).reasons[0]


def test_a_straggler_that_was_as_fast_as_ever_is_told(history: History) -> None:
    usual = first(history, "d-1", "local_step_s").value

    def as_fast(record: Record) -> Record:
        return replace(record, value=usual) if record.metric == "local_step_s" else record

    slow = [r.value for r in history.of("d-1", "local_step_s")]
    assert max(slow) > 3 * usual, "it was slowed, and said so"
    assert truth("G10", changed(history, "d-1", as_fast)) == "false"
    real = replace(changed(history, "d-1", as_fast), is_virtual=False)
    assert truth("G10", real) == "unknown", "the host may have been slower than the straggler"
