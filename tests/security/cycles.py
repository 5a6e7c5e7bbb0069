"""Run after run in one process: `python -m tests.security.cycles SUBSTRATE COUNT FOLDER`.

A process of its own, so that nothing that other tests are still letting go of is mistaken for ours. Prints one JSON
object: the state after the first run, which loads libraries and fills caches, and after all.
"""

import gc
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from orchestrator.commands.plan import plan_all
from orchestrator.outcome import RunOptions
from orchestrator.run import execute
from orchestrator.terminal import display_for
from tests.security.runs import write
from tests.security.watch import resident_bytes


def state() -> dict[str, Any]:
    """What a run could leave in the process that ran it. Zombies count as children."""
    gc.collect()
    targets = []
    for path in Path("/proc/self/fd").iterdir():
        try:
            targets.append(str(path.readlink()).split("[")[0])  # sockets and pipes have numbers of their own
        except OSError:
            continue  # the descriptor of the folder itself
    children = [each.read_text() for each in Path(f"/proc/{os.getpid()}/task").glob("*/children")]
    return {
        "descriptors": sorted(targets),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "children": sorted(" ".join(children).split()),
        "resident_bytes": resident_bytes(),
    }


def main() -> None:
    """Run it so many times."""
    substrate, count, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    scenario = write(folder, seconds=2, rounds=2)
    plan = plan_all(scenario, ())[0].plan
    states = []
    for number in range(count + 1):
        out = folder / f"run-{number}"
        options = RunOptions(out=out, substrate=substrate, probe=False, allow_degraded=True)
        outcome = execute(plan, scenario.read_text(), options, display_for(quiet=True))
        assert outcome.status in ("complete", "degraded"), outcome.notes
        if number in (0, count):
            states.append(state())
    print(json.dumps(states))  # noqa: T201 - this is its result


if __name__ == "__main__":
    main()
