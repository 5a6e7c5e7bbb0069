"""A local phase and an evaluation, each with its records."""

import math

from node_image.algorithms.exchange import Vector
from node_image.outcomes import DivergedError, Phase
from node_image.runtime import NodeRuntime

AFTER_DIVERGING_S = 1.0


async def first_samples(node: NodeRuntime) -> None:
    """Wait until a stream has delivered the first minibatch."""
    await node.sleep(max(0.0, node.learner.ready_s - node.now()))


async def local_phase(
    node: NodeRuntime, steps: int, start: Vector | None = None, proximal: float = 0.0
) -> Phase | None:
    """Train for so many steps, from `start` or from where the learner is; None, and counted, where it diverged."""
    learner, begun = node.learner, node.now()

    def work() -> Phase:
        if start is not None:
            learner.load(start)
        return learner.train(steps, begun, node.rng, proximal)

    try:
        phase = await node.compute(work, learner.cost(steps, begun))
    except DivergedError:
        node.record("discarded_updates", 1, reason="diverged")
        await node.sleep(AFTER_DIVERGING_S)  # in virtual time, failing again and again would take no time at all
        return None
    took_s = node.now() - begun
    node.record("local_phase_s", took_s)
    node.record("local_step_s", took_s / phase.steps)
    node.record("samples_seen", phase.samples)
    node.record("train_loss", phase.loss)
    return phase


async def evaluate(node: NodeRuntime, weights: Vector | None = None) -> None:
    """Test these weights, or the learner's own, on the global test set."""
    learner, begun = node.learner, node.now()
    found = await node.compute(lambda: learner.evaluate(weights), learner.evaluation_cost())
    took_s = node.now() - begun
    node.record("test_accuracy", found.accuracy, split="global")
    if math.isfinite(found.loss):  # a record holds finite numbers only; the accuracy tells the disaster
        node.record("test_loss", found.loss, split="global")
    for k, accuracy in found.top_k.items():
        node.record("test_top_k", accuracy, k=str(k))
    node.record("evaluate_s", took_s)
    node.record("inference_s", took_s / found.samples)
