"""straggler: nodes compute at a share of their ordinary speed."""

from typing import Annotated

from pydantic import Field

from orchestrator.faults.base import FaultKind, FaultParameters, Injected, World
from orchestrator.plan import PlannedFault
from orchestrator.units import Share


class Parameters(FaultParameters):
    """`speed`: what is left of the ordinary speed, e.g. 25 %."""

    speed: Annotated[Share, Field(gt=0)]


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: the speed that each node confirms, and the CPU limit read back."""

    async def slow(speed: float) -> str:
        return "; ".join([await world.substrate.slow(world.node(name), speed) for name in fault.nodes])

    return Injected(await slow(float(fault.parameters["speed"])), lambda: slow(1.0))


KIND = FaultKind(
    about="nodes compute at a share of their speed",
    targets="nodes",
    Parameters=Parameters,
    needs=lambda _: frozenset({"cpu"}),
    inject=inject,
)
