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
    """Evidence: the share read back; at the heal, how long the nodes were held back by it."""

    async def throttled() -> float:
        uses = await world.substrate.uses()
        return sum(uses[name].throttled_s for name in fault.nodes)

    before = await throttled()
    speed = float(fault.parameters["speed"])
    evidence = "; ".join([await world.substrate.slow(world.node(name), speed) for name in fault.nodes])

    async def heal() -> str:
        held_s = await throttled() - before
        healed = "; ".join([await world.substrate.slow(world.node(name), 1.0) for name in fault.nodes])
        return f"held back for {held_s:.2f} s in all; {healed}"

    return Injected(evidence, heal)


KIND = FaultKind(
    about="nodes compute at a share of their speed",
    targets="nodes",
    Parameters=Parameters,
    needs=lambda _: frozenset({"cpu"}),
    inject=inject,
)
