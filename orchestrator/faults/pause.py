"""pause: nodes freeze (cgroup freezer) and go on after `for` as if nothing had been.

A frozen process's kernel still acknowledges what peers send until its buffers are full; the simulation freezes a
node at its next await, with the same effect on what it sends.
"""

from orchestrator.faults import nodes
from orchestrator.faults.base import FaultKind, Injected, NoParameters, World
from orchestrator.plan import PlannedFault


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: the freezer's state, and at the heal the CPU time used while frozen."""
    evidence = await nodes.freeze(world, fault.index, fault.nodes)
    return Injected(evidence, lambda: nodes.thaw(world, fault.index, fault.nodes))


KIND = FaultKind(
    about="nodes freeze and later go on where they were",
    targets="nodes",
    Parameters=NoParameters,
    needs=lambda _: frozenset({"pause"}),
    inject=inject,
)
