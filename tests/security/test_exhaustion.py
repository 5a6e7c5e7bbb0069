"""When something runs out, a run ends with a documented exit code and names what it was; what was safe stays safe.

Exit codes as `edgebed --help` has them: 3 this machine cannot (nothing was begun), 4 the run broke, 130 interrupted.
"""

import errno
import json
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from node_image import checkpoint
from orchestrator.exhausted import in_words
from tests.security.runs import ended, start, write

pytestmark = pytest.mark.timeout(180)
Limit = tuple[int, int]  # which resource, and how much of it


def limited(limit: Limit) -> None:
    """Bound this process."""
    resource.setrlimit(limit[0], (limit[1], limit[1]))


def on_limits(tmp_path: Path, limit: Limit) -> tuple[int, str]:
    """A run in simulation in a process that has so little."""
    run = start(write(tmp_path), tmp_path / "run", "simulation", "--quiet", limit=lambda: limited(limit))
    return ended(run)


def test_too_few_file_descriptors_break_a_run_with_their_name_and_a_remedy(tmp_path: Path) -> None:
    code, said = on_limits(tmp_path, (resource.RLIMIT_NOFILE, 8))
    assert code == 4, said
    assert "too many open files" in said
    assert "ulimit -n" in said
    assert "Traceback" not in said
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "broke"


def test_too_little_memory_breaks_a_run_with_its_name(tmp_path: Path) -> None:
    code, said = on_limits(tmp_path, (resource.RLIMIT_AS, 400 << 20))
    assert code == 4, said
    assert "not enough memory" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full (ENOSPC): free some space"),
        (OSError(errno.EACCES, "Permission denied", "/x"), "permission denied at /x (EACCES): choose a folder"),
        (MemoryError(), "not enough memory: take fewer devices"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "no more processes or threads (EAGAIN)"),
    ],
)
def test_what_has_run_out_is_told_in_words(error: Exception, words: str) -> None:
    assert (in_words(error) or "").startswith(words)


@pytest.mark.parametrize(
    "error", [ValueError("x"), OSError(errno.ECONNREFUSED, "refused"), ImportError("no such module")]
)
def test_other_errors_are_not_taken_for_a_lack(error: Exception) -> None:
    assert in_words(error) is None


@pytest.fixture
def small(tmp_path: Path) -> Iterator["Small"]:
    """A folder to mount small file systems at."""
    small = Small(tmp_path / "small")
    yield small
    small.close()


class Small:
    """A file system of a given size, in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self._is_mounted = False

    def mount(self, options: str) -> Path:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.path)], check=True)
        self._is_mounted = True
        return self.path

    def close(self) -> None:
        if self._is_mounted:
            subprocess.run(["umount", str(self.path)], check=True)


@pytest.mark.root
@pytest.mark.parametrize(
    ("options", "words"), [("size=8k", "the disk is full"), ("ro", "the file system is read-only")]
)
def test_a_folder_that_takes_no_run_is_refused_before_it_begins_and_left_as_it_was(
    tmp_path: Path, small: Small, options: str, words: str
) -> None:
    folder = small.mount(options)
    code, said = ended(start(write(tmp_path), folder / "run", "simulation", "--quiet"))
    assert code == 3, said
    assert words in said
    assert "--out" in said
    assert "Traceback" not in said
    assert not list(folder.iterdir())


@pytest.mark.root
@pytest.mark.timeout(120)
@pytest.mark.parametrize("substrate", ["simulation", "mininet"])
def test_a_disk_that_fills_during_a_run_breaks_it_and_says_so(tmp_path: Path, small: Small, substrate: str) -> None:
    folder = small.mount("size=80k")
    code, said = ended(start(write(tmp_path), folder / "run", substrate, "--quiet"))
    assert code == 4, said
    assert "No space left on device" in said or "the disk is full" in said
    assert "Traceback" not in said.split("last words")[0]


@pytest.mark.root
def test_a_full_disk_leaves_the_last_checkpoint_as_it_was(small: Small) -> None:
    folder = small.mount("size=100k")
    kept = 0
    with pytest.raises(OSError, match="No space left"):
        for number in range(1, 100):
            checkpoint.save(folder / "state", {"round": number, "model": np.zeros(1000 * number, np.float32)})
            kept = number
    assert kept > 2
    state = checkpoint.restored(folder / "state").state
    assert state is not None
    assert state["round"] == kept


@pytest.mark.root
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("number", "phase"),
    [(signal.SIGINT, "network"), (signal.SIGTERM, "deploy"), (signal.SIGHUP, "probe")],
)
def test_a_signal_in_any_phase_ends_a_run_as_interrupted(tmp_path: Path, number: signal.Signals, phase: str) -> None:
    """In the midst of a fault: tests/root/test_no_leaks.py."""
    run = start(write(tmp_path), tmp_path / "run", "mininet", "--json")
    assert run.stdout is not None
    for line in run.stdout:
        if f'"name": "{phase}"' in line or f'"name":"{phase}"' in line:
            break
    run.send_signal(number)
    code, said = ended(run)
    assert code == 130, said
    assert "Traceback" not in said
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "interrupted"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("substrate", ["simulation", pytest.param("mininet", marks=pytest.mark.root)])
def test_a_run_in_a_scripts_background_where_ctrl_c_is_ignored_still_ends_orderly_when_told(
    substrate: str, tmp_path: Path
) -> None:
    def in_background() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    run = start(write(tmp_path, seconds=3000), tmp_path / "run", substrate, "--json", "--no-probe", limit=in_background)
    assert run.stdout is not None
    for line in run.stdout:
        if "learn" in line:
            break
    run.send_signal(signal.SIGTERM)
    code, said = ended(run, 60.0)
    assert code == 130, said
    assert "Traceback" not in said
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "interrupted"
