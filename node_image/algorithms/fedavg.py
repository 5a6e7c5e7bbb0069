"""FedAvg: synchronous rounds of local learning and weighted averaging (McMahan et al. 2017, arXiv 1602.05629)."""

import asyncio
import math
from collections import deque
from dataclasses import dataclass

from node_image.aggregate import weighted_mean
from node_image.algorithms.exchange import RefusedError, Vector, newest_model, refuse, vector, whole
from node_image.algorithms.measured import evaluate, first_samples, local_phase
from node_image.parameters import parameter
from node_image.runtime import Message, NodeRuntime

RECENT_ANSWERS = 100


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    rounds: int = parameter(0, "rounds to run; 0: until the run ends", minimum=0)
    fraction: float = parameter(
        1.0, "share of the joined devices asked in a round", unit="ratio", minimum=0.0, maximum=1.0
    )
    local_steps: int = parameter(0, "minibatches in a local phase; 0: use local_epochs", minimum=0)
    local_epochs: int = parameter(1, "passes over the local samples in a local phase", minimum=1)
    deadline_s: float = parameter(
        0.0, "a round closes after so long; 0: 1.5 x the slowest recent answer", unit="s", minimum=0.0
    )
    first_deadline_s: float = parameter(
        60.0, "deadline while no answer was seen, and wait for the devices to join", unit="s", minimum=0.001
    )
    min_updates: int = parameter(1, "updates without which a round stays open past its deadline", minimum=1)
    rejoin_after_s: float = parameter(20.0, "a device that hears nothing asks again", unit="s", minimum=0.001)
    evaluate_every: int = parameter(1, "rounds between two evaluations", minimum=1)
    checkpoint_every: int = parameter(1, "rounds between two checkpoints of the coordinator", minimum=1)


@dataclass(frozen=True)
class Update:
    """What a device answered: the weights it came to, on so many samples, and when it was asked (s)."""

    weights: Vector
    samples: int
    asked_s: float


async def device(node: NodeRuntime, params: Parameters) -> None:
    """Answer every model with an update."""
    assert node.coordinator is not None
    await first_samples(node)
    await node.send(node.coordinator, "join", {})
    while True:
        asked = await newest_model(node, "round", params.rejoin_after_s)
        if asked is None:  # one of us may have been away, or the message was lost
            await node.send(node.coordinator, "join", {})
            continue
        number, model = asked
        samples = node.learner.samples(node.now())
        steps = params.local_steps or params.local_epochs * node.learner.epoch_steps(node.now())
        if await local_phase(node, steps, start=model):
            update = {"round": number, "samples": samples, "model": node.learner.weights()}
            await node.send(node.coordinator, "update", update)


async def coordinator(node: NodeRuntime, params: Parameters) -> None:
    """Round after round: ask, wait, average. Goes on from its checkpoint after a crash."""
    kept = node.restored()
    if kept is None:
        number, model = 0, node.learner.weights()
        joined = await _first_devices(node, params)
    else:
        number, model = whole(kept, "round"), vector(kept, "model", node.learner.parameters)
        joined = set(node.peers)
    answers_s: deque[float] = deque(maxlen=RECENT_ANSWERS)
    evaluation: asyncio.Task[None] | None = None
    async with asyncio.TaskGroup() as tasks:
        while params.rounds == 0 or number < params.rounds:
            number += 1
            opened_s = node.now()
            updates = await _one_round(node, params, number, model, joined, answers_s)
            # In the devices' order, not in that of arrival: sums of floats depend on it, results must not.
            ordered = [updates[device] for device in node.peers if device in updates]
            model = weighted_mean([each.weights for each in ordered], [each.samples for each in ordered])
            for each in ordered:
                node.record("staleness", 0)
                node.record("update_age_s", node.now() - each.asked_s)
            node.record("aggregated_updates", len(ordered))
            node.record("round_s", node.now() - opened_s)
            node.record("round", number)
            node.record("version", number)
            if number % params.checkpoint_every == 0:
                await node.save({"round": number, "model": model})
            if number % params.evaluate_every == 0:
                if evaluation is not None:  # one at a time; the next round's devices learn meanwhile
                    await evaluation
                evaluation = tasks.create_task(evaluate(node, model))


async def _first_devices(node: NodeRuntime, params: Parameters) -> set[str]:
    """Who has joined once all have, or once the first deadline has passed and somebody has."""
    joined: set[str] = set()
    until_s = node.now() + params.first_deadline_s
    while len(joined) < len(node.peers):
        left_s = until_s - node.now()
        if left_s <= 0 and joined:
            break
        message = await node.receive(left_s if left_s > 0 else None)
        if message is not None:
            _note_join(node, message, joined)
    return joined


def _note_join(node: NodeRuntime, message: Message, joined: set[str]) -> None:
    if message.kind == "join":
        joined.add(message.sender)
    else:
        refuse(node, message, "unasked" if message.kind == "update" else "unknown_kind")


async def _one_round(
    node: NodeRuntime,
    params: Parameters,
    number: int,
    model: Vector,
    joined: set[str],
    answers_s: deque[float],
) -> dict[str, Update]:
    """Updates of those asked that came before the round closed, by device; at least `min_updates`."""
    asked: dict[str, float] = {}
    updates: dict[str, Update] = {}

    async def ask(device: str) -> None:
        asked[device] = node.now()
        await node.send(device, "model", {"round": number, "model": model})

    for device in _draw(node, params, joined):
        await ask(device)
    closes_s = node.now() + _deadline_s(params, answers_s)
    while len(updates) < max(len(asked), params.min_updates):
        left_s = closes_s - node.now()
        if left_s <= 0 and len(updates) >= params.min_updates:
            break
        if left_s <= 0:  # too few answered: others may
            for device in _draw(node, params, joined - asked.keys()):
                await ask(device)
            closes_s = node.now() + _deadline_s(params, answers_s)
            continue
        message = await node.receive(left_s)
        if message is None:
            continue
        if message.kind == "join":
            joined.add(message.sender)
            if message.sender in asked and message.sender not in updates:  # it was away and knows of nothing
                await ask(message.sender)
            continue
        try:
            update = _read(node, message, number, asked, updates)
        except RefusedError as refused:
            refuse(node, message, refused.reason)
            continue
        updates[message.sender] = update
        answers_s.append(node.now() - update.asked_s)
    return updates


def _draw(node: NodeRuntime, params: Parameters, candidates: set[str]) -> list[str]:
    """The share of the candidates that takes part, at least `min_updates` of them, in the devices' order."""
    ordered = [device for device in node.peers if device in candidates]
    count = max(math.ceil(params.fraction * len(ordered)), params.min_updates)
    if count >= len(ordered):
        return ordered
    chosen = node.rng.choice(len(ordered), size=count, replace=False)
    return [ordered[place] for place in sorted(chosen)]


def _deadline_s(params: Parameters, answers_s: deque[float]) -> float:
    return params.deadline_s or (1.5 * max(answers_s) if answers_s else params.first_deadline_s)


def _read(
    node: NodeRuntime, message: Message, number: int, asked: dict[str, float], updates: dict[str, Update]
) -> Update:
    if message.kind != "update":
        raise RefusedError("unknown_kind")
    weights = vector(message.body, "model", node.learner.parameters)
    samples = whole(message.body, "samples", minimum=1)
    if whole(message.body, "round") != number:
        raise RefusedError("late")
    if message.sender not in asked:
        raise RefusedError("unasked")
    if message.sender in updates:
        raise RefusedError("duplicate")
    return Update(weights, samples, asked[message.sender])
