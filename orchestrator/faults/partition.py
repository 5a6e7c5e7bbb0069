"""partition: two sides of the network hear nothing of each other, both ways or one.

The sides are the victims (`nodes`, `group`, `share`...) and all others. `direction` is seen from the victims: `both`,
`out` (nobody hears them) or `in` (they hear nobody).
"""

from typing import Literal

from orchestrator.faults import links
from orchestrator.faults.base import FaultKind, FaultParameters, Injected, World
from orchestrator.plan import PlannedFault


class Parameters(FaultParameters):
    """`direction`: both | out | in."""

    direction: Literal["both", "out", "in"] = "both"


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: the pairs read back as blocked; at the heal, how many packets were dropped for it."""
    inside = set(fault.nodes)
    outside = {node.name for node in world.plan.nodes} - inside
    direction = fault.parameters["direction"]
    pairs: set[tuple[str, str]] = set()
    if direction in ("both", "out"):
        pairs |= {(a, b) for a in inside for b in outside}
    if direction in ("both", "in"):
        pairs |= {(b, a) for a in inside for b in outside}
    every_link = tuple(link.id for link in world.plan.links)
    before = await links.dropped(world, every_link, "partition")
    world.blocked[fault.index] = frozenset(pairs)
    evidence = await world.substrate.block(frozenset().union(*world.blocked.values()))

    async def heal() -> str:
        lost = await links.dropped(world, every_link, "partition") - before
        del world.blocked[fault.index]
        return f"{lost} packets dropped; {await world.substrate.block(frozenset().union(*world.blocked.values()))}"

    return Injected(evidence, heal)


KIND = FaultKind(
    about="the nodes and all others hear nothing of each other, both ways or one",
    targets="nodes",
    Parameters=Parameters,
    needs=lambda _: frozenset({"block"}),
    inject=inject,
)
