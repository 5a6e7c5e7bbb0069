"""Thirty runs in one process leave it as the first did: descriptors, threads, children, memory.

Namespaces, interfaces, control groups and processes of the machine: the fixture around every test marked `root`.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.security.watch import MIB

ROOT = Path(__file__).parents[2]
CYCLES = {"simulation": 30, "mininet": 3}
GROWTH_A_CYCLE = MIB  # noise of the allocator; a leaked model or log of a run is more


@pytest.mark.timeout(300)
@pytest.mark.parametrize("substrate", ["simulation", pytest.param("mininet", marks=pytest.mark.root)])
def test_run_after_run_leaves_the_process_as_it_was(substrate: str, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "tests.security.cycles", substrate, str(CYCLES[substrate]), str(tmp_path)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    before, after = json.loads(done.stdout)
    assert after.pop("resident_bytes") - before.pop("resident_bytes") < GROWTH_A_CYCLE * CYCLES[substrate]
    assert after == before
