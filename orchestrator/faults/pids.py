"""pids: nodes can have no more than `limit` processes and threads for a time; left out: no more than they have.

Those that there are stay: the kernel refuses new ones (EAGAIN). A node that does not get over that ends, and comes back
when the fault is over.
"""

from typing import Annotated

from pydantic import Field, Strict

from orchestrator.faults import limits
from orchestrator.faults.base import FaultKind, FaultParameters, Injected, World
from orchestrator.plan import PlannedFault


class Parameters(FaultParameters):
    """`limit`: how many processes and threads a node may have; left out: those that it has, and no more."""

    limit: Annotated[int, Strict(), Field(ge=1)] | None = None


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: the limit read back and what there is; at the heal how many were refused."""
    most = int(fault.parameters["limit"] or 0)
    seen = [await limits.tighten(world, fault.index, name, "pids", most) for name in fault.nodes]
    return Injected("; ".join(seen), lambda: limits.loosen(world, fault.index, fault.nodes, "pids"))


KIND = FaultKind(
    about="nodes get no more processes and threads than `limit`",
    targets="nodes",
    Parameters=Parameters,
    needs=lambda _: frozenset({"pids", "restart"}),
    inject=inject,
)
