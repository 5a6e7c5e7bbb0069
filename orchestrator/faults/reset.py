"""reset: all connections of the nodes end at one instant by a reset (RST), as a middlebox or a rebooted peer ends them.

What was under way is lost, both ends see an error at once, and whose turn it is dials again. Each time is an instant:
`for` only says when it is looked at what has become of it.
"""

from collections.abc import Mapping

from orchestrator.faults import orders
from orchestrator.faults.base import FaultKind, Injected, NoParameters, World, needs_learning, over_at_once
from orchestrator.plan import PlannedFault


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: how many connections each node ended; at the heal, how many it has again and who connected anew."""
    before = {name: reconnects(world, name) for name in fault.nodes}
    heard = {name: await orders.once(world, name, {"do": "reset"}) for name in fault.nodes}
    tell_ended(world, fault, heard)

    async def heal() -> str:
        return "; ".join([await connected_again(world, name, before[name]) for name in fault.nodes])

    return Injected("; ".join(each.words for each in heard.values()), heal)


def tell_ended(
    world: World, fault: PlannedFault, heard: Mapping[str, orders.Heard], untold_packets: int | None = None
) -> None:
    """Log how many connections each node ended, and how many packets that told its peers were dropped (None: none)."""
    for name, each in heard.items():
        if each.answer:
            ended = each.answer["connections_reset"]
            details = {"fault": fault.index, "node": name, "ended": ended, "untold_packets": untold_packets}
            world.log("connections_ended", details)


def reconnects(world: World, name: str) -> float:
    """Connections made again so far, by a node or to it, as far as the records have come."""
    return world.watch.total("reconnects", node=name) + world.watch.total("reconnects", peer=name)


async def connected_again(world: World, name: str, before: float) -> str:
    """What has become of a node's connections since there had been so many reconnects."""
    heard = await orders.once(world, name, {"do": "connections"})
    return f"{heard.words}; {reconnects(world, name) - before:g} reconnects recorded"


KIND = FaultKind(
    about="all connections of the nodes are ended by a reset (RST) at one instant, what is under way is lost",
    targets="nodes",
    Parameters=NoParameters,
    needs=lambda _: frozenset({"order"}),
    inject=inject,
    again=over_at_once,
    refuses=needs_learning,
)
