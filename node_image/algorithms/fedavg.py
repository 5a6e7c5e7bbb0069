"""FedAvg: synchronous rounds of local learning and weighted averaging (McMahan et al. 2017, arXiv 1602.05629)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from node_image import packing
from node_image.algorithms.exchange import applied, newest_model, vector, whole
from node_image.algorithms.measured import evaluate, first_samples, local_phase
from node_image.algorithms.rounds import Rounds
from node_image.parameters import parameter
from node_image.runtime import NodeRuntime


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
    over_selection: float = parameter(
        0.0, "share of devices asked beyond those; the round closes when as many as wanted answered", minimum=0.0
    )
    min_updates: int = parameter(1, "updates without which a round stays open past its deadline", minimum=1)
    bits: int = parameter(32, "bits of a weight on the wire, both ways; above 16: float32", minimum=2, maximum=32)
    rejoin_after_s: float = parameter(20.0, "a device that hears nothing asks again", unit="s", minimum=0.001)
    evaluate_every: int = parameter(1, "rounds between two evaluations", minimum=1)
    checkpoint_every: int = parameter(1, "rounds between two checkpoints of the coordinator", minimum=1)


async def device(node: NodeRuntime, params: Parameters) -> None:
    """Answer every model with an update."""
    await answer(node, params, lambda steps, step_s: steps)


async def answer(
    node: NodeRuntime, params: Parameters, work: Callable[[int, float], int], proximal: float = 0.0
) -> None:
    """A device that does `work` of a local phase: of so many steps, each of which took so long (s) the last time."""
    assert node.coordinator is not None
    learner, patience_s, step_s = node.learner, params.rejoin_after_s, 0.0
    await first_samples(node)
    await node.send(node.coordinator, "join", {})
    while True:
        asked = await newest_model(node, "round", patience_s)
        if asked is None:  # one of us may have been away, or a message was lost
            patience_s *= 2
            await node.send(node.coordinator, "join", {})
            continue
        number, model = asked
        patience_s = params.rejoin_after_s
        begun_s, samples = node.elapsed(), learner.samples(node.now())
        steps = work(params.local_steps or params.local_epochs * learner.epoch_steps(node.now()), step_s)
        trained = learner.trainable()
        if await local_phase(node, steps, start=model, proximal=proximal):
            step_s = (node.elapsed() - begun_s) / steps
            update = packing.pack_update(model, learner.weights(), learner.parts, params.bits, trained)
            await node.send(node.coordinator, "update", {"round": number, "n": samples, **update})


async def coordinator(node: NodeRuntime, params: Parameters) -> None:
    """Ask, wait, average; again. Goes on from its checkpoint after a crash."""
    rounds = Rounds(
        node,
        params.fraction,
        params.min_updates,
        params.deadline_s,
        params.first_deadline_s,
        params.over_selection,
        params.bits,
    )
    kept = node.restored()
    if kept is None:
        number, model = 0, node.learner.weights()
        await rounds.wait_for_devices()
    else:
        number, model = whole(kept, "round"), vector(kept, "model", node.learner.parameters)
        node.learner.load(model)
        rounds.joined.update(node.peers)
    evaluation: asyncio.Task[None] | None = None
    async with asyncio.TaskGroup() as tasks:
        while params.rounds == 0 or number < params.rounds:
            number += 1
            opened_s = node.elapsed()
            closed = await rounds.run(number, model)
            model = closed.mean
            node.learner.load(model)  # what is tested when the run ends
            for peer, asked_s in closed.asked_s.items():
                applied(node, peer, number, base=number - 1, staleness=0, sent_s=asked_s)
            node.record("aggregated_updates", len(closed.asked_s))
            node.record("round_s", node.elapsed() - opened_s)
            node.record("round", number)
            node.record("version", number)
            if number % params.checkpoint_every == 0:
                tasks.create_task(node.save({"round": number, "model": model}))  # the next round waits for no disk
            if number % params.evaluate_every == 0:
                if evaluation is not None:  # one at a time; the devices learn for the next round meanwhile
                    await evaluation
                evaluation = tasks.create_task(evaluate(node, model))
