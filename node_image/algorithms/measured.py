"""A local phase and an evaluation, each with its records."""

import math
from typing import TYPE_CHECKING

from node_image.algorithms.exchange import Vector
from node_image.network import Mask
from node_image.outcomes import DivergedError, NoSamplesError, Phase
from node_image.runtime import NodeRuntime

if TYPE_CHECKING:
    from node_image.learner import Learner

PAUSE_S = 1.0  # after a phase that came to nothing: in virtual time, failing again and again would take no time at all


async def first_samples(node: NodeRuntime) -> None:
    """Wait until a stream has delivered the first minibatch; where it is empty, for ever: the device takes no part."""
    await node.sleep(max(0.0, node.learner.ready_s - node.now()))
    while node.learner.samples(node.now()) == 0:
        await node.sleep(PAUSE_S)


async def rest(node: NodeRuntime) -> None:
    """Wait until the device's next local phase may begin, where its pace is set."""
    if (seconds := node.learner.until_phase_s(node.now())) > 0:
        await node.sleep(seconds)


async def local_phase(
    node: NodeRuntime,
    steps: int,
    start: Vector | None = None,
    proximal: float = 0.0,
    trainable: Mask | None = None,
    learner: "Learner | None" = None,
) -> Phase | None:
    """Train for so many steps, from `start` or from where the learner is; None, and counted, where it came to nothing.

    Rests first, where the device's pace is set. `trainable` marks the weights that may move, of those that the
    device's selection leaves free. The `learner` is the node's, or one beside it.
    """
    await rest(node)
    learner, begun, began_s = learner or node.learner, node.now(), node.elapsed()

    def work() -> Phase:
        if start is not None:
            learner.load(start)
        return learner.train(steps, begun, node.rng, proximal, trainable)

    try:
        phase = await node.compute(work, learner.cost(steps, begun, trainable))
    except (DivergedError, NoSamplesError) as error:
        reason = "diverged" if isinstance(error, DivergedError) else "no_samples"
        node.record("discarded_updates", 1, reason=reason)
        await node.sleep(PAUSE_S)
        return None
    took_s = node.elapsed() - began_s
    node.record("local_phase_s", took_s)
    node.record("local_step_s", took_s / phase.steps)
    node.record("samples_seen", phase.samples)
    node.record("train_loss", phase.loss)
    return phase


async def evaluate(node: NodeRuntime, weights: Vector | None = None) -> None:
    """Test these weights, or the learner's own, on the global test set."""
    learner, began_s = node.learner, node.elapsed()
    found = await node.compute(lambda: learner.evaluate(weights), learner.evaluation_cost())
    took_s = node.elapsed() - began_s
    node.record("test_accuracy", found.accuracy, split="global")
    if math.isfinite(found.loss):  # a record holds finite numbers only; the accuracy tells the disaster
        node.record("test_loss", found.loss, split="global")
    for k, accuracy in found.top_k.items():
        node.record("test_top_k", accuracy, k=str(k))
    for overlap, precision in found.precision.items():
        node.record("test_average_precision", precision, overlap=overlap, split="global")
    node.record("evaluate_s", took_s)
    node.record("inference_s", took_s / found.samples)
