"""A node's part in a run, alike in real and in virtual time: its side of the algorithm, then a last test."""

import asyncio
import math
from collections.abc import Coroutine
from typing import Any, Literal

from node_image import registry
from node_image.parameters import read
from node_image.runtime import Cost, NodeRuntime
from node_image.spec import NodeSpec

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


async def evaluate_finally(runtime: NodeRuntime) -> None:
    """Test the model that the node ended with. The clock stands still: the result costs the run no time.

    A loss that is not finite is left out; the accuracy of such a model still says what it is worth. A coordinator
    whose algorithm gave it no model says nothing.
    """
    if runtime.index < 0 and runtime.learner.untouched:
        return
    evaluation = await runtime.compute(runtime.learner.evaluate, Cost(macs=0.0, ops=0.0))
    runtime.record("test_accuracy", evaluation.accuracy, split="final")
    if math.isfinite(evaluation.loss):
        runtime.record("test_loss", evaluation.loss, split="final")
    for k, accuracy in evaluation.top_k.items():
        runtime.record("test_top_k", accuracy, k=str(k), split="final")
