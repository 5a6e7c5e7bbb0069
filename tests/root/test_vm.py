"""`make vm`: a real Linux with netem, booted as a process. One boot runs what needs netem; others try how it ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VM = str(ROOT / "scripts" / "vm.sh")
MISSING = [program for program in ("linux.uml", "modprobe") if shutil.which(program, path="/usr/bin:/usr/sbin") is None]

pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(400),  # the first test waits for the whole session of the others
    pytest.mark.skipif(bool(MISSING), reason=f"no {' and no '.join(MISSING)}: apt-get install user-mode-linux kmod"),
]

INSIDE = """
echo '-cpu -memory -pids' >/sys/fs/cgroup/cgroup.subtree_control  # v2 alone, which hands on nothing by itself
.venv/bin/python -m pytest tests/vm -m netem -p no:cacheprovider --color=no >{out}/tests.txt 2>&1
echo $? >{out}/tests
.venv/bin/edgebed run smoke --slow-down 4 --shaper netem --out {out}/run 2>&1
echo $? >{out}/smoke
cat /sys/fs/cgroup/cgroup.subtree_control >{out}/handed_on
"""


@dataclass(frozen=True)
class Session:
    """What came of one boot."""

    out: Path
    returncode: int
    said: str


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    out = tmp_path_factory.mktemp("vm")
    done = subprocess.run([VM, "--", "bash", "-c", INSIDE.format(out=out)], capture_output=True, text=True)
    return Session(out, done.returncode, done.stdout + done.stderr)


@pytest.fixture(autouse=True)
def _no_machine_left() -> Iterator[None]:
    before = machines()
    yield
    assert machines() == before


def machines() -> set[str]:
    """Running kernels, by process; and what they exchange with us."""
    found = {str(path) for path in Path("/tmp").glob("edgebed-vm-*")}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"linux.uml" in (folder / "cmdline").read_bytes().split(b"\0")[0]:
                found.add(folder.name)
        except OSError:
            continue
    return found


def test_the_netem_shaper_keeps_its_tolerances_in_there(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    shown = (session.out / "tests.txt").read_text()
    with capsys.disabled():  # what ran inside is seen outside
        sys.stdout.write(f"\n{shown}")
    assert (session.out / "tests").read_text().strip() == "0", shown
    assert "skipped" not in shown


def test_the_smoke_scenario_runs_on_mininets_own_links_and_is_as_true_as_anywhere(session: Session) -> None:
    assert (session.out / "smoke").read_text().strip() == "0", session.said
    assert json.loads((session.out / "run" / "result.json").read_text())["status"] == "complete", session.said
    environment = json.loads((session.out / "run" / "environment.json").read_text())
    assert environment["shaper"] == "netem"
    checks = json.loads((session.out / "run" / "receipt.json").read_text())["checks"]
    exact = [check for check in checks if check["what"] in ("rtt_s", "loss")]
    assert len(exact) == 4 + 8  # there and back of four devices; each direction for itself
    assert [check for check in exact if check["ok"] is False] == []
    rates = [check["found"] / check["asked"] for check in checks if check["what"] == "rate_bps"]
    assert len(rates) == 8
    assert all(0.7 < ratio < 1.1 for ratio in rates), rates  # eight at once, on one slow processor


def test_controllers_that_pure_v2_does_not_hand_on_are_enabled_by_the_run(session: Session) -> None:
    assert (session.out / "handed_on").read_text().split() == ["cpu", "memory", "pids"]


def test_a_user_sees_what_runs_inside(session: Session) -> None:
    assert session.returncode == 0
    assert "accuracy" in session.said
    assert "\x1b[" not in session.said  # not drawn for a person where nobody watches


def test_output_and_exit_code_pass_through() -> None:
    script = """echo one; echo two >&2; printf '%s|' "$@"; exit 7"""
    done = subprocess.run([VM, "--", "sh", "-c", script, "sh", "a b", "$HOME;"], capture_output=True)
    assert done.returncode == 7
    assert done.stdout == b"one\ntwo\na b|$HOME;|"


def interrupted(script: str, times: int) -> tuple[str, int]:
    """Start it, wait for its first line, and send Ctrl-C to all of it, as a terminal does, each after the answer."""
    argv = [VM, "--", "bash", "-c", script]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"ready\n"
        for count in range(times):
            os.killpg(process.pid, signal.SIGINT)
            if count == 0:
                assert b"interrupted" in process.stderr.readline()
        return process.stdout.read().decode(), process.wait()


def test_ctrl_c_reaches_what_runs_inside_and_lets_it_end_in_order() -> None:
    said, code = interrupted("trap 'echo in order; exit 9' INT; echo ready; while :; do sleep 0.1; done", 1)
    assert said == "in order\n"
    assert code == 9


def test_ctrl_c_twice_ends_even_what_does_not_listen() -> None:
    _, code = interrupted("trap '' INT; echo ready; while :; do :; done", 2)
    assert code == 130


def test_it_dies_with_whoever_started_it() -> None:
    argv = [VM, "--", "bash", "-c", "echo ready; while :; do :; done"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.kill()
        process.wait()
        assert process.stdout.read() == b""  # ends when the machine, which holds the other end, has ended
    for folder in Path("/tmp").glob("edgebed-vm-*"):
        if not (folder / "code").exists():
            shutil.rmtree(folder)  # a killed script cannot tidy up its file exchange
