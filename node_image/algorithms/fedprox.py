"""FedProx: FedAvg for devices that differ in speed and in data (Li et al. 2020, arXiv 1812.06127).

A device pulls its local model towards the one received, by mu, and may do part of the work: what it has counts.
Updates are averaged by samples, as in FedAvg.
"""

from dataclasses import dataclass

import numpy as np

from node_image.algorithms import fedavg
from node_image.parameters import parameter
from node_image.runtime import NodeRuntime


@dataclass(frozen=True)
class Parameters(fedavg.Parameters):
    """What a scenario may set: all of FedAvg's, and how much work a device must do."""

    mu: float = parameter(0.01, "mu: mu/2 ||w - w received||^2 is added to the local loss", minimum=0.0)
    stragglers: float = parameter(
        0.0,
        "share of local phases that stop early, after a drawn number of steps",
        unit="ratio",
        minimum=0.0,
        maximum=1.0,
    )
    phase_s: float = parameter(
        0.0, "a device does the steps it can do in so long, by its last phase; 0: all", unit="s", minimum=0.0
    )


async def device(node: NodeRuntime, params: Parameters) -> None:
    """Answer every model with an update of as much work as there is time for."""
    await fedavg.answer(node, params, lambda steps, step_s: partial_work(params, steps, step_s, node.rng), params.mu)


async def coordinator(node: NodeRuntime, params: Parameters) -> None:
    """As in FedAvg."""
    await fedavg.coordinator(node, params)


def partial_work(params: Parameters, steps: int, step_s: float, rng: np.random.Generator) -> int:
    """Steps to do of those asked: a straggler any number of them, and nobody more than fit into `phase_s`."""
    if params.stragglers and rng.random() < params.stragglers:
        steps = int(rng.integers(1, steps, endpoint=True))
    if params.phase_s and step_s:
        steps = min(steps, max(1, int(params.phase_s / step_s)))
    return steps
