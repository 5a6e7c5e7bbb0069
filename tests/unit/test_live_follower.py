"""Following a run directory: what is new, what is broken, and what a page that reconnects lacks."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator.commands.serve import receipt_rows
from orchestrator.telemetry.live.folder import ALONE, Folder
from orchestrator.telemetry.live.follower import Cursor, Follower
from orchestrator.telemetry.live.tail import ReplacedError, Tail
from tests.browser.live_run import write_live_run
from tests.replayed import Replay
from tests.unit.recorded_runs import write_comparison, write_run

NEW = Cursor("", 0)


def follow(directory: Path) -> Follower:
    follower = Follower(directory, receipt_rows)
    follower.read()
    return follower


def problems(follower: Follower) -> list[str]:
    found: list[str] = follower.since(NEW)[1]["status"]["problems"]
    return found


def age(directory: Path, seconds: float) -> None:
    """Make all files of a directory look as old as that."""
    for path in directory.rglob("*"):
        stamp = path.stat().st_mtime - seconds
        os.utime(path, (stamp, stamp))


def test_a_half_written_line_waits_for_its_rest(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    tail = Tail(path)
    assert tail.lines() == []
    path.write_text("one\ntw")
    assert tail.lines() == ["one"]
    assert tail.unread_bytes() == 2
    with path.open("a") as file:
        file.write("o\nthree\n")
    assert tail.lines() == ["two", "three"]
    assert tail.lines() == []


def test_a_file_that_is_shorter_than_before_is_another_file(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("one\ntwo\n")
    tail = Tail(path)
    tail.lines()
    path.write_text("new\n")
    with pytest.raises(ReplacedError):
        tail.lines()


def test_a_finished_run_is_told_whole(tmp_path: Path) -> None:
    follower = follow(write_run(tmp_path / "run"))
    cursor, told = follower.since(NEW)
    assert follower.ended
    assert told["status"]["result"] == "complete"
    assert told["status"]["receipt"]["rows"][0]["ok"] is False
    assert told["status"]["receipt"]["rows"][0]["set"] == "20.0 ± 1.00 Mbit/s"
    assert sum(value or 0.0 for value in told["series"]["payload"]["update"][1:]) == 3 * 60 * 9000.0
    assert sum(value or 0.0 for value in told["series"]["joules"]["cpu/model"][1:]) == pytest.approx(3 * 60 * 3.2)
    assert follower.since(cursor) == (cursor, {})


def test_a_page_that_resumes_gets_what_came_while_it_was_away_and_nothing_twice(tmp_path: Path) -> None:
    replay = Replay(write_run(tmp_path / "source"), tmp_path / "run")
    replay.until(50.0)
    follower = follow(tmp_path / "run")
    cursor, _ = follower.since(NEW)
    replay.until(80.0)
    follower.read()
    later, told = follower.since(Cursor.parse(str(cursor)))
    assert "facts" not in told
    first, *values = told["series"]["accuracy"]["coordinator"]
    assert first * (180.0 / 300) >= 50.0
    assert [value for value in values if value is not None]
    assert follower.since(later)[1] == {}


def test_a_page_that_has_seen_another_reading_begins_anew(tmp_path: Path) -> None:
    """A server that was started again counts from one: what an old page has seen says nothing to it."""
    follower = follow(write_run(tmp_path / "run"))
    assert "facts" in follower.since(Cursor("another", 10**6))[1]
    assert Cursor.parse("rubbish") == Cursor.parse(None) == Cursor.parse("a-²") == NEW


def test_a_directory_that_becomes_another_run_is_read_anew(tmp_path: Path) -> None:
    source = write_run(tmp_path / "source")
    Replay(source, tmp_path / "run").until(100.0)
    follower = follow(tmp_path / "run")
    cursor, _ = follower.since(NEW)
    for path in (tmp_path / "run").rglob("*.jsonl"):
        path.unlink()
    Replay(source, tmp_path / "run").until(10.0)
    follower.read()
    _, told = follower.since(cursor)
    assert "facts" in told
    assert told["now_s"] <= 10.0


def test_a_run_without_result_lives_until_it_has_been_silent_for_long(tmp_path: Path) -> None:
    Replay(write_run(tmp_path / "source"), tmp_path / "run").until(100.0)
    assert follow(tmp_path / "run").since(NEW)[1]["status"]["state"] == "live"
    age(tmp_path / "run", 3600.0)
    status = follow(tmp_path / "run").since(NEW)[1]["status"]
    assert status["state"] == "silent"
    assert 3500 < status["silent_s"] < 3700


def test_broken_lines_and_files_are_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with (run / "events.jsonl").open("a") as file:
        file.write('{"t": 1.0\nnull\n[]\n{"t": 2.0, "event": "run_ended"}\n')
    with (run / "records.jsonl").open("a") as file:
        file.write('{"t":1.0,"metric":"of_tomorrow","value":1,"labels":{}}\n')
    (run / "receipt.json").write_text('{"ok": tr')
    follower = follow(run)
    assert {problem.partition(" (")[0] for problem in problems(follower)} == {
        "events.jsonl: 3 lines broken or of another version, left out",
        "records.jsonl: 1 line broken or of another version, left out",
        "receipt.json is broken",
    }
    assert [line["text"] for line in follower.since(NEW)[1]["log"]["items"]] == ["The run began.", "The run ended."]


def test_a_result_of_another_version_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**result, "schema_version": 7}))
    assert any("version 7, this Edgebed reads version 1" in problem for problem in problems(follow(run)))


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"nodes": 5}', '{"nodes": [{"name": "../../etc"}], "links": [{}]}']
)
def test_a_broken_plan_leaves_what_events_and_records_tell(tmp_path: Path, content: str) -> None:
    run = write_run(tmp_path / "run")
    (run / "plan.json").write_text(content)
    follower = follow(run)
    told = follower.since(NEW)[1]
    assert told["series"]["joules"]
    assert any(problem.startswith("plan.json") for problem in told["status"]["problems"])
    json.dumps(told, allow_nan=False)


def test_a_plan_cannot_lead_out_of_its_directory(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    write_run(tmp_path / "secret")
    plan = json.loads((run / "plan.json").read_text())
    plan["nodes"][1]["name"] = "../../secret/nodes/pi0"
    (run / "plan.json").write_text(json.dumps(plan))
    assert all("secret" not in str(tail) for tail in follow(run)._nodes)


def test_missing_files_of_a_run_that_is_over_say_what_cannot_be_shown(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "records.jsonl").unlink()
    (run / "nodes" / "pi1" / "records.jsonl").unlink()
    assert problems(follow(run)) == [
        "records.jsonl is missing: link rates, wire bytes and joules cannot be shown",
        "no records of pi1",
    ]


def test_a_receipt_of_another_shape_is_said_not_to_be_read(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "receipt.json").write_text('{"ok": true, "checks": [{"was": 1}]}')
    assert "not as this version writes it" in follow(run).since(NEW)[1]["status"]["receipt"]["problem"]


def test_a_receipt_says_what_was_set_then_what_was_measured_and_what_is_pending(tmp_path: Path) -> None:
    source = write_live_run(tmp_path / "source", devices=2)
    replay = Replay(source, tmp_path / "run")

    def receipt() -> Any:
        return follow(tmp_path / "run").since(NEW)[1]["status"]["receipt"]

    set_alone = receipt()
    assert (set_alone["ok"], set_alone["pending"]) == (None, True)
    assert {(row["what"], row["set"], row["found"]) for row in set_alone["rows"]} == {
        ("rate", "20.0 Mbit/s", "not measured yet"),
        ("one-way delay", "2.00 ms", "not measured yet"),
        ("packet loss", "0.0 %", "not measured yet"),
    }
    replay.until(50.0)
    whole = json.loads((source / "receipt.json").read_text())
    probed = {"ok": True, "pending": True, "checks": [each for each in whole["checks"] if each["what"] == "rate_bps"]}
    (tmp_path / "run" / "receipt.json").write_text(json.dumps(probed))
    assert receipt()["pending"] is True
    assert {row["what"] for row in receipt()["rows"]} == {"rate"}
    (tmp_path / "run" / "receipt.json").write_text(json.dumps({**whole, "pending": False}))
    assert receipt()["pending"] is False


def test_simulated_links_are_not_said_to_be_measured_later(tmp_path: Path) -> None:
    Replay(write_live_run(tmp_path / "source"), tmp_path / "run").until(50.0)
    (tmp_path / "run" / "environment.json").write_text('{"substrate": "simulation"}')
    assert follow(tmp_path / "run").since(NEW)[1]["status"]["receipt"] == {"ok": None, "pending": True, "rows": []}


def test_nan_in_a_result_does_not_break_the_page(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "result.json").write_text('{"schema_version": 1, "status": "complete", "summary": {"lasted_s": NaN}}')
    json.dumps(follow(run).since(NEW)[1], allow_nan=False)


def test_the_runs_of_a_comparison_are_listed_as_they_appear(tmp_path: Path) -> None:
    folder = Folder(write_comparison(tmp_path / "both"), receipt_rows)
    assert [run.label for run in folder.runs()] == ["algorithm=fedavg seed=1", "algorithm=fedasync seed=1"]
    assert folder.complete()
    Replay(write_run(tmp_path / "source"), tmp_path / "both" / "algorithm=gossip-seed=1").until(10.0)
    assert [(run.label, run.ended) for run in folder.runs()][-1] == ("algorithm=gossip seed=1", False)
    assert folder.follower("algorithm=gossip-seed=1") is not None
    assert folder.follower("../source") is None


def test_a_comparison_with_runs_to_come_is_not_complete(tmp_path: Path) -> None:
    both = write_comparison(tmp_path / "both")
    listed: dict[str, Any] = json.loads((both / "compare.json").read_text())
    (both / "compare.json").write_text(json.dumps({**listed, "planned": 3}))
    assert not Folder(both, receipt_rows).complete()


def test_a_folder_that_is_not_there_yet_has_no_runs_and_is_then_followed(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "soon", receipt_rows)
    assert folder.runs() == []
    assert not folder.complete()
    write_run(tmp_path / "soon")
    assert [run.key for run in folder.runs()] == [ALONE]
    assert folder.complete()
