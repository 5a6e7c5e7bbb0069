"""A device's side of ECLM: what it tells of itself, what it is told, and how well it does on what it senses."""

from dataclasses import dataclass

import numpy as np

from node_image.algorithms.eclm_messages import profile, read_chosen
from node_image.algorithms.exchange import RefusedError, Vector, refuse, vector, whole
from node_image.gating import own_importance, own_importance_cost
from node_image.modules import Layout
from node_image.runtime import Message, NodeRuntime
from node_image.submodel import Chosen, Importance


@dataclass(frozen=True)
class News:
    """What a device was told, by the message's kind, and the weights that it then has.

    `model` a sub-model to hold, `modules` a change of the one held, `install` stem and selector, `unfit` that it gets
    nothing.
    """

    kind: str
    base: int
    chosen: Chosen
    weights: Vector


async def join(node: NodeRuntime, installed: bool) -> Importance:
    """Tell the coordinator what there is to know of this device; without a selector that is only that it is there."""
    assert node.coordinator is not None
    if not installed:
        await node.send(node.coordinator, "join", {})
        return np.zeros(0, np.float32)
    worth = await importance(node)
    await node.send(node.coordinator, "join", profile(node.limits, worth))
    return worth


async def importance(node: NodeRuntime) -> Importance:
    """What the modules are worth to this device now."""
    learner, now = node.learner, node.now()
    return await node.compute(lambda: own_importance(learner, now), own_importance_cost(learner, now))


async def newest(node: NodeRuntime, where: Layout, held: Chosen, within: float, installed: bool = True) -> News | None:
    """The newest that came; None where nothing came within so many seconds. What is older is skipped.

    Before stem and selector are `installed` no modules are of use: they were meant for a former life of this device.
    """
    news = None
    message = await node.receive(within)
    while message is not None:
        try:
            if not installed and message.kind in ("model", "modules"):
                raise RefusedError("unasked")
            news = _read(message, where, held, node.learner.weights())
        except RefusedError as refused:
            refuse(node, message, refused.reason)
        message = await node.receive(0.0)
    return news


async def evaluate_own(node: NodeRuntime) -> None:
    """Test the sub-model on what this device senses now."""
    learner, now = node.learner, node.now()
    found = await node.compute(lambda: learner.evaluate(own=True, now=now), learner.evaluation_cost())
    node.record("test_accuracy", found.accuracy, split="own")


def _read(message: Message, where: Layout, held: Chosen, weights: Vector) -> News:
    body = message.body
    match message.kind:
        case "unfit":
            return News("unfit", 0, held, weights)
        case "install":
            frozen = where.frozen()
            weights[frozen] = vector(body, "model", int(frozen.sum()))
            return News("install", 0, held, weights)
        case "model" | "modules":
            chosen, complete = read_chosen(body, where), message.kind == "model"
            sent = chosen if complete else chosen & ~held
            packed = vector(body, "model", where.length(sent, head=complete))
            weights = where.having(where.unpacked(weights, packed, sent, head=complete), chosen)
            return News(message.kind, whole(body, "base"), chosen, weights)
    raise RefusedError("unknown_kind")
