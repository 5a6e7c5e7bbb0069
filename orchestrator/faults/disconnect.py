"""disconnect: every link of the nodes goes down, both ways; their processes live on."""

from orchestrator.faults import links
from orchestrator.faults.base import FaultKind, Injected, NoParameters, World
from orchestrator.plan import PlannedFault


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: links read back as down, and at the heal how many packets they dropped for it."""
    held = tuple(link.id for link in world.plan.links if {link.source, link.target} & set(fault.nodes))
    before = await links.dropped(world, held, "down")
    evidence = await links.hold(world, fault.index, held, None)

    async def heal() -> str:
        lost = await links.dropped(world, held, "down") - before
        return f"{lost} packets met a link that was down; {await links.release(world, fault.index, held)}"

    return Injected(evidence, heal)


KIND = FaultKind(
    about="all links of the nodes go down; the processes live on",
    targets="nodes",
    Parameters=NoParameters,
    needs=lambda _: frozenset({"shape"}),
    inject=inject,
)
