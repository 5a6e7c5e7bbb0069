"""descriptors: nodes can have no more than `limit` open files for a time; left out: no more than they have.

What is open stays open: the kernel refuses more (EMFILE), be it a file, a socket or a checkpoint. A node that does not
get over that ends, and comes back when the fault is over.
"""

from typing import Annotated

from pydantic import Field, Strict

from orchestrator.faults import limits
from orchestrator.faults.base import FaultKind, FaultParameters, Injected, World
from orchestrator.plan import PlannedFault


class Parameters(FaultParameters):
    """`limit`: how many open files a node may have; left out: those that it has, and no more."""

    limit: Annotated[int, Strict(), Field(ge=1)] | None = None


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: the limit as the kernel tells it of each process, now and at the heal."""
    most = int(fault.parameters["limit"] or 0)
    seen = [await limits.tighten(world, fault.index, name, "descriptors", most) for name in fault.nodes]
    return Injected("; ".join(seen), lambda: limits.loosen(world, fault.index, fault.nodes, "descriptors"))


KIND = FaultKind(
    about="nodes get no more open files and sockets than `limit`",
    targets="nodes",
    Parameters=Parameters,
    needs=lambda _: frozenset({"descriptors", "restart"}),
    inject=inject,
)
