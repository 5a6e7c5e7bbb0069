"""memory: nodes have less memory for a time: `limit`, or `to` a share of what each uses at that moment.

The limit is the kernel's, on the node's control group. A node that wants more is killed for it, and comes back when the
fault is over, from its checkpoint.
"""

from typing import Annotated, Self

from pydantic import Field, model_validator

from orchestrator.faults import limits
from orchestrator.faults.base import FaultKind, FaultParameters, Injected, World
from orchestrator.plan import PlannedFault
from orchestrator.units import Share, Size


class Parameters(FaultParameters):
    """`limit`: how much memory is left; or `to`: the same as a share of what the node uses."""

    limit: Annotated[Size, Field(ge=1)] | None = None
    to: Annotated[Share, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.limit is None) == (self.to is None):
            raise ValueError("how much memory is left? Say either limit (a size) or to (a share of what it uses)")
        return self


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: the limit read back, what each used, and the kernel's count of kills, now and at the heal."""
    seen = []
    for name in fault.nodes:
        most = fault.parameters["limit"]
        if most is None:
            most = fault.parameters["to"] * (await world.substrate.uses())[name].memory_bytes
        seen.append(await limits.tighten(world, fault.index, name, "memory", max(1, round(most))))
    return Injected("; ".join(seen), lambda: limits.loosen(world, fault.index, fault.nodes, "memory"))


KIND = FaultKind(
    about="nodes have less memory for a time; who wants more is killed for it, and comes back after `for`",
    targets="nodes",
    Parameters=Parameters,
    needs=lambda _: frozenset({"memory", "restart"}),
    inject=inject,
)
