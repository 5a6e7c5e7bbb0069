"""slow_close: nodes close their connections and nobody is told: what says so is lost, the peers' ends stay half-open.

As behind a router that has forgotten them, or a host that lost power and came back. A peer finds out when it sends next
(a reset comes back), when a new connection of the node takes the place of the old, or by its keepalive. Each time is an
instant: `for` only says when it is looked at what has become of it.
"""

from orchestrator.faults import links, orders
from orchestrator.faults.base import FaultKind, Injected, NoParameters, World, needs_learning, over_at_once
from orchestrator.faults.cutting import cut, mend
from orchestrator.faults.reset import connected_again, reconnects, tell_ended
from orchestrator.plan import PlannedFault

SILENT_S = 0.02  # until what says that a connection is closed has left the node, and met the cut


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: how many connections each node closed, and how many packets that told of it were dropped."""
    if world.substrate.now() + SILENT_S >= world.plan.stop_after_s:
        return Injected("the run ends sooner than what says so would have left: nothing was done", nothing)
    before = {name: reconnects(world, name) for name in fault.nodes}
    everybody = [node.name for node in world.plan.nodes]
    every_link = tuple(link.id for link in world.plan.links)
    dropped = await links.dropped(world, every_link, "partition")
    await cut(world, fault.index, frozenset((a, b) for a in fault.nodes for b in everybody if a != b))
    try:
        heard = {name: await orders.once(world, name, {"do": "reset"}) for name in fault.nodes}
        await world.substrate.sleep_until(world.substrate.now() + SILENT_S)
        lost = await links.dropped(world, every_link, "partition") - dropped
    finally:
        mended = await mend(world, fault.index)
    tell_ended(world, fault, heard, lost)

    async def heal() -> str:
        return "; ".join([await connected_again(world, name, before[name]) for name in fault.nodes])

    words = "; ".join(each.words for each in heard.values())
    return Injected(f"{words}; {lost} packets that told of it were dropped; {mended}", heal)


async def nothing() -> str:
    """The end of what never began."""
    return "nothing was done"


KIND = FaultKind(
    about="nodes close their connections and the peers are not told: half-open ends stay behind",
    targets="nodes",
    Parameters=NoParameters,
    needs=lambda _: frozenset({"order", "block"}),
    inject=inject,
    again=over_at_once,
    refuses=needs_learning,
)
