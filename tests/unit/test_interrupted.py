"""What a run that was killed has left: which can be gone on with, what of it counts, and how its faults stood."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from node_image import plugins
from node_image.records import Record
from node_image.spec import Chosen
from orchestrator.cli import main
from orchestrator.errors import UsageError
from orchestrator.faults.past import first_met, past_of
from orchestrator.interrupted import Interrupted, cut_torn, find_interrupted, is_whole, read_traces
from orchestrator.outcome import RunOptions
from orchestrator.plan import Condition, Plan, PlannedFault
from orchestrator.receipt import Check
from orchestrator.resumed import checks_before, in_notes, unknown_of_faults
from orchestrator.run import execute
from orchestrator.rundir import RunDirectory, lived_in
from orchestrator.so_far import LOST, SoFar, closed, together
from orchestrator.substrates.base import LinkCount
from orchestrator.terminal import QuietDisplay
from orchestrator.verify.history import Event
from orchestrator.verify.links import problems
from orchestrator.workload.planned import Workload
from tests import own_plugin
from tests.plans import fault, star

MADE = {"substrate": "mininet", "shaper": "delay_line"}
COUNT = LinkCount(10, 1000, 6, 600, {"loss": 3}, {"loss": 300}, 1, 100, 2, as_laid=True)


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The directory of a run that was killed before it began."""
    directory = RunDirectory(tmp_path / "run")
    directory.create(star(2), "name: test\n", MADE)
    return tmp_path / "run"


def lines(*events: tuple[float, str, dict[str, Any]]) -> str:
    texts = [json.dumps({"n": n, "t": t, "event": name, **more}) for n, (t, name, more) in enumerate(events, 1)]
    return "".join(f"{text}\n" for text in texts)


# --- which runs ---


def test_a_killed_run_is_found_with_its_plan_and_how_it_was_run(killed: Path) -> None:
    assert find_interrupted(killed) == Interrupted(killed, star(2), "mininet", "delay_line")


def rewritten(name: str, **changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        raw = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(raw | changes))

    return change


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (rewritten("result.json"), r"has its result already: edgebed report"),
        (rewritten("compare.json"), r"is a comparison; .* edgebed sweep SCENARIO --resume"),
        (rewritten("run.json", schema_version=2), r"is of version 2, and this Edgebed goes on with version 1"),
        (rewritten("run.json", substrate="ssh"), r"on ssh cannot be gone on with: a board removes .* begin it anew"),
        (lambda folder: (folder / "run.json").unlink(), r"made by an Edgebed that wrote no run.json"),
        (lambda folder: (folder / "run.json").write_text('{"schema'), r"run.json cannot be read"),
        (lambda folder: (folder / "plan.json").write_text('{"name'), r"no plan that can be read .* edgebed serve"),
        (lambda folder: (folder / "plan.json").unlink(), r"no plan that can be read"),
    ],
)
def test_what_cannot_be_gone_on_with_is_refused_with_the_reason(
    killed: Path, change: Callable[[Path], None], why: str
) -> None:
    change(killed)
    with pytest.raises(UsageError, match=why):
        find_interrupted(killed)


def test_programs_of_ones_own_are_begun_anew(tmp_path: Path) -> None:
    plan = replace(star(1), workload=Workload("time", ()))
    RunDirectory(tmp_path / "run").create(plan, "", MADE)
    with pytest.raises(UsageError, match="run programs of one's own"):
        find_interrupted(tmp_path / "run")


def test_a_run_that_lives_is_left_alone(killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.rundir.FREE_WITHIN_S", 0.1)
    with lived_in(killed), pytest.raises(UsageError, match="is still running"), lived_in(killed):
        pass
    with lived_in(killed):
        pass  # its process has ended


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--seed", "7"), "--seed 7 (the run has 1)"),
        (("--substrate", "simulation"), "--substrate simulation (the run has mininet)"),
        (("--slow-down", "3"), "--slow-down 3.0 (the run has 1.0)"),
        (("--set", "a.b=1"), "--set"),
        (("smoke", "--out", "x"), "SCENARIO, --out"),
    ],
)
def test_options_that_contradict_the_plan_are_refused_all_at_once(
    killed: Path, words: tuple[str, ...], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in killed.iterdir())
    assert main(["run", "--resume", str(killed), *words]) == 2
    assert f"leave out {named}" in capsys.readouterr().err
    assert sorted(path.name for path in killed.iterdir()) == before


def test_run_without_a_scenario_says_what_may_be_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run"]) == 2
    assert "--resume RUN" in capsys.readouterr().err


