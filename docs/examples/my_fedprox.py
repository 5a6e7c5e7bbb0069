"""FedProx in one file (Li et al. 2020, arXiv 1812.06127): FedAvg whose devices stay near the model they were sent.

edgebed run smoke --plugin docs/examples/my_fedprox.py --set learning.algorithm.name=my_fedprox
"""

from dataclasses import dataclass

from node_image import packing
from node_image.algorithms import fedavg
from node_image.algorithms.exchange import newest_model
from node_image.algorithms.measured import first_samples, local_phase
from node_image.parameters import parameter
from node_image.runtime import NodeRuntime


@dataclass(frozen=True)
class Parameters(fedavg.Parameters):
    """FedAvg's, and mu."""

    mu: float = parameter(0.01, "mu: mu/2 ||w - w received||^2 is added to the local loss", minimum=0.0)


async def device(node: NodeRuntime, params: Parameters) -> None:
    """Answer every model with what a local phase makes of h(w) = F(w) + mu/2 ||w - w received||^2 (equation 2)."""
    assert node.coordinator is not None
    await first_samples(node)
    await node.send(node.coordinator, "join", {})
    while True:
        while (asked := await newest_model(node, "round", params.rejoin_after_s)) is None:
            await node.send(node.coordinator, "join", {})  # one of us was away, or a message was lost
        number, model = asked
        samples = node.learner.samples(node.now())
        steps = params.local_steps or params.local_epochs * node.learner.epoch_steps(node.now())
        if await local_phase(node, steps, start=model, proximal=params.mu):
            update = packing.pack_update(model, node.learner.weights(), node.learner.parts, params.bits)
            await node.send(node.coordinator, "update", {"round": number, "n": samples, **update})


coordinator = fedavg.coordinator  # rounds, deadlines and the mean by samples are FedAvg's
