"""Checkpoints come back as they were, or the one before them does."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from node_image.checkpoint import Restored, restored, save
from node_image.runtime import Body

ROOT = Path(__file__).parents[2]
DYING = """
import os, sys
from pathlib import Path
import numpy as np
from node_image import checkpoint

step = 0

def watch(event, arguments):
    global step
    if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.scandir") and sys.argv[1] in str(arguments[0]):
        die_at(step := step + 1)

def die_at(step):
    if step == int(sys.argv[2]):
        os._exit(9)

def fsync(fd, really=os.fsync):
    global step
    die_at(step := step + 1)
    really(fd)

os.fsync = fsync
sys.addaudithook(watch)
checkpoint.save(Path(sys.argv[1]), {"round": 4, "model": np.full(1000, 4.0, np.float32)})
print(step)
"""


def newest(directory: Path) -> Path:
    return max(directory.glob("*.safetensors"))


def test_a_state_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    state: Body = {
        "model": np.arange(5, dtype=np.float32),
        "seen": np.array([[1, 2], [3, 4]], np.int64).T,
        "empty": np.empty((0, 3), np.int8),
        "round": 2**53 + 1,
        "loss": 0.1,
        "phase": "Käse",
        "is_open": True,
    }
    save(tmp_path / "state", state)
    found = restored(tmp_path / "state")
    assert found.broken == ()
    assert found.state is not None
    assert set(found.state) == set(state)
    for name, value in state.items():
        got = found.state[name]
        assert type(got) is type(value)
        np.testing.assert_array_equal(np.asarray(got), np.asarray(value))


def test_a_node_without_a_former_life_restores_nothing(tmp_path: Path) -> None:
    assert restored(tmp_path / "never made") == Restored(None, ())


def test_the_newest_state_wins_and_two_generations_are_kept(tmp_path: Path) -> None:
    for number in range(12):
        save(tmp_path, {"round": number})
    assert restored(tmp_path).state == {"round": 11}
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("harm", ["cut off", "bit flipped", "emptied", "made a directory"])
def test_a_broken_newest_checkpoint_falls_back_to_the_one_before(tmp_path: Path, harm: str) -> None:
    save(tmp_path, {"round": 1})
    save(tmp_path, {"round": 2, "model": np.ones(100, np.float32)})
    victim = newest(tmp_path)
    content = victim.read_bytes()
    match harm:
        case "cut off":
            victim.write_bytes(content[:-7])
        case "bit flipped":
            victim.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "emptied":
            victim.write_bytes(b"")
        case _:
            victim.unlink()
            victim.mkdir()
    assert restored(tmp_path) == Restored({"round": 1}, (victim.name,))


def test_a_crash_before_the_rename_leaves_the_older_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, {"round": 1})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", _crash)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, {"round": 2})
    assert restored(tmp_path) == Restored({"round": 1}, ())
    save(tmp_path, {"round": 3})
    assert restored(tmp_path) == Restored({"round": 3}, ())


def test_a_full_disk_leaves_the_older_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, {"round": 1})

    def no_space(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("node_image.checkpoint.os.fsync", no_space)
        with pytest.raises(OSError, match="No space left"):
            save(tmp_path, {"round": 2})
    assert restored(tmp_path) == Restored({"round": 1}, ())


def test_a_well_named_file_that_is_no_checkpoint_is_passed_over(tmp_path: Path) -> None:
    save(tmp_path, {"round": 1})
    junk = b"\xff" * 200
    name = f"00000009-{hashlib.sha256(junk).hexdigest()}.safetensors"
    (tmp_path / name).write_bytes(junk)
    assert restored(tmp_path) == Restored({"round": 1}, (name,))


def test_a_scalar_that_json_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        save(tmp_path / "state", {"loss": float("nan")})
    assert not (tmp_path / "state").exists()


def _crash(self: Path, target: Path) -> Path:
    raise KeyboardInterrupt


def test_a_process_killed_at_any_step_of_a_save_comes_back_with_the_state_before_or_the_new_one(tmp_path: Path) -> None:
    found: list[int] = []
    for step in range(1, 100):
        folder = tmp_path / str(step)
        for round_ in (1, 2, 3):
            save(folder, {"round": round_, "model": np.full(1000, round_, np.float32)})
        died = subprocess.run([sys.executable, "-c", DYING, str(folder), str(step)], cwd=ROOT, capture_output=True)
        found_again = restored(folder)
        assert found_again.state is not None
        assert found_again.broken == ()
        assert isinstance(found_again.state["model"], np.ndarray)
        assert set(found_again.state["model"].tolist()) == {float(str(found_again.state["round"]))}
        found.append(int(str(found_again.state["round"])))
        if died.returncode != 9:
            break
    assert died.returncode == 0, died.stderr
    assert len(found) > 8, "its steps"
    assert found == sorted(found), "up to one step the state before, from it on the new one"
    assert set(found) == {3, 4}
