"""What a fault sets wrong in a node: its clock, its disk, the limits of its process."""

import errno
import io
import resource
import subprocess
import sys
from typing import Any

import pytest

from node_image.disk import Disk
from node_image.own_clock import OwnClock, Wrong
from node_image.process_limits import ProcessLimits

# --- its clock ---


def test_a_clock_that_nobody_has_set_is_the_runs() -> None:
    clock = OwnClock()
    assert clock.is_true
    assert [clock.reads(t) for t in (0.0, 1.5, 100.0)] == [0.0, 1.5, 100.0]
    assert clock.lasts(3.0) == 3.0


def test_a_jump_and_a_drift_add_up_and_each_is_taken_back_alone() -> None:
    clock = OwnClock()
    clock.set_wrong(0, Wrong(skew_s=0.2, drift=0.0, since_s=10.0))
    clock.set_wrong(1, Wrong(skew_s=0.0, drift=0.001, since_s=20.0))
    assert clock.reads(30.0) == pytest.approx(30.0 + 0.2 + 0.01)
    clock.set_wrong(0, None)
    assert clock.reads(30.0) == pytest.approx(30.01)
    clock.set_wrong(1, None)
    assert clock.is_true


def test_who_sleeps_by_a_clock_that_is_too_fast_wakes_too_early() -> None:
    clock = OwnClock()
    clock.set_wrong(0, Wrong(skew_s=5.0, drift=0.25, since_s=0.0))
    assert clock.lasts(10.0) == pytest.approx(8.0)


def test_no_wait_by_a_wrong_clock_is_so_short_that_time_stands_still() -> None:
    clock = OwnClock()
    clock.set_wrong(0, Wrong(skew_s=-1.0, drift=0.0, since_s=0.0))
    assert 4.24 + 1e-17 == 4.24
    assert 4.24 + clock.lasts(1e-17) > 4.24
    assert clock.lasts(0.0) == 0.0


def test_a_clock_that_is_behind_does_not_go_back_beyond_the_runs_beginning() -> None:
    clock = OwnClock()
    clock.set_wrong(0, Wrong(skew_s=-60.0, drift=0.0, since_s=1.0))
    assert clock.reads(2.0) == 0.0


# --- its disk ---


def told() -> tuple[Disk, list[dict[str, Any]]]:
    records: list[dict[str, Any]] = []
    return Disk(lambda metric, value, **labels: records.append({"metric": metric, "value": value, **labels})), records


def test_a_slow_disk_writes_all_in_pieces_and_a_sound_one_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("node_image.disk.time.sleep", slept.append)
    disk, _ = told()
    file = io.BytesIO()
    disk.put(file, b"abc")
    assert slept == []
    disk.bytes_per_s = 100.0
    disk.put(file, bytes(50), slow_down=2.0)
    assert file.getvalue() == b"abc" + bytes(50)
    assert sum(slept) == pytest.approx(2.0 * 50 / 100)
    assert len(slept) == 10


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "full"), "ENOSPC"),
        (OSError(errno.EFBIG, "too large"), "EFBIG"),
        (RuntimeError("can't start new thread"), "EAGAIN"),
    ],
)
def test_a_checkpoint_that_could_not_be_written_is_recorded_with_its_reason(error: Exception, reason: str) -> None:
    disk, records = told()
    disk.failed(error)
    assert records == [{"metric": "failed_saves", "value": 1, "reason": reason}]
    assert (disk.told()["failed"], disk.told()["last_error"]) == (1, str(error))


# --- its process ---

OPEN_AND_WRITE = """
import sys
for line in sys.stdin:
    seen = []
    for attempt in (lambda: open("/dev/null"), lambda: open(sys.argv[1], "wb", buffering=0).write(b"ab")):
        try:
            attempt()
            seen.append("fine")
        except OSError as error:
            seen.append(str(error.errno))
    print(" ".join(seen), flush=True)
"""


def test_the_kernel_refuses_what_is_beyond_a_limit_and_grants_it_again_when_that_is_lifted(tmp_path: Any) -> None:
    argv = [sys.executable, "-c", OPEN_AND_WRITE, str(tmp_path / "file")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def seen() -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        assert seen() == "fine fine"
        limits = ProcessLimits()
        assert "max file size read back as 1" in limits.tighten([process.pid], "disk", 1)
        assert "max open files read back as" in limits.tighten([process.pid], "descriptors", 0)
        assert seen() == f"{errno.EMFILE} {errno.EMFILE}"
        limits.lift("descriptors")
        assert seen() == "fine fine", "one byte is written, and the file ends"
        assert (tmp_path / "file").read_bytes() == b"a"
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        limits.lift("disk")
        assert resource.prlimit(process.pid, resource.RLIMIT_FSIZE) == before
        assert limits.lift("disk") == "not limited in this life"
        process.stdin.close()


def test_a_process_that_has_gone_is_no_mistake() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert ProcessLimits().tighten([process.pid], "descriptors", 64) == "not running, limited when it starts again"
