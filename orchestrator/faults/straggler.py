"""straggler: nodes compute at a share of their ordinary speed."""

from typing import Annotated

from pydantic import Field

from orchestrator.faults import nodes
from orchestrator.faults.base import FaultKind, FaultParameters, Injected, World
from orchestrator.plan import PlannedFault
from orchestrator.units import Share


class Parameters(FaultParameters):
    """`speed`: what is left of the ordinary speed, e.g. 25 %."""

    speed: Annotated[Share, Field(gt=0)]


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: the speed that each node confirms, and the CPU limit read back."""
    evidence = await nodes.slow(world, fault.index, fault.nodes, float(fault.parameters["speed"]))
    return Injected(evidence, lambda: nodes.slow(world, fault.index, fault.nodes, 1.0))


KIND = FaultKind(
    about="nodes compute at a share of their speed",
    targets="nodes",
    Parameters=Parameters,
    needs=lambda _: frozenset({"cpu"}),
    inject=inject,
)