# --- what it has recorded ---


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (b'{"t": 1}\n{"t": 2}\n', b'{"t": 1}\n{"t": 2}\n'),
        (b'{"t": 1}\n{"t": 2', b'{"t": 1}\n'),
        (b'{"t": 1}\n{"t": 2\n', b'{"t": 1}\n'),
        (b'{"t": 1}\n\0\0\0\n\0\0', b'{"t": 1}\n'),
        (b'{"t"', b""),
        (b"", b""),
    ],
)
def test_a_torn_end_is_cut_off_and_nothing_else(tmp_path: Path, content: bytes, kept: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    assert cut_torn(tmp_path / "x") == len(content) - len(kept)
    assert (tmp_path / "x").read_bytes() == kept


def test_a_run_that_had_not_begun_has_no_traces(killed: Path) -> None:
    (killed / "events.jsonl").write_text(lines((0.0, "node_ready", {"node": "d-1"})))
    assert read_traces(find_interrupted(killed)) is None


def test_a_run_goes_on_at_its_last_recorded_instant_without_the_sample_that_was_torn(killed: Path) -> None:
    started = [(0.0, "node_started", {"node": node}) for node in ("coordinator", "d-1", "d-2")]
    died = (1.5, "node_exited", {"node": "d-2", "returncode": -9, "asked": True})
    (killed / "events.jsonl").write_text(lines((0.0, "run_began", {}), *started, died) + '{"n": 9, "t"')
    whole = Record(1.0, "sent_wire_bytes", 100.0, {"node": "d-1"})
    torn = Record(2.0, "sent_wire_bytes", 50.0, {"node": "d-1"})
    others = [Record(2.0, "node_up", 0.0, {"node": "d-2"}), replace(torn, metric="energy_joules", labels={
        "node": "d-1", "component": "board", "source": "measured:ina219"})]  # fmt: skip
    (killed / "records.jsonl").write_text("".join(f"{r.to_line()}\n" for r in (whole, torn, *others)))
    (killed / "nodes" / "d-1" / "records.jsonl").write_text(Record(2.3, "round", 1.0, {}).to_line() + "\n" + '{"t": 7')
    (killed / "so_far.json").write_text(json.dumps(SoFar(1.0, {"a>b": COUNT}).to_json()))
    found = read_traces(find_interrupted(killed))
    assert found is not None
    assert (found.at_s, found.counted.t, found.is_over) == (2.3, 1.0, False)
    assert found.lived == ("coordinator", "d-1")
    assert found.counted.links == {"a>b": COUNT}
    assert list(found.own) == [whole, *others]
    assert (killed / "records.jsonl").read_text().splitlines() == [r.to_line() for r in (whole, *others)]
    assert not is_whole(torn, found.counted)


@pytest.mark.parametrize(
    ("event", "is_over"),
    [
        ((2.0, "run_ended", {}), True),
        ((2.0, "node_finished", {"node": "coordinator"}), True),
        ((2.0, "node_finished", {"node": "d-1"}), False),
        ((10.0, "node_exited", {"node": "d-1", "returncode": 1, "asked": False, "last_words": ""}), True),
    ],
)
def test_where_nothing_was_left_but_to_judge_it_that_is_seen(
    killed: Path, event: tuple[float, str, dict[str, Any]], is_over: bool
) -> None:
    (killed / "events.jsonl").write_text(lines((0.0, "run_began", {}), event))
    found = read_traces(find_interrupted(killed))
    assert found is not None
    assert found.is_over is is_over


# --- what is said of it ---


def test_what_nobody_knows_any_more_of_a_fault_is_told_and_nothing_where_all_is_known() -> None:
    again = [event(3.0, "fault_resumed", 0, kind=kind) for kind in ("battery", "crash", "metrics_down")]
    told = unknown_of_faults([event(1.0, "fault_injected", 0, kind="battery"), *again])
    assert len(told) == 2
    assert "how much its batteries had given" in told[0]
    assert "which records its nodes had kept back" in told[1]
    assert unknown_of_faults(again[1:2]) == in_notes(again) == []


def test_the_receipt_keeps_what_was_measured_before_and_says_so_once(killed: Path) -> None:
    probed = Check("rtt_s", "a>b", 0.01, 0.02, 0.001, ok=False)
    (killed / "events.jsonl").write_text(lines((0.0, "run_began", {}), (2.0, "meter", {})))
    (killed / "receipt.json").write_text(json.dumps({"checks": [asdict(probed)]}))
    past = read_traces(find_interrupted(killed))
    assert past is not None
    first, late = checks_before(killed, past)
    assert first == replace(probed, why="before the run was killed at 2.00 s")
    assert (late.what, late.ok) == ("lateness_p99_s", None)
    (killed / "receipt.json").write_text(json.dumps({"checks": [asdict(first), asdict(late)]}))
    assert checks_before(killed, past)[:2] == [first, late], "it was killed again, and they are dated"


def test_a_run_goes_on_with_the_copies_of_its_plug_ins_and_with_no_others(tmp_path: Path) -> None:
    with plugins.loaded((own_plugin.write(tmp_path),)) as own:
        options = RunOptions(tmp_path / "run", substrate="simulation", plugins=own)
        execute(star(1, algorithm=Chosen("own"), stop_after_s=0.5), "", options, QuietDisplay())
    (tmp_path / "run" / "result.json").unlink()
    (tmp_path / "own.py").unlink()
    assert main(["run", "--resume", str(tmp_path / "run"), "-q"]) == 0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "complete"
    (tmp_path / "run" / "result.json").unlink()
    (tmp_path / "run" / "plugins" / "own.py").write_text("another = 1")
    assert main(["run", "--resume", str(tmp_path / "run"), "-q"]) == 2, "it is not the one that was planned with"


# --- counters ---


def test_what_was_on_a_link_when_it_was_killed_is_told_as_lost_and_nothing_is_missing() -> None:
    gone = closed(COUNT)
    assert problems(gone) == []
    assert (gone.dropped[LOST], gone.in_flight_packets) == (1, 0)
    total = together(gone, COUNT)
    assert problems(total) == []
    assert (total.offered_packets, total.delivered_bytes, total.in_flight_bytes) == (20, 1200, 100)
    assert total.dropped == {"loss": 6, LOST: 1}
    assert together(gone, replace(COUNT, dropped_bytes=None)).dropped_bytes is None, "one of them cannot tell"


# --- faults ---


def event(t: float, name: str, index: int, **more: object) -> Event:
    return Event(None, t, name, {"fault": index, "kind": "crash", "evidence": "seen", "asked_s": 1.0, **more})


def waits(condition: Condition, lasts_s: float | None = None) -> PlannedFault:
    return PlannedFault(0, "crash", None, None, ("d-1",), (), {}, condition, lasts_s)


def stood(planned: PlannedFault, *events: Event, at_s: float = 5.0, records: tuple[Record, ...] = ()) -> Any:
    plan: Plan = star(1, faults=(planned,))
    return past_of(plan, events, [("d-1", record) for record in records], at_s).faults[0]


def test_how_a_fault_stood_is_told_by_its_events() -> None:
    crash = fault("crash", 1.0, 4.0, nodes=("d-1",))
    began, ended = event(1.2, "fault_injected", 0, since_s=1.01), event(4.5, "fault_healed", 0, since_s=4.01)
    assert stood(crash).state == "ahead"
    assert stood(crash, began, at_s=3.0).state == "under_way"
    over = stood(crash, began, ended)
    assert (over.state, over.report.injected_at_s, over.report.healed_at_s, over.ends_now) == (
        "over",
        1.01,
        4.01,
        False,
    )
    unsaid = stood(crash, began)
    assert (unsaid.state, unsaid.report.healed_at_s, unsaid.ends_now) == ("over", 5.0, True), "its time was over"
    failed = stood(crash, event(1.2, "fault_failed", 0, error="no way"))
    assert (failed.state, failed.report.error) == ("over", "no way")
    assert stood(fault("crash", 1.0, None, nodes=("d-1",)), began).state == "under_way", "it has no end"


def test_a_fault_that_acted_again_keeps_all_its_evidence() -> None:
    crash = fault("crash", 1.0, 9.0, nodes=("d-1",))
    found = stood(crash, event(1.2, "fault_injected", 0), event(3.0, "fault_resumed", 0, evidence="seen again"))
    assert found.state == "under_way"
    assert found.report.evidence == "seen; again after the run was killed at 3 s: seen again"


def test_what_a_fault_had_waited_for_is_not_waited_for_anew() -> None:
    applied = [Record(t, "aggregated_updates", 2.0, {}) for t in (1.0, 2.0, 3.0)]
    many = Condition("aggregated_updates", 4.0, None, None, 4.0)
    found = stood(waits(many, 2.0), records=tuple(applied))
    assert (found.state, found.at_s, found.heal_s, found.because) == ("ahead", 6.0, 8.0, "aggregated_updates was 4")
    assert stood(waits(many), records=tuple(applied[:1])).at_s is None, "it waits still"
    after = Condition(None, None, None, 7, 0.5)
    assert first_met(after, [], {7: 2.0}) == (2.0, "fault 7 had begun")
    assert first_met(after, [], {}) is None
    acting = stood(waits(after, 3.0), event(2.6, "fault_injected", 0, asked_s=2.5), at_s=4.0)
    assert (acting.state, acting.at_s, acting.heal_s) == ("under_way", 2.5, 5.5)
