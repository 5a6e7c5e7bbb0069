"""Runs that were killed and are gone on with: in virtual time from their beginning, else where they were."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import UsageError
from orchestrator.interrupted import find_interrupted
from orchestrator.outcome import Outcome, RunOptions
from orchestrator.run import execute
from orchestrator.so_far import SoFar
from orchestrator.terminal import QuietDisplay
from orchestrator.verify import verify
from orchestrator.verify.history import History, read_history
from tests.unit.dying import die, kept_substrate, plan, resume

pytestmark = pytest.mark.timeout(240)  # the processes that die load torch, on whatever machine

DEATHS = ("straggler of d-2 began", "crash of d-1 acts again", "7")  # in a fault, while going on, and later
LAST_DEATH_S = 7.0


@pytest.fixture(scope="module")
def gone_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Outcome, History]]:
    """A run that was killed three times, and what came of it."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    die("kept", folder, *DEATHS)
    with kept_substrate():
        outcome = resume(folder, QuietDisplay())
    yield outcome, read_history(folder)


def said(outcome: Outcome, name: str) -> Any:
    return json.loads((outcome.directory / name).read_text())


def test_a_run_killed_three_times_comes_to_its_end_and_says_when_it_was_resumed(
    gone_on: tuple[Outcome, History],
) -> None:
    outcome, history = gone_on
    assert (outcome.status, outcome.exit_code) == ("complete", 0)
    assert history.ended_s == pytest.approx(12.0, abs=1e-3)
    assert sum(note.startswith("killed and resumed at ") for note in outcome.notes) == len(DEATHS)
    for name in ("result.json", "environment.json"):
        told = said(outcome, name)["resumed"]
        assert [each["at_s"] for each in told] == sorted(each["at_s"] for each in told)
        assert told[0]["at_s"] == pytest.approx(4.0, abs=1e-3), "it had just written that a fault began"
        assert told[2]["at_s"] >= LAST_DEATH_S
        assert all(each["down_s"] > 0 and each["counted_until_s"] <= each["at_s"] for each in told)
    assert not (outcome.directory / "so_far.json").exists()


def test_no_invariant_is_false_of_it_and_what_the_kill_took_is_unknown(gone_on: tuple[Outcome, History]) -> None:
    _, history = gone_on
    found = {each.id: each for each in verify(history)}
    assert {id_: each.reasons for id_, each in found.items() if each.truth == "false"} == {}
    assert {found[id_].truth for id_ in ("I3", "I4", "I5", "I6", "I7", "I10", "G10")} == {"true"}
    assert found["I1"].truth == found["I2"].truth == "unknown"
    assert all("nobody knows" in reason for reason in found["I1"].reasons)
    assert all("was killed" in reason for reason in found["I2"].reasons)


def test_the_totals_of_links_are_those_of_all_lives_together(gone_on: tuple[Outcome, History]) -> None:
    outcome, history = gone_on
    assert history.links is not None
    offered, dropped = Counter[str](), Counter[str]()
    for record in history.own:
        if record.metric == "link_offered_bytes":
            offered[record.labels["link"]] += round(record.value)
        elif record.metric == "link_dropped_packets":
            dropped[record.labels["link"]] += round(record.value)
    for name, count in history.links.items():
        packets = count.delivered_packets + sum(count.dropped.values()) + count.in_flight_packets
        assert count.offered_packets == packets
        assert (offered[name], dropped[name]) == (count.offered_bytes, sum(count.dropped.values()))
    first_life = sum(r.value for r in history.own if r.metric == "link_offered_bytes" and r.t <= 4.0)
    assert first_life > 0
    assert sum(offered.values()) > first_life
    assert outcome.summary["sent_wire_bytes"] == sum(r.value for r in history.own if r.metric == "sent_wire_bytes")


def test_each_fault_acts_once_and_what_was_under_way_for_the_rest_of_its_time(gone_on: tuple[Outcome, History]) -> None:
    outcome, history = gone_on
    began = Counter(event.details["fault"] for event in history.named("fault_injected"))
    assert began == dict.fromkeys(range(6), 1)
    again = [event.details["fault"] for event in history.named("fault_resumed") if event.t < LAST_DEATH_S]
    assert set(again) == {1, 2, 3}, "0 was over, 4 and 5 were ahead"
    at_last = [event.details["fault"] for event in history.named("fault_resumed") if event.t >= LAST_DEATH_S]
    assert at_last == [2, 3], "1 was over by then"
    reports = {each["index"]: each for each in said(outcome, "result.json")["faults"]}
    assert (reports[1]["injected_at_s"], reports[1]["healed_at_s"]) == pytest.approx((2.5, 6.5), abs=1e-3)
    assert reports[3]["healed_at_s"] == pytest.approx(8.0, abs=1e-3)
    assert reports[5]["injected_at_s"] == pytest.approx(8.5, abs=1e-3), "4.5 s after fault 3 began, in another life"
    assert reports[3]["evidence"].count("again after the run was killed") == len(DEATHS) - 1, "once it was not reached"


def test_events_are_numbered_through_and_the_coordinator_went_on_from_its_checkpoint(
    gone_on: tuple[Outcome, History],
) -> None:
    _, history = gone_on
    assert [event.number for event in history.events] == list(range(1, len(history.events) + 1))
    versions = [(record.t, record.value) for record in history.of("coordinator", "version")]
    before = max(value for t, value in versions if t <= LAST_DEATH_S)
    after = next(value for t, value in versions if t > LAST_DEATH_S + 0.5)
    assert after >= before, "it had kept every version"


def test_a_run_killed_after_its_end_is_judged_by_what_it_recorded(
    gone_on: tuple[Outcome, History], tmp_path: Path
) -> None:
    _, history = gone_on
    folder = shutil.copytree(gone_on[0].directory, tmp_path / "run")
    for name in ("result.json", "verify.json", "links.json"):
        (folder / name).unlink()
    assert history.ended_s is not None
    assert history.links is not None
    (folder / "so_far.json").write_text(json.dumps(SoFar(history.ended_s, history.links).to_json()))
    with kept_substrate():
        outcome = resume(folder, QuietDisplay())
    assert (outcome.status, outcome.exit_code) == ("complete", 0)
    assert outcome.summary == gone_on[0].summary
    again = read_history(folder)
    assert again.links == history.links
    assert len(again.events) == len(history.events) + 1, "nothing but that it was resumed"
    assert [each.id for each in verify(again) if each.truth == "false"] == []


def test_in_virtual_time_a_killed_run_is_made_again_bit_by_bit(tmp_path: Path) -> None:
    die("simulation", tmp_path / "run", "5")
    (tmp_path / "run" / "mine.txt").write_text("a file of the user's")
    outcome = resume(tmp_path / "run", QuietDisplay())
    beside = execute(plan(), "name: test\n", RunOptions(tmp_path / "b", substrate="simulation"), QuietDisplay())
    assert outcome.exit_code == beside.exit_code == 0
    nodes = [f"nodes/{node.name}/records.jsonl" for node in plan().nodes]
    for name in ("plan.json", "events.jsonl", "records.jsonl", "links.json", "verify.json", *nodes):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert '"event": "node_model"' in (tmp_path / "b" / "events.jsonl").read_text(), "which tells each model's hash"
    assert (tmp_path / "run" / "mine.txt").read_text() == "a file of the user's"
    with pytest.raises(UsageError, match="has its result already"):
        find_interrupted(tmp_path / "run")
