"""One run, seen from outside: what ends it, what it leaves, and that nothing is created for what cannot run."""

import json
from pathlib import Path
from typing import Any

import pytest

from node_image.spec import Chosen, TaskSpec
from orchestrator.errors import MachineCannotError, UsageError
from orchestrator.outcome import RunOptions
from orchestrator.plan import Expectation
from orchestrator.run import execute
from orchestrator.substrates import SUBSTRATES
from orchestrator.terminal import QuietDisplay
from orchestrator.terminal.displays import RunState
from tests.plans import fault, star

SHORT = Chosen("fedavg", {"local_steps": 5, "rounds": 3})


def options(folder: Path, substrate: str = "simulation") -> RunOptions:
    return RunOptions(out=folder / "run", substrate=substrate, keep="always")


def test_a_finished_run_leaves_every_file_that_the_run_directory_promises(tmp_path: Path) -> None:
    outcome = execute(star(2, algorithm=SHORT), "name: test\n", options(tmp_path), QuietDisplay())
    assert outcome.exit_code == 0
    promised = {"scenario.yaml", "plan.json", "environment.json", "receipt.json", "events.jsonl", "result.json"}
    assert promised <= {path.name for path in outcome.directory.iterdir()}
    for node in ("coordinator", "d-1", "d-2"):
        assert (outcome.directory / "nodes" / node / "spec.json").exists()
        assert (outcome.directory / "nodes" / node / "records.jsonl").exists()


def test_what_was_measured_before_a_run_is_on_disk_while_it_lasts(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    class Watching(QuietDisplay):
        def progress(self, t_s: float, stop_after_s: float, state: RunState) -> None:
            seen.append(json.loads((tmp_path / "run" / "receipt.json").read_text()))

    outcome = execute(
        star(2, stop_after_s=5.0, algorithm=Chosen("fedavg", {"local_steps": 5})), "", options(tmp_path), Watching()
    )
    assert seen
    assert all(receipt["pending"] for receipt in seen)
    assert json.loads((outcome.directory / "receipt.json").read_text())["pending"] is False


def test_a_missed_expectation_ends_with_1_and_is_named(tmp_path: Path) -> None:
    wish = Expectation("test_accuracy", 1.0, None, "test_accuracy at least 100 %")
    plan = star(2, algorithm=SHORT, expectations=(wish,))
    outcome = execute(plan, "", options(tmp_path), QuietDisplay())
    assert outcome.exit_code == 1
    assert [finding.verdict for finding in outcome.expectations] == ["missed"]


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path: Path) -> None:
    execute(star(1, algorithm=SHORT), "", options(tmp_path), QuietDisplay())
    kept = (tmp_path / "run" / "result.json").read_bytes()
    with pytest.raises(UsageError, match="holds a run already"):
        execute(star(1, algorithm=SHORT), "", options(tmp_path), QuietDisplay())
    assert (tmp_path / "run" / "result.json").read_bytes() == kept


def test_data_that_are_not_there_are_refused_and_leave_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGEBED_DATA", raising=False)
    with pytest.raises(UsageError, match=r"mnist: no data folder is set.*--data"):
        execute(star(1, task=TaskSpec("mnist")), "", options(tmp_path), QuietDisplay())
    assert not (tmp_path / "run").exists()


def test_a_machine_without_root_runs_in_simulation_and_says_why_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    outcome = execute(star(1, algorithm=SHORT), "", options(tmp_path, "auto"), QuietDisplay())
    (note,) = outcome.notes
    assert note.startswith("running in simulation, because ")
    assert "root" in note
    assert "\n" not in note


def test_asking_for_real_nodes_without_root_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(MachineCannotError, match="need root"):
        execute(star(1), "", options(tmp_path, "mininet"), QuietDisplay())
    assert not (tmp_path / "run").exists()


def test_a_substrate_that_is_unknown_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'moon' is not there yet; known: auto, .*mininet.*simulation"):
        execute(star(1), "", options(tmp_path, "moon"), QuietDisplay())


def test_a_fault_that_the_substrate_cannot_do_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    lame = replace(SUBSTRATES["simulation"], can=frozenset({"shape"}))
    monkeypatch.setitem(SUBSTRATES, "simulation", lame)
    plan = star(1, faults=(fault("crash", 1.0, 2.0, nodes=("d-1",)),))
    with pytest.raises(MachineCannotError, match=r"fault 0 \(crash\) needs kill, restart, which simulation cannot do"):
        execute(plan, "", options(tmp_path), QuietDisplay())
    assert not (tmp_path / "run").exists()


def test_an_algorithm_that_fails_ends_the_run_as_broken_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from node_image.algorithms import fedavg

    async def fail(*_: object) -> None:
        raise RuntimeError("the model is upside down")

    monkeypatch.setattr(fedavg, "coordinator", fail)
    outcome = execute(star(1, algorithm=SHORT), "", options(tmp_path), QuietDisplay())
    assert (outcome.status, outcome.exit_code) == ("broke", 4)
    assert any("the model is upside down" in note for note in outcome.notes)
