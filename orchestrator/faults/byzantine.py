"""byzantine: devices send bad updates: altered between the algorithm and the wire, whatever the algorithm is."""

from collections import Counter
from typing import Literal

from orchestrator.faults import orders
from orchestrator.faults.base import FaultKind, FaultParameters, Injected, World, needs_learning
from orchestrator.plan import PlannedFault


class Parameters(FaultParameters):
    """`send`: nan | huge | wrong_shape | stale | replayed | sign_flip (node_image/byzantine.py says what each is)."""

    send: Literal["nan", "huge", "wrong_shape", "stale", "replayed", "sign_flip"]


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: what the nodes confirm; at the heal, how many messages were altered, and what others refused of them.

    A node that died meanwhile is counted by its records. What was refused is known from records alone, and those of the
    last 0.2 s are still on their way then: the run's own figures have them too.
    """
    before = {name: _refused(world, name) for name in fault.nodes}
    told = {name: world.watch.total("altered_messages", node=name) for name in fault.nodes}
    order = {"do": "misbehave", "send": fault.parameters["send"]}
    began = {name: await orders.stand(world, fault.index, name, order) for name in fault.nodes}

    async def heal() -> str:
        undo = {"do": "misbehave", "send": None}
        seen = []
        for name in fault.nodes:
            healed = await orders.withdraw(world, fault.index, name, undo)
            recorded = world.watch.total("altered_messages", node=name) - told[name]
            count = max(recorded, healed.answer.get("altered", 0) - began[name].answer.get("altered", 0))
            refused = _refused(world, name) - before[name]
            reasons = ", ".join(f"{number:g} {reason}" for reason, number in sorted(refused.items())) or "none"
            seen.append(f"{name}: {count:g} messages altered, refused by others: {reasons}; {healed.words}")
        return "; ".join(seen)

    return Injected("; ".join(each.words for each in began.values()), heal)


def _refused(world: World, name: str) -> Counter[str]:
    """What others have refused of a node so far, by reason."""
    return Counter(world.watch.by("discarded_updates", "reason", peer=name))


KIND = FaultKind(
    about="devices send bad updates (NaN, huge, of a wrong shape, stale, replayed, of the opposite sign)",
    targets="nodes",
    Parameters=Parameters,
    needs=lambda _: frozenset({"order"}),
    inject=inject,
    refuses=needs_learning,
)
