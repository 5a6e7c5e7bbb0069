"""What a user types: `make` explains itself, sets up first, and tells the exit code of what it ran."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = (ROOT / "Makefile").read_text(encoding="utf-8")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A copy of the Makefile whose set-up and edgebed are stand-ins that tell what they were asked."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "edgebed", tmp_path / "scripts")
    stand_in(tmp_path / "scripts" / "setup.sh", "echo set up")
    stand_in(tmp_path / ".venv" / "bin" / "edgebed", 'echo edgebed "$@"; exit "${WITH:-0}"')
    stand_in(tmp_path / ".venv" / "bin" / "python", 'echo python "$@"')
    return tmp_path


def stand_in(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def call(place: Path, *argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
    # Make tells its children of itself through these; a make that runs the tests must not reach into them.
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS", "NAME"))}
    return subprocess.run(argv, cwd=place, env=kept | environ, capture_output=True, text=True)


def test_make_alone_lists_every_target(place: Path) -> None:
    done = call(place, "make")
    assert done.returncode == 0
    listed = set(re.findall(r"^  ([\w-]+)", done.stdout, flags=re.MULTILINE))
    declared = set(re.findall(r"^([\w-]+):.*?## ", TARGETS, flags=re.MULTILINE))
    wanted = "setup doctor scenario plan simulate smoke test check bench calibrate report clean"
    assert set(wanted.split()) <= listed
    assert listed == declared


def test_a_scenario_is_set_up_and_run_with_what_was_given(place: Path) -> None:
    done = call(place, "make", "scenario", "NAME=smoke", "SEED=3", "SUBSTRATE=simulation", "ARGS=--set a.b=1 -q")
    assert done.stdout.splitlines() == [
        "set up",
        "edgebed run smoke --seed 3 --substrate simulation --set a.b=1 -q",
    ]


def test_simulate_means_the_simulation(place: Path) -> None:
    assert "edgebed run dropout30 --substrate simulation" in call(place, "make", "simulate").stdout


def test_calibrating_takes_the_scenario_made_for_it_unless_another_is_named(place: Path) -> None:
    assert "edgebed calibrate parity_digits" in call(place, "make", "calibrate").stdout
    assert "edgebed calibrate smoke" in call(place, "make", "calibrate", "NAME=smoke").stdout


def test_the_image_is_made_on_the_usual_base_unless_another_is_named(place: Path) -> None:
    assert "edgebed image\n" in call(place, "make", "image").stdout
    assert "edgebed image --base debootstrap" in call(place, "make", "image", "BASE=debootstrap").stdout


@pytest.mark.parametrize("code", [1, 3, 6])
def test_make_shows_the_exit_code_of_what_it_ran(place: Path, code: int) -> None:
    """GNU make itself leaves with 2 whatever a recipe left with; the code is in its last line."""
    done = call(place, "make", "scenario", WITH=str(code))
    assert f"Error {code}" in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize("code", [0, 1, 3, 6, 130])
def test_the_script_beside_it_leaves_with_the_code_itself(place: Path, code: int) -> None:
    done = call(place, "scripts/edgebed", "run", "smoke", WITH=str(code))
    assert done.returncode == code
    assert done.stdout.splitlines() == ["set up", "edgebed run smoke"]


def test_a_failed_set_up_runs_nothing(place: Path) -> None:
    stand_in(place / "scripts" / "setup.sh", "exit 3")
    done = call(place, "scripts/edgebed", "run", "smoke")
    assert done.returncode == 3
    assert done.stdout == ""
    assert "edgebed run" not in call(place, "make", "scenario").stdout


def test_the_lock_pins_every_requirement_to_one_version() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = {normal(line.split("==")[0]) for line in lock.splitlines() if "==" in line}
    asked = {
        normal(re.split(r"[=><]", line)[0])
        for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    }
    assert asked <= pinned
    assert all(line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lock.splitlines())


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
