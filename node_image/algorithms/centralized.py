"""Centralised: devices send their raw samples, the coordinator alone learns. The upper bound, and what it costs."""

import asyncio
from dataclasses import dataclass

import numpy as np

from node_image.algorithms.exchange import RefusedError, refuse, vector, whole
from node_image.algorithms.measured import evaluate, local_phase
from node_image.parameters import parameter
from node_image.runtime import Message, NodeRuntime

IDLE_S = 0.1  # the coordinator looks again after so long while it has no sample


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    chunk_samples: int = parameter(32, "samples in one message at most", minimum=1)
    local_steps: int = parameter(20, "minibatches of the coordinator between two looks at its inbox", minimum=1)
    resend_after_s: float = parameter(10.0, "a device sends again what was not acknowledged", unit="s", minimum=0.001)
    evaluate_every_s: float = parameter(10.0, "time between two evaluations", unit="s", minimum=0.0)
    checkpoint_every: int = parameter(10, "phases between two checkpoints of the coordinator", minimum=1)


async def device(node: NodeRuntime, params: Parameters) -> None:
    """Send each sample once, in chunks as they arrive; the next chunk when the coordinator has the last.

    "have" says how many of this device's samples the coordinator holds: after a loss, or a crash on either side, the
    device goes on from there.
    """
    assert node.coordinator is not None
    learner = node.learner
    await node.send(node.coordinator, "join", {})
    while True:
        message = await node.receive(params.resend_after_s)
        if message is None:
            await node.send(node.coordinator, "join", {})
            continue
        try:
            first = _have(message)
        except RefusedError as refused:
            refuse(node, message, refused.reason)
            continue
        if first >= len(learner.own):
            continue
        await node.sleep(max(0.0, learner.arrival_s(first + params.chunk_samples) - node.now()))
        x, y = learner.raw(first, params.chunk_samples, node.now())
        await node.send(node.coordinator, "samples", {"first": first, "x": x, "y": y})


async def coordinator(node: NodeRuntime, params: Parameters) -> None:
    """Collect in one task, learn in the other. After a crash the model is the checkpoint's; the samples come again."""
    kept = node.restored()
    if kept is not None:
        node.learner.load(vector(kept, "model", node.learner.parameters))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_collect(node))
        tasks.create_task(_learn(node, params))


async def _collect(node: NodeRuntime) -> None:
    held = dict.fromkeys(node.peers, 0)
    while True:
        message = await node.receive()
        if message is None:
            continue
        try:
            if message.kind != "join":
                held[message.sender] += _take(node, message, held[message.sender])
        except RefusedError as refused:
            refuse(node, message, refused.reason)
            if refused.reason != "gap":  # answering a duplicate would start a second stream of the same chunks
                continue
        await node.send(message.sender, "have", {"next": held[message.sender]})


async def _learn(node: NodeRuntime, params: Parameters) -> None:
    phases, evaluate_at = 0, params.evaluate_every_s
    while True:
        if not node.learner.samples(node.now()):
            await node.sleep(IDLE_S)
            continue
        await local_phase(node, params.local_steps)
        phases += 1
        if phases % params.checkpoint_every == 0:
            await node.save({"model": node.learner.weights()})
        if node.now() >= evaluate_at:
            await evaluate(node)
            evaluate_at = node.now() + params.evaluate_every_s


def _have(message: Message) -> int:
    if message.kind != "have":
        raise RefusedError("unknown_kind")
    return whole(message.body, "next")


def _take(node: NodeRuntime, message: Message, held: int) -> int:
    """Number of samples taken in: those of a chunk that follows what is held already."""
    if message.kind != "samples":
        raise RefusedError("unknown_kind")
    body = message.body
    first = whole(body, "first")
    if first != held:
        raise RefusedError("gap" if first > held else "duplicate")
    x, y = body.get("x"), body.get("y")
    if not isinstance(x, np.ndarray) or not isinstance(y, np.ndarray):
        raise RefusedError("missing_field")
    try:
        node.learner.take(x, y)
    except ValueError as error:
        raise RefusedError("wrong_shape") from error
    return len(y)
