"""crash: nodes die at once (kill -9) and, after `for`, are started again with nothing but their checkpoint."""

from orchestrator.faults import nodes
from orchestrator.faults.base import FaultKind, Injected, NoParameters, World
from orchestrator.plan import PlannedFault


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: the wait status of each process."""
    evidence = await nodes.crash(world, fault.index, fault.nodes)
    return Injected(evidence, lambda: nodes.restart(world, fault.index, fault.nodes))


KIND = FaultKind(
    about="nodes die at once (kill -9); after `for` they are started again",
    targets="nodes",
    Parameters=NoParameters,
    needs=lambda _: frozenset({"kill", "restart"}),
    inject=inject,
)
COORDINATOR = FaultKind(
    about="the coordinator dies at once; after `for` it goes on from its checkpoint",
    targets="coordinator",
    Parameters=NoParameters,
    needs=lambda _: frozenset({"kill", "restart"}),
    inject=inject,
)
