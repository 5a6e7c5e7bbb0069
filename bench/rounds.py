"""A synchronous round in real processes: FedAvg on digits, 10 devices, links without a shape. Needs root.

`python -m bench.rounds`. Beside it the bare arithmetic: the same local training of all ten, one after another, in one
process without any network. Flower's deployment runtime took 9 to 66 s a round for the same work when it was measured
for this project (two nodes and ten nodes on two cores, flwr 1.41); it is not part of this run.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np

from bench.figures import Figure, show
from node_image import learner
from node_image.spec import Chosen
from orchestrator.links.shape import LinkShape
from orchestrator.outcome import RunOptions
from orchestrator.plan import Plan
from orchestrator.run import execute
from orchestrator.summary import read_records
from orchestrator.terminal import QuietDisplay
from tests.plans import SERVER, star

DEVICES = 10
ROUNDS = 100


def in_processes(plan: Plan) -> float:
    """Median milliseconds of a round."""
    with tempfile.TemporaryDirectory() as folder:
        options = RunOptions(out=Path(folder) / "run", substrate="mininet", probe=False)
        execute(plan, "", options, QuietDisplay())
        records = read_records(Path(folder) / "run" / "nodes" / "coordinator" / "records.jsonl")
        return 1e3 * median(record.value for record in records if record.metric == "round_s")


def bare(plan: Plan) -> float:
    """Median milliseconds of ten local phases and one mean, in this process."""
    learners = [learner.build(node.spec) for node in plan.nodes[1:]]
    model = learners[0].weights()
    took = []
    for _ in range(20):
        began = time.perf_counter()
        updates = []
        for each in learners:
            each.load(model)
            each.train(each.epoch_steps(0.0), 0.0, np.random.default_rng(0))
            updates.append(each.weights())
        model = np.mean(updates, axis=0, dtype=np.float32)
        took.append(time.perf_counter() - began)
    return 1e3 * median(took)


def figures() -> Iterator[Figure]:
    """One figure."""
    algorithm = Chosen("fedavg", {"local_epochs": 1, "rounds": ROUNDS, "evaluate_every": ROUNDS})
    plan = star(DEVICES, shape=LinkShape(), algorithm=algorithm, profile=SERVER, stop_after_s=120.0)
    beside = f"bare loop: {bare(plan):.1f} ms"
    yield Figure("FedAvg round, digits, 10 devices, real processes", in_processes(plan), "ms", 30.0, beside=beside)


if __name__ == "__main__":
    for each in figures():
        show(each)
