"""Local only: every device learns from its own samples and speaks to nobody. What sharing must beat."""

from dataclasses import dataclass

from node_image.algorithms.measured import evaluate, first_samples, local_phase
from node_image.parameters import parameter
from node_image.runtime import NodeRuntime


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    local_steps: int = parameter(20, "minibatches in one local phase", minimum=1)
    evaluate_every_s: float = parameter(10.0, "time between two evaluations of each device", unit="s", minimum=0.0)


async def device(node: NodeRuntime, params: Parameters) -> None:
    """Learn for ever, and see every now and then what it is worth."""
    await first_samples(node)
    evaluate_at = node.now() + params.evaluate_every_s
    while True:
        await local_phase(node, params.local_steps)
        if node.now() >= evaluate_at:
            await evaluate(node)
            evaluate_at = node.now() + params.evaluate_every_s


async def coordinator(node: NodeRuntime, params: Parameters) -> None:
    """Nothing to do: nobody speaks."""
    while True:
        await node.receive()
