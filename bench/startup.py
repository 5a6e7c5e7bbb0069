"""Starting: `edgebed --help`, and the plan of a thousand devices. `python -m bench.startup`.

Beside it: an interpreter that imports nothing, and `import torch`, which neither of them does.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.figures import Figure, show

THOUSAND = """name: thousand
about: a plan of a thousand devices
stop_after: 60 s
devices:
  - {group: pi, count: 1000, profile: raspberry_pi_4, link: wifi_2g4}
topology: {kind: star}
learning:
  task: {name: digits, partition: {kind: iid}}
  model: {name: mlp}
  algorithm: {name: fedavg}
  rule: {name: backprop, learning_rate: 0.1, batch_size: 32}
faults:
  - {kind: dropout, by: crash, at: 20 s, for: 20 s, share: 30 %}
"""


def seconds(*arguments: str, times: int = 7) -> float:
    """Median wall time of a command."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        took.append(time.perf_counter() - began)
    return median(took)


def figures() -> Iterator[Figure]:
    """Two figures."""
    nothing = 1e3 * seconds("-c", "pass")
    torch = 1e3 * seconds("-c", "import torch", times=3)
    beside = f"python: {nothing:.0f} ms, import torch: {torch:.0f} ms"
    yield Figure("edgebed --help", 1e3 * seconds("-m", "orchestrator", "--help"), "ms", 200.0, beside=beside)
    with tempfile.TemporaryDirectory() as folder:
        scenario = Path(folder) / "thousand.yaml"
        scenario.write_text(THOUSAND)
        found = seconds("-m", "orchestrator", "plan", str(scenario), "--json", times=3)
        yield Figure("plan of 1,000 devices, whole command", found, "s", 2.0)


if __name__ == "__main__":
    for each in figures():
        show(each)
