"""DSGD: synchronous decentralised gradient descent over any graph (D-PSGD, Lian et al. 2017, arXiv 1705.09056).

In each round device i sends its model w_i to its neighbours, takes local steps from w_i meanwhile, and moves to

    w_i <- sum_j W_ij w_j - lr g_i        (algorithm 1; with several local steps, their whole change for -lr g_i)

W_ij = 1 / (1 + max(d_i, d_j)), Metropolis weights of the degrees d. A neighbour that is not heard before the deadline
leaves its weight to the device's own model. A device that was away - neighbours speak of a later round than its own -
goes on in that round, from the mean of their models; what it learned alone meanwhile is given up. Without neighbours
it learns alone.
"""

from dataclasses import dataclass

import numpy as np

from node_image.aggregate import weighted_mean
from node_image.algorithms.exchange import Vector, vector, whole
from node_image.algorithms.measured import evaluate, first_samples, local_phase
from node_image.algorithms.neighbours import Neighbourhood, Patience, stand_by
from node_image.mixing import blend, mean_of, metropolis_weight
from node_image.parameters import parameter
from node_image.runtime import Message, NodeRuntime


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    rounds: int = parameter(0, "rounds to run; 0: until the run ends", minimum=0)
    local_steps: int = parameter(1, "H: minibatches between two exchanges; 0: one pass over the samples", minimum=0)
    deadline_s: float = parameter(
        0.0, "a round waits so long for neighbours; 0: 3 x the median of recent ones", unit="s", minimum=0.0
    )
    first_deadline_s: float = parameter(
        60.0, "deadline while no neighbour was heard, and the longest", unit="s", minimum=0.001
    )
    evaluate_every: int = parameter(
        10, "rounds between two evaluations of each device's own model; 0: only at the end", minimum=0
    )
    checkpoint_every: int = parameter(10, "rounds between two checkpoints of each device", minimum=1)


@dataclass(frozen=True)
class Said:
    """A neighbour's model and its degree."""

    model: Vector
    degree: int


async def device(node: NodeRuntime, params: Parameters) -> None:
    """Send, learn, wait for the neighbours, mix; again. Goes on from its checkpoint after a crash."""
    learner = node.learner

    def read(message: Message) -> Said:
        return Said(vector(message.body, "model", learner.parameters), whole(message.body, "degree", minimum=1))

    neighbours = Neighbourhood(node, "model", read, Patience(params.deadline_s, params.first_deadline_s))
    degree = len(neighbours.names)
    kept = node.restored()
    number, model = 0, learner.weights()
    if kept is not None:
        number, model = whole(kept, "round"), vector(kept, "model", learner.parameters)
    await first_samples(node)
    while params.rounds == 0 or number < params.rounds:
        opened_s, began_s = node.now(), node.elapsed()
        newest, ahead = neighbours.newest()
        number += 1
        if newest > number:  # we were away
            number, model = newest, weighted_mean([each.model for each in ahead], [1.0] * len(ahead))
        for name in neighbours.names:
            await node.send(name, "model", {"round": number, "degree": degree, "model": model})
        steps = params.local_steps or learner.epoch_steps(node.now())
        learned = await local_phase(node, steps, start=model)
        change = learner.weights() - model if learned else np.float32(0.0)
        heard = await neighbours.gather(number, opened_s)
        weights = [metropolis_weight(degree, said.degree) for said in heard.values()]
        mixed = blend(model, [said.model for said in heard.values()], weights)
        node.record("mixing_balance", mean_of(mixed) - mean_of(model))
        model = mixed + change
        learner.load(model)
        node.record("gossip_exchanges", len(heard))
        node.record("neighbours", len(heard))
        node.record("round", number)
        node.record("round_s", node.elapsed() - began_s)
        if number % params.checkpoint_every == 0:
            await node.save({"round": number, "model": model})
        if params.evaluate_every and number % params.evaluate_every == 0:
            await evaluate(node)


async def coordinator(node: NodeRuntime, params: Parameters) -> None:
    """Nothing to do: devices speak among themselves."""
    await stand_by(node)
