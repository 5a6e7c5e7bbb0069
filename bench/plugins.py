"""A plug-in FedAvg beside the built-in one: the same file, loaded with --plugin; at most 5 % dearer.

`python -m bench.plugins`. Both run the same scenario in simulation, in turns, in this process; what is compared is the
processor time of a whole run, which other work on the machine hardly touches. Both must come to the same accuracy.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

from bench.figures import Figure, show
from node_image import plugins
from node_image.spec import Chosen
from orchestrator.outcome import RunOptions
from orchestrator.plan import Plan
from orchestrator.run import execute
from orchestrator.terminal import QuietDisplay
from tests.plans import star

ROOT = Path(__file__).parents[1]
ROUNDS, DEVICES = 60, 5
TURNS = 9


def run(plan: Plan, used: tuple[plugins.Plugin, ...]) -> tuple[float, float]:
    """Processor seconds of a run, and the accuracy it came to."""
    with tempfile.TemporaryDirectory() as folder:
        options = RunOptions(out=Path(folder) / "run", substrate="simulation", plugins=used)
        began_s = time.process_time()
        outcome = execute(plan, "", options, QuietDisplay())
        return time.process_time() - began_s, outcome.summary["test_accuracy"]


def with_algorithm(plan: Plan, name: str) -> Plan:
    """The same plan with another algorithm of the same parameters."""
    nodes = tuple(
        replace(node, spec=replace(node.spec, algorithm=Chosen(name, node.spec.algorithm.parameters)))
        for node in plan.nodes
    )
    return replace(plan, nodes=nodes)


def figures() -> Iterator[Figure]:
    """One figure: how much dearer, the median of pairs."""
    built_in = star(DEVICES, algorithm=Chosen("fedavg", {"rounds": ROUNDS, "local_epochs": 1}), stop_after_s=600.0)
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / "own_fedavg.py"
        own.write_bytes((ROOT / "node_image" / "algorithms" / "fedavg.py").read_bytes())
        with plugins.loaded([own]) as used:
            plugged = with_algorithm(built_in, "own_fedavg")
            run(built_in, ()), run(plugged, used)  # what is loaded on first use
            pairs = [(run(built_in, ()), run(plugged, used)) for _ in range(TURNS)]
    assert len({accuracy for pair in pairs for _, accuracy in pair}) == 1, "the same algorithm"
    dearer_percent = 100 * (median(mine / theirs for (theirs, _), (mine, _) in pairs) - 1)
    beside = f"built-in: {median(theirs for (theirs, _), _ in pairs):.2f} s of processor time for {ROUNDS} rounds"
    yield Figure("a plug-in FedAvg: dearer than the built-in one by", dearer_percent, "%", 5.0, beside=beside)


if __name__ == "__main__":
    for each in figures():
        show(each)
