"""stop: nodes are told to end (SIGTERM), as by whoever shuts a device down; after `for` they are started again.

A node that is told so finishes the checkpoint that it is writing, closes its connections, says its last records and
leaves. One that lives after its grace is killed. Its next life has its checkpoint and nothing else, as after a crash.
"""

from typing import Annotated

from pydantic import Field

from orchestrator.faults import nodes
from orchestrator.faults.base import FaultKind, FaultParameters, Injected, World
from orchestrator.plan import PlannedFault
from orchestrator.units import Duration


class Parameters(FaultParameters):
    """`grace`: how long a node may take to end by itself before it is killed."""

    grace: Annotated[Duration, Field(gt=0, json_schema_extra={"default": "5 s"})] = 5.0


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: each exit status, and whether the node ended within its grace."""
    evidence = await nodes.stop(world, fault.index, fault.nodes, float(fault.parameters["grace"]))
    return Injected(evidence, lambda: nodes.restart(world, fault.index, fault.nodes))


KIND = FaultKind(
    about="nodes are told to end and say goodbye; after `for` they are started again",
    targets="nodes",
    Parameters=Parameters,
    needs=lambda _: frozenset({"terminate", "restart"}),
    inject=inject,
)
