"""scripts/vm.sh says what stands in the way of booting, and how to get it out, before anything is started."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = "awk bash cat chrt cut date df dirname env grep head id mktemp nproc rm sed sleep tail taskset tr true uname"

pytestmark = pytest.mark.skipif(shutil.which("taskset") is None, reason="needs util-linux")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A PATH of the ordinary tools and a stand-in for linux.uml: nothing of this can boot or install."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS.split():
        found = shutil.which(tool)
        assert found is not None, tool
        (folder / tool).symlink_to(found)
    for tool in ("linux.uml", "modprobe"):
        script(folder / tool, "exit 1")
    return folder


def script(file: Path, line: str) -> None:
    file.write_text(f"#!/bin/sh\n{line}\n")
    file.chmod(0o755)


def vm(path: Path, *argv: str, **environ: str) -> tuple[int, str]:
    # The script looks in /usr/sbin too, where modprobe is; linux.uml is in /usr/bin.
    done = subprocess.run(
        [ROOT / "scripts" / "vm.sh", *argv], env={"PATH": str(path), **environ}, capture_output=True, text=True
    )
    return done.returncode, done.stderr


def test_without_a_target_it_gives_an_example(path: Path) -> None:
    code, said = vm(path)
    assert code == 3
    assert "make vm TARGET='scenario NAME=smoke SHAPER=netem'" in said


def test_another_system_is_told_to_take_vagrant(path: Path) -> None:
    (path / "uname").unlink()
    script(path / "uname", "echo Darwin")
    code, said = vm(path, "doctor")
    assert code == 3
    assert "needs a Linux to run on, not Darwin" in said
    assert "vagrant up" in said


def test_a_linux_without_the_package_and_without_apt_is_told_where_it_comes_from(path: Path) -> None:
    (path / "linux.uml").unlink()
    code, said = vm(path, "doctor")
    assert code == 3
    assert "package user-mode-linux" in said


def test_an_installation_that_fails_says_what_to_try(path: Path) -> None:
    (path / "linux.uml").unlink()
    script(path / "apt-get", "exit 100")
    code, said = vm(path, "doctor")
    assert code == 3
    wanted = "apt-get install --no-install-recommends user-mode-linux kmod"
    assert wanted in said
    assert ("could not install it" in said) == (os.geteuid() == 0)  # another user cannot even try


def test_too_little_memory_is_said_with_how_to_take_less(path: Path) -> None:
    code, said = vm(path, "doctor", EDGEBED_VM_MB="99999999")
    assert code == 3
    assert "wants 99999999 MB of memory" in said
    assert "EDGEBED_VM_MB=" in said


def test_a_size_that_is_no_number_is_refused(path: Path) -> None:
    code, said = vm(path, "doctor", EDGEBED_VM_MB="2G")
    assert code == 3
    assert "a number of megabytes, not '2G'" in said


def test_a_kernel_that_does_not_boot_shows_its_last_words(path: Path) -> None:
    for tool in ("mkfifo", "setsid", "setpriv"):
        (path / tool).symlink_to(str(shutil.which(tool)))
    script(path / "linux.uml", "echo ptrace failed: Operation not permitted; exit 1")
    script(path / "cc", "true")
    code, said = vm(path, "doctor")
    assert code == 3
    assert "ptrace failed: Operation not permitted" in said
    assert "--cap-add SYS_PTRACE" in said


def test_a_processor_with_amx_needs_a_compiler_and_is_told_which(path: Path) -> None:
    (path / "mkfifo").symlink_to(str(shutil.which("mkfifo")))
    (path / "grep").unlink()
    script(path / "grep", f'case "$*" in *amx_tile*) exit 0;; esac; exec {shutil.which("grep")} "$@"')
    code, said = vm(path, "doctor")
    assert code == 3
    assert "this processor has AMX" in said
    assert "apt-get install --no-install-recommends gcc libc6-dev" in said
    script(path / "cc", "exit 1")
    code, said = vm(path, "doctor")
    assert code == 3
    assert "vm_ptrace.c could not be compiled" in said


@pytest.mark.parametrize(
    ("argv", "runs"),
    [
        (("scenario", "NAME=x y"), ("make", "SLOW_DOWN=4", "scenario", "NAME=x y")),
        (("smoke", "SLOW_DOWN=1"), ("make", "SLOW_DOWN=4", "smoke", "SLOW_DOWN=1")),  # make takes the last
        (("test",), ("make", "test")),
        (("--", "sh", "-c", "a b"), ("sh", "-c", "a b")),
    ],
)
def test_runs_are_slowed_down_there_and_nothing_else_is(
    path: Path, argv: tuple[str, ...], runs: tuple[str, ...]
) -> None:
    for tool in ("mkfifo", "setsid", "setpriv"):
        (path / tool).symlink_to(str(shutil.which(tool)))
    script(path / "cc", "true")
    script(path / "linux.uml", 'for word; do case $word in EDGEBED_VM=*) cat "${word#*=}/command";; esac; done; exit 1')
    _, said = vm(path, *argv)
    assert "".join(f"{word}\0" for word in runs) in said


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_vm_hands_the_whole_target_on() -> None:
    target = 'scenario NAME=smoke ARGS="--set a.b=1 -q"'
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "--dry-run", "vm", f"TARGET={target}"], cwd=ROOT, env=kept, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == f"scripts/vm.sh {target}"
