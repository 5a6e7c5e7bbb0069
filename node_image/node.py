"""A node's part in a run, alike in real and in virtual time: its side of the algorithm, then a last test."""

import asyncio
import math
from collections.abc import Coroutine
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from node_image import registry
from node_image.parameters import read
from node_image.runtime import Cost, NodeRuntime
from node_image.spec import NodeSpec

if TYPE_CHECKING:
    from node_image.learner import Learner

Ending = Literal["returned", "time_up"]


async def run_node(runtime: NodeRuntime, spec: NodeSpec) -> Ending:
    """Run the side of the algorithm that the spec's role has, until it returns or the run's time is up.

    What the algorithm raises comes out as it is; so does ValueError for parameters that it does not have.
    """
    algorithm = registry.ALGORITHMS[spec.algorithm.name]
    params = read(algorithm.Parameters, spec.algorithm.parameters)
    part = algorithm.coordinator if spec.role == "coordinator" else algorithm.device
    return await run_part(part(runtime, params), stop_in_s=spec.stop_after_s - runtime.now())


async def run_part(part: Coroutine[Any, Any, None], stop_in_s: float) -> Ending:
    """Await a coroutine for at most so many seconds on the loop's clock."""
    limit = asyncio.timeout(max(0.0, stop_in_s))
    try:
        async with limit:
            await part
    except TimeoutError:
        if not limit.expired():
            raise  # the algorithm's own, not the end of the run
        return "time_up"
    return "returned"


def fingerprint(learner: "Learner") -> dict[str, Any]:
    """Of the model that a node ended with: its hash, so that runs can be compared, and whether all of it is finite."""
    weights = learner.weights()
    return {"sha256": sha256(weights.tobytes()).hexdigest(), "finite": bool(np.isfinite(weights).all())}


async def evaluate_finally(runtime: NodeRuntime) -> None:
    """Test the model that the node ended with. The clock stands still: the result costs the run no time.

    A loss that is not finite is left out; the accuracy of such a model still says what it is worth. A coordinator
    whose algorithm gave it no model says nothing. A device whose samples drift is tested on what it senses by now, too.
    """
    learner, now = runtime.learner, runtime.now()
    if runtime.index < 0 and learner.untouched:
        return
    free = Cost(macs=0.0, ops=0.0)
    if learner.changes:
        own = await runtime.compute(lambda: learner.evaluate(own=True, now=now), free)
        runtime.record("test_accuracy", own.accuracy, split="own")
    evaluation = await runtime.compute(learner.evaluate, free)
    runtime.record("test_accuracy", evaluation.accuracy, split="final")
    if math.isfinite(evaluation.loss):
        runtime.record("test_loss", evaluation.loss, split="final")
    for k, accuracy in evaluation.top_k.items():
        runtime.record("test_top_k", accuracy, k=str(k), split="final")
    for overlap, precision in evaluation.precision.items():
        runtime.record("test_average_precision", precision, overlap=overlap, split="final")
