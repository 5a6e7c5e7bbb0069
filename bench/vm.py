"""The smoke scenario in a Linux that has netem: how long from before it boots to its result. Needs user-mode-linux.

`python -m bench.vm`, as root. The run takes four times its seconds in there (`SLOW_DOWN=4`), as `make vm` has it.
Beside it: the same scenario by this machine's own kernel, its links made by `delay_line`, at its own speed.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure, show

ROOT = Path(__file__).parents[1]
GOAL_S = 180.0
SMOKE = (sys.executable, "-m", "orchestrator", "run", "smoke", "--allow-degraded")


def took_s(argv: tuple[str, ...]) -> float:
    """Seconds until it has ended well."""
    began = time.monotonic()
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} left with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.monotonic() - began


def figures() -> Iterator[Figure]:
    """One figure."""
    with tempfile.TemporaryDirectory() as folder:
        inside = (*SMOKE, "--slow-down", "4", "--shaper", "netem", "--out", f"{folder}/inside")
        vm_s = took_s((str(ROOT / "scripts" / "vm.sh"), "--", *inside))
        here_s = took_s((*SMOKE, "--substrate", "mininet", "--out", f"{folder}/here"))
    yield Figure("the smoke scenario in the VM, booting included", vm_s, "s", GOAL_S, beside=f"here: {here_s:.1f} s")


if __name__ == "__main__":
    if shutil.which("linux.uml") is None:
        sys.stdout.write("vm: left out, no linux.uml (apt-get install user-mode-linux)\n")
    else:
        for each in figures():
            show(each)
