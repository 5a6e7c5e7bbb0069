"""FedBuff: what K updates changed is averaged, then applied at once (Nguyen et al. 2022, arXiv 2106.06639).

Between FedAvg, whose rounds wait for the slowest, and FedAsync, which moves with every update: a device is answered
at once with the newest model, so none waits, but the model takes a step only when K updates are in the buffer.
"""

import asyncio
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node_image import aggregate
from node_image.algorithms import fedasync
from node_image.algorithms.versions import Age, Update, Versions
from node_image.parameters import parameter
from node_image.runtime import NodeRuntime


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    buffer: int = parameter(3, "K: updates that make a new version", minimum=1)
    server_rate: float = parameter(1.0, "eta_g: how far the model follows the buffer's mean", minimum=0.0)
    polynomial_a: float = parameter(0.5, "an update's weight is (staleness + 1) ** -a", minimum=0.0)
    local_steps: int = parameter(20, "minibatches in a local phase", minimum=1)
    max_staleness: int = parameter(0, "updates older than so many versions are refused; 0: none is", minimum=0)
    bits: int = parameter(32, "bits of a weight on the wire, both ways; above 16: float32", minimum=2, maximum=32)
    rejoin_after_s: float = parameter(20.0, "a device that hears nothing asks again", unit="s", minimum=0.001)
    evaluate_every_s: float = parameter(5.0, "time between two evaluations", unit="s", minimum=0.001)
    checkpoint_every: int = parameter(10, "aggregations between two checkpoints of the coordinator", minimum=1)


async def device(node: NodeRuntime, params: Parameters) -> None:
    """As in FedAsync, without its pull towards the model received."""
    alike = fedasync.Parameters(
        proximal=0.0, local_steps=params.local_steps, bits=params.bits, rejoin_after_s=params.rejoin_after_s
    )
    await fedasync.device(node, alike)


async def coordinator(node: NodeRuntime, params: Parameters) -> None:
    """Fill the buffer, empty it into the model, answer everybody at once. A crash loses what was in the buffer."""
    versions = Versions(node, params.bits, params.max_staleness, params.checkpoint_every, needs_base=True)
    await versions.begin()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(versions.evaluate_for_ever(params.evaluate_every_s))
        buffer, ages = np.zeros(node.learner.parameters), list[Age]()
        while True:
            update = await versions.next_update()
            buffer += weighted_change(update, params)
            ages.append(update.age)
            if len(ages) == params.buffer:
                model = (versions.model + params.server_rate / params.buffer * buffer).astype(np.float32)
                await versions.advance(model, ages)
                buffer[:], ages = 0.0, []
            await versions.send_model(update.sender)


def weighted_change(update: Update, params: Parameters) -> NDArray[np.float64]:
    """s(staleness) * (what the weights changed by)."""
    assert update.base is not None, "`needs_base`"
    change = np.subtract(update.weights, update.base, dtype=np.float64)
    return aggregate.polynomial(update.age.staleness, params.polynomial_a) * change
