"""A thousand scenario files that nobody should trust: each is a plan or a list of its mistakes, and nothing else.

`make soak` reads a hundred thousand. Each may be busy for a second and make the process no larger than 200 MB; planning
opens no file for writing, no socket and no process.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.commands.plan import plan_all
from orchestrator.errors import ScenarioError
from tests.security.runs import SCENARIO
from tests.security.watch import MIB, busy_at_most

ROOT = Path(__file__).parents[2]
LARGEST = 200 * MIB
FILES = 1000


def judged(files: int, seed: int) -> dict[str, Any]:
    """What became of so many files, read one after another in a process of their own."""
    argv = [sys.executable, "-m", "tests.security.scenarios", str(files), str(seed)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, 2])  # two halves: tests run two at a time
def test_a_thousand_files_are_plans_or_lists_of_mistakes(seed: int) -> None:
    found = judged(FILES // 2, seed)
    assert found["broke"] == 0, json.dumps(found["first"], indent=1)
    assert set(found["ends"]) == {"refused", "valid"}
    assert found["ends"]["refused"] + found["ends"]["valid"] == FILES // 2
    assert found["ends"]["valid"] > 5, "some files are right in spite of all: the mutations are not all crude"
    assert found["largest_bytes"] < LARGEST


GOOD = SCENARIO.format(seconds=4, rounds=2)
# What the files above have found, and once ended in a traceback or took long.
ONCE_BROKE = {
    "an algorithm compared under a name that is no text": (
        GOOD + "compare: {algorithm: [fedavg, {name: {kind: star}}]}\n",
        "short.yaml:14:31: compare.algorithm.1: with algorithm",
    ),
    "a preset with a name longer than a file name may be": (
        GOOD.replace("wifi_2g4", "y" * 5000),
        "short.yaml:5:58: devices.0.link: unknown link preset",
    ),
    "weights in a file with a name longer than a file name may be": (
        GOOD.replace("{name: mlp}", "{name: mlp}\n  initial: " + "y" * 5000),
        "short.yaml:10:12: learning.initial: cannot be read (File name too long)",
    ),
    "ten thousand unknown keys": (
        GOOD + "".join(f"key_{number}: 1\n" for number in range(9000)),
        "short.yaml:14:1: key_0: unknown key",
    ),
    "devices that move for ever": (
        GOOD.replace("stop_after: 4 s", "stop_after: 9999999 h").replace(
            "{kind: star}", "{kind: random_geometric, area: 100 m, radio_range: 40 m, speed: 2 m/s}"
        ),
        "topology.speed: 2 devices on the move for",
    ),
}


@pytest.mark.parametrize("what", ONCE_BROKE)
def test_what_once_broke_is_a_mistake_with_its_place(what: str, tmp_path: Path) -> None:
    text, problem = ONCE_BROKE[what]
    path = tmp_path / "short.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as refused, busy_at_most(5.0):
        plan_all(path, ())
    assert problem in str(refused.value)[:20_000]
