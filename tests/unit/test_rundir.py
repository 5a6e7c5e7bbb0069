"""Run directories: what a refused run takes back, and what happens where the disk does not play along."""

from pathlib import Path

import pytest

from node_image.records import Record
from orchestrator.errors import UsageError
from orchestrator.rundir import RunDirectory
from tests.plans import star


def test_a_refused_run_takes_back_what_it_wrote_and_leaves_what_was_there(tmp_path: Path) -> None:
    """`--out` may name a folder that has other things in it."""
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    directory = RunDirectory(tmp_path)
    directory.create(star(), "name: x")
    directory.event(0.0, "run_began", {})
    directory.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"


def test_a_refused_run_removes_the_folder_that_it_made(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "runs" / "new")
    directory.create(star(), "name: x")
    directory.remove()
    assert not (tmp_path / "runs" / "new").exists()


def test_a_folder_that_holds_a_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    RunDirectory(tmp_path).create(star(), "name: x")
    with pytest.raises(UsageError, match="holds a run already"):
        RunDirectory(tmp_path).create(star(), "name: y")
    assert (tmp_path / "scenario.yaml").read_text() == "name: x"


def test_every_file_is_closed_although_the_disk_is_full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    directory.create(star(), "name: x")
    monkeypatch.setattr("orchestrator.rundir.FLUSH_EVERY_S", 1e9)
    directory.event(0.0, "run_began", {})
    directory._files["full"] = Path("/dev/full").open("w")  # noqa: SIM115 - a disk without room for another byte
    directory._files["full"].write("x")
    directory.record(Record(0.0, "round", 1.0, {}))
    with pytest.raises(OSError, match="No space left"):
        directory.close()
    assert '"round"' in (tmp_path / "run" / "records.jsonl").read_text()
    assert not directory._files
