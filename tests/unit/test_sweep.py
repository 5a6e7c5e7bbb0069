"""A sweep, with a place to run that is made up: what is run, what is kept, what is said, and what becomes of losses."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from orchestrator import resume
from orchestrator.compare import Comparison, PlannedVariant, folder_name
from orchestrator.errors import MachineCannotError, UsageError
from orchestrator.jobs import Answer, Job
from orchestrator.outcome import INTERRUPTED, Outcome, RunOptions
from orchestrator.plan import with_data_dir
from orchestrator.pool import Said, WorkerLostError
from orchestrator.resume import Resume, differences, held
from orchestrator.substrates import SUBSTRATES
from orchestrator.sweep import slots_here, sweep
from orchestrator.terminal.sweep import JsonSweep, PlainSweep, QuietSweep, SweepDisplay, matrix
from tests.plans import star

Deed = Callable[[Job], Answer | None]  # None: it runs to its end


class MadeUpPlace:
    """Writes run directories without running anything; `deed` may do something else first."""

    alike = True

    def __init__(self, deed: Deed = lambda job: None, slots: int = 1) -> None:
        self.slots = slots
        self.ran: list[str] = []
        self._deed = deed

    async def __aenter__(self) -> "MadeUpPlace":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        pass

    async def run(self, slot: int, job: Job, directory: Path, said: Said) -> Answer:
        self.ran.append(job.label)
        await asyncio.sleep(0)
        directory.mkdir()
        (directory / "plan.json").write_text(job.plan)
        said({"event": "progress", "t_s": 1.0, "stop_after_s": 2.0, "devices_up": 1, "devices": 2})
        if (answer := self._deed(job)) is not None:
            return answer
        outcome = Outcome("complete", 0, directory, {"test_accuracy": json.loads(job.plan)["seed"] / 10})
        (directory / "result.json").write_text(json.dumps(outcome.to_json()))
        return Answer(0)


def variants(*seeds: int, devices: int = 1) -> tuple[PlannedVariant, ...]:
    return tuple(
        PlannedVariant(f"seed={seed}", star(devices, seed=seed), factors=(("seed", str(seed)),)) for seed in seeds
    )


def run(
    folder: Path,
    planned: tuple[PlannedVariant, ...],
    place: MadeUpPlace,
    how: Resume = Resume.NOTHING,
    display: SweepDisplay | None = None,
) -> Comparison:
    options = RunOptions(folder, substrate="simulation")
    return sweep(planned, "name: test\n", options, lambda lock: place, display or QuietSweep(), how)


def listed(folder: Path) -> list[Mapping[str, Any]]:
    runs: list[Mapping[str, Any]] = json.loads((folder / "compare.json").read_text())["runs"]
    return runs


def test_every_run_is_made_once_and_listed_in_the_order_planned(tmp_path: Path) -> None:
    place = MadeUpPlace(slots=3)
    done = run(tmp_path, variants(1, 2, 3, 4), place)
    assert sorted(place.ran) == ["seed=1", "seed=2", "seed=3", "seed=4"]
    assert [each["label"] for each in listed(tmp_path)] == ["seed=1", "seed=2", "seed=3", "seed=4"]
    assert listed(tmp_path)[1]["factors"] == {"seed": "2"}
    assert (done.exit_code, done.planned) == (0, 4)


def test_a_run_that_fails_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    place = MadeUpPlace(lambda job: Answer(4, "pi-1 died") if job.label == "seed=2" else None)
    done = run(tmp_path, variants(1, 2, 3), place)
    assert done.exit_code == 4
    assert [each["error"] for each in listed(tmp_path)] == [None, "pi-1 died", None]


def test_a_run_that_is_lost_is_made_again_once_and_both_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = {"seed=1": 1, "seed=2": 5}

    def lose(job: Job) -> None:
        if losses.get(job.label, 0):
            losses[job.label] -= 1
            raise WorkerLostError("process 7 was ended by SIGKILL")

    place = MadeUpPlace(lose)
    done = run(tmp_path, variants(1, 2, 3), place)
    assert place.ran == ["seed=1", "seed=1", "seed=2", "seed=2", "seed=3"]
    once, twice, never = listed(tmp_path)
    assert (once["exit_code"], once["lost"]) == (0, ["process 7 was ended by SIGKILL"])
    assert (twice["exit_code"], twice["error"]) == (4, "lost 2 times: process 7 was ended by SIGKILL")
    assert (never["lost"], done.exit_code) == ([], 4)
    said = capsys.readouterr().err
    assert "seed=1: process 7 was ended by SIGKILL; the run is made again" in said


def test_what_no_run_can_do_here_stops_the_sweep_unless_machines_differ(tmp_path: Path) -> None:
    place = MadeUpPlace(lambda job: Answer(3, "no root"))
    with pytest.raises(MachineCannotError, match="no root"):
        run(tmp_path / "one", variants(1, 2), place)
    assert place.ran == ["seed=1"]
    other = MadeUpPlace(lambda job: Answer(3, "no root") if job.label == "seed=1" else None)
    other.alike = False
    run(tmp_path / "two", variants(1, 2), other)
    assert [each["exit_code"] for each in listed(tmp_path / "two")] == [3, 0]


def test_interrupted_it_keeps_what_has_ended_and_goes_on_from_there(tmp_path: Path) -> None:
    def interrupt(job: Job) -> None:
        if job.label == "seed=2":
            raise KeyboardInterrupt

    done = run(tmp_path, variants(1, 2, 3), MadeUpPlace(interrupt))
    assert (done.exit_code, len(done.results)) == (INTERRUPTED, 1)
    assert [each["label"] for each in listed(tmp_path)] == ["seed=1"]
    place = MadeUpPlace()
    again = run(tmp_path, variants(1, 2, 3), place, Resume.KEEP)
    assert place.ran == ["seed=2", "seed=3"]
    assert (again.exit_code, len(again.results)) == (0, 3)


def test_what_a_killed_run_left_is_removed_and_run_again(tmp_path: Path) -> None:
    run(tmp_path, variants(1, 2, 3), MadeUpPlace())
    (tmp_path / "seed=1" / "result.json").unlink()  # killed while it ran
    (tmp_path / "seed=2" / "result.json").write_text('{"status": "comp')  # while it wrote
    place = MadeUpPlace()
    run(tmp_path, variants(1, 2, 3), place, Resume.KEEP)
    assert place.ran == ["seed=1", "seed=2"]


def test_more_seeds_are_added_to_a_sweep_that_has_ended(tmp_path: Path) -> None:
    run(tmp_path, variants(1, 2), MadeUpPlace())
    place = MadeUpPlace()
    assert len(run(tmp_path, variants(1, 2, 3), place, Resume.KEEP).results) == 3
    assert place.ran == ["seed=3"]


def test_data_that_lie_elsewhere_now_do_not_change_a_plan(tmp_path: Path) -> None:
    elsewhere = tuple(replace(each, plan=with_data_dir(each.plan, "/there")) for each in variants(1, 2))
    run(tmp_path, elsewhere, MadeUpPlace())
    place = MadeUpPlace()
    assert len(run(tmp_path, variants(1, 2), place, Resume.KEEP).results) == 2
    assert place.ran == []


def test_a_changed_plan_is_refused_with_what_changed_and_nothing_is_lost(tmp_path: Path) -> None:
    run(tmp_path, variants(1, 2), MadeUpPlace())
    longer = tuple(replace(each, plan=replace(each.plan, stop_after_s=99.0)) for each in variants(1, 2))
    place = MadeUpPlace()
    with pytest.raises(UsageError) as refused:
        run(tmp_path, longer, place, Resume.KEEP)
    was = variants(1)[0].plan.stop_after_s
    assert f"- seed=1: stop_after_s was {was} and is 99.0" in str(refused.value)
    assert "2 of the runs" in str(refused.value)
    assert "--redo" in str(refused.value)
    assert place.ran == []
    assert (tmp_path / "seed=1" / "result.json").exists()
    run(tmp_path, longer, place, Resume.REDO)
    assert place.ran == ["seed=1", "seed=2"]
    assert json.loads((tmp_path / "seed=1" / "plan.json").read_text())["stop_after_s"] == 99.0


def test_a_folder_that_holds_runs_is_not_taken_without_being_told_to_go_on(tmp_path: Path) -> None:
    run(tmp_path, variants(1), MadeUpPlace())
    with pytest.raises(UsageError, match=r"holds 1 of these 2 runs already.*--resume"):
        run(tmp_path, variants(1, 2), MadeUpPlace())


def test_two_sweeps_do_not_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "LOCK_WITHIN_S", 0.0)
    with held(tmp_path), pytest.raises(UsageError, match="another sweep is running there"):
        run(tmp_path, variants(1), MadeUpPlace())


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    alike = (PlannedVariant("x=a,b", star()), PlannedVariant("x=a;b", star()))
    with pytest.raises(UsageError, match=r"'x=a,b' and 'x=a;b' would share the folder x=a-b"):
        run(tmp_path, alike, MadeUpPlace())


def test_the_longest_label_makes_a_folder_that_a_file_system_takes() -> None:
    names = {folder_name("x" * 400), folder_name("x" * 401)}
    assert len(names) == 2
    assert max(map(len, names)) < 200


def test_differences_are_told_by_their_path() -> None:
    before = {"a": 1, "nodes": [{"name": "x"}, {"name": "y"}], "old": 1, "list": [1]}
    now = {"a": 1.0, "nodes": [{"name": "x"}, {"name": "z"}], "new": 1, "list": [1, 2]}
    assert list(differences(before, now)) == [
        "a was 1 and is 1.0",
        'nodes.1.name was "y" and is "z"',
        "old is gone",
        "list has 2 and not 1",
        "new is new",
    ]


def test_simulated_runs_go_one_to_a_core_and_real_ones_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated = RunOptions(tmp_path, substrate="simulation")
    assert slots_here(variants(1, 2, 3), simulated, None, 2) == 2
    assert slots_here(variants(1, 2, 3), simulated, None, 8) == 3
    assert slots_here(variants(1, 2, 3), simulated, 1, 8) == 1
    monkeypatch.setitem(SUBSTRATES, "mininet", replace(SUBSTRATES["mininet"], missing=list))
    real = RunOptions(tmp_path, substrate="mininet")
    assert slots_here(variants(1, 2), real, None, 8) == 1
    with pytest.raises(UsageError, match=r"--jobs 2: several runs on mininet at once would disturb"):
        slots_here(variants(1, 2), real, 2, 8)


def test_a_log_has_a_line_for_each_run_and_programs_an_object(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fails = MadeUpPlace(lambda job: Answer(4, "pi-1 died") if job.label == "seed=2" else None)
    run(tmp_path / "plain", variants(1, 2), fails, display=PlainSweep())
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "2 runs: seed (2)"
    assert said[1].startswith("run 1 of 2: seed=1: met, ")
    assert said[2].startswith("run 2 of 2: seed=2: broke: pi-1 died, ")
    run(tmp_path / "json", variants(1), MadeUpPlace(), display=JsonSweep())
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["sweep", "progress", "run"]
    assert (events[1]["label"], events[2]["number"], events[2]["exit_code"]) == ("seed=1", 1, 0)


def test_the_matrix_is_told_by_its_factors() -> None:
    runs = [(f"{a}{s}", (("learning.rule.name", a), ("seed", s))) for a in ("lls", "backprop") for s in "123"]
    assert matrix(runs) == "6 runs: rule (2) × seed (3)"
    assert matrix(runs[:5]) == "5 runs"
