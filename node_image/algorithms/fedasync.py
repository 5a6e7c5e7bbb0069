"""FedAsync: every update is mixed in as it comes, by its staleness (Xie, Koyejo and Gupta 2019, arXiv 1903.03934)."""

import asyncio
from dataclasses import dataclass

import numpy as np

from node_image import aggregate, packing
from node_image.algorithms.exchange import newest_body, whole
from node_image.algorithms.measured import first_samples, local_phase
from node_image.algorithms.versions import Versions
from node_image.parameters import parameter
from node_image.runtime import NodeRuntime


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    mixing: float = parameter(0.6, "alpha: weight of a fresh update", unit="ratio", minimum=0.0, maximum=1.0)
    halve_mixing_every: int = parameter(0, "alpha halves every so many versions; 0: it stays", minimum=0)
    staleness: str = parameter(
        "polynomial", "how an update's weight falls with its age", choices=("constant", "hinge", "polynomial")
    )
    polynomial_a: float = parameter(0.5, "polynomial: (staleness + 1) ** -a", minimum=0.0)
    hinge_a: float = parameter(10.0, "hinge: 1 / (a * (staleness - b) + 1) above b", minimum=0.0)
    hinge_b: float = parameter(4.0, "hinge: staleness up to which an update has its full weight", minimum=0.0)
    proximal: float = parameter(0.005, "rho: pull of the local loss towards the model received", minimum=0.0)
    local_steps: int = parameter(20, "H_max: minibatches in a local phase", minimum=1)
    least_steps: int = parameter(0, "H_min: H is drawn from it to H_max for each phase; 0: H is H_max", minimum=0)
    max_staleness: int = parameter(0, "updates older than so many versions are refused; 0: none is", minimum=0)
    bits: int = parameter(32, "bits of a weight on the wire, both ways; above 16: float32", minimum=2, maximum=32)
    rejoin_after_s: float = parameter(20.0, "a device that hears nothing asks again", unit="s", minimum=0.001)
    evaluate_every_s: float = parameter(5.0, "time between two evaluations", unit="s", minimum=0.001)
    checkpoint_every: int = parameter(10, "aggregations between two checkpoints of the coordinator", minimum=1)

    def __post_init__(self) -> None:
        if self.least_steps > self.local_steps:
            raise ValueError(f"least_steps: must be at most local_steps, {self.local_steps} (found {self.least_steps})")


async def device(node: NodeRuntime, params: Parameters) -> None:
    """Learn on the newest model, send the result, for ever."""
    assert node.coordinator is not None
    learner, patience_s = node.learner, params.rejoin_after_s
    await first_samples(node)
    await node.send(node.coordinator, "join", {})
    while True:
        newest = await newest_body(node, patience_s, lambda body: (whole(body, "base"), whole(body, "phase")))
        if newest is None:  # one of us may have been away, or a message was lost
            patience_s *= 2
            await node.send(node.coordinator, "join", {})
            continue
        (base, phase), model = newest
        patience_s = params.rejoin_after_s
        trained = learner.trainable()
        if await local_phase(node, steps(params, node.rng), start=model, proximal=params.proximal):
            update = packing.pack_update(model, learner.weights(), learner.parts, params.bits, trained)
            await node.send(node.coordinator, "update", {"base": base, "phase": phase, **update})


async def coordinator(node: NodeRuntime, params: Parameters) -> None:
    """Mix in whatever comes, answer with the new model; wait for nobody."""
    versions = Versions(node, params.bits, params.max_staleness, params.checkpoint_every)
    await versions.begin()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(versions.evaluate_for_ever(params.evaluate_every_s))
        while True:
            update = await versions.next_update()
            alpha = weight(params, update.age.staleness, versions.version)
            await versions.advance(aggregate.mix(versions.model, update.weights, alpha), [update.age])
            await versions.send_model(update.sender)


def steps(params: Parameters, rng: np.random.Generator) -> int:
    """H of a local phase."""
    return int(rng.integers(params.least_steps, params.local_steps + 1)) if params.least_steps else params.local_steps


def weight(params: Parameters, staleness: int, version: int = 0) -> float:
    """alpha * s(staleness): what an update of that age weighs in a model of that version."""
    halvings = version // params.halve_mixing_every if params.halve_mixing_every else 0
    alpha = params.mixing * 0.5**halvings
    match params.staleness:
        case "hinge":
            return alpha * aggregate.hinge(staleness, params.hinge_a, params.hinge_b)
        case "polynomial":
            return alpha * aggregate.polynomial(staleness, params.polynomial_a)
        case _:
            return alpha * aggregate.constant(staleness)
