"""coordinator_twice: a second coordinator takes over while the first, taken for dead, is only frozen; then both live.

As when a standby takes over an address and a volume (which the first has no more: it neither listens nor saves): what
the devices send goes to the second, which answers for no connection of the first's. The second goes on from the
checkpoint. Then the first goes on, with all the connections that it believes in, until the fault ends and it is killed.
Only one may act: whatever the first sends, nobody takes in, and no device speaks to an earlier life of its coordinator
than it knows (node_image/handshake.py).
"""

from orchestrator.faults import links, orders
from orchestrator.faults.base import FaultKind, FaultParameters, Injected, World, needs_learning, over_at_once
from orchestrator.faults.cutting import cut, mend
from orchestrator.faults.slow_close import SILENT_S, nothing
from orchestrator.plan import Plan, PlannedFault
from orchestrator.units import Duration


class Parameters(FaultParameters):
    """`takeover`: how long the first is silent before the second starts; what comes meanwhile waits for the first."""

    takeover: Duration = 1.0


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: both processes, and who was moved over; at the heal, what the first tried and what came of it."""
    (name,), takeover_s = fault.nodes, float(fault.parameters["takeover"])
    if world.substrate.now() + takeover_s + SILENT_S >= world.plan.stop_after_s:
        return Injected("the run ends sooner than the second would have taken over: nothing was done", nothing)
    node, down = world.node(name), world.down_by.setdefault(name, set())
    for what, holders in (("down", down), ("frozen", world.frozen_by.get(name))):
        if holders:
            return Injected(f"{name}: {what} by fault {min(holders)}, nobody to supersede", nothing)
    if name in world.superseded_by:
        return Injected(f"{name}: already there twice by fault {world.superseded_by[name]}", nothing)
    world.superseded_by[name] = fault.index
    await orders.once(world, name, {"do": "isolate"})
    down.add(fault.index)  # until the second is there
    try:
        seen = [await world.substrate.supersede(node, takeover_s)]
    finally:
        down.discard(fault.index)
    if down:  # another fault has come that wants it dead
        seen.append(await world.substrate.kill(node))
    else:
        await orders.renew(world, name)
        seen += await _move_over(fault, world, name)
    if held := [each.name for each in world.plan.nodes if each.name != name and world.frozen_by.get(each.name)]:
        seen.append(f"{', '.join(held)} cannot be moved over while frozen, and would hear both: the first stays so too")
    else:
        seen.append(await world.substrate.release_superseded(node))

    async def heal() -> str:
        for standing in world.standing.values():
            standing.pop(fault.index, None)
        del world.superseded_by[name]
        return await world.substrate.end_superseded(node)

    return Injected("; ".join(seen), heal)


async def _move_over(fault: PlannedFault, world: World, name: str) -> list[str]:
    """End the devices' connections to the first, which hears nothing of it: its address is the second's."""
    devices = [node.name for node in world.plan.nodes if any(peer.name == name for peer in node.spec.peers)]
    every_link = tuple(link.id for link in world.plan.links)
    dropped = await links.dropped(world, every_link, "partition")
    await cut(world, fault.index, frozenset((device, name) for device in devices))
    try:
        order = {"do": "reset", "peer": name}
        heard = [await orders.stand(world, fault.index, device, order) for device in devices]
        await world.substrate.sleep_until(world.substrate.now() + SILENT_S)
        lost = await links.dropped(world, every_link, "partition") - dropped
    finally:
        await mend(world, fault.index)
    moved = sum(each.answer.get("connections_reset", 0) for each in heard)
    return [f"{moved} connections of devices moved over, {lost} packets that would have told the first were dropped"]


def refuses(fault: PlannedFault, plan: Plan) -> list[str]:
    """A container has a name of its own, which no second one can have."""
    problems = needs_learning(fault, plan)
    if any(node.name in fault.nodes and node.host == "container" for node in plan.nodes):
        problems.append("the coordinator is a container, which cannot be there twice; host: process")
    return problems


KIND = FaultKind(
    about="a second coordinator takes over while the first is frozen; then both live, and only one may act",
    targets="coordinator",
    Parameters=Parameters,
    needs=lambda _: frozenset({"order", "block", "restart", "supersede"}),
    inject=inject,
    again=over_at_once,
    refuses=refuses,
)
