"""metrics_down: what nodes record does not reach the orchestrator for a time; the run goes on.

Records wait at the node (8 MiB of them) and come late, with the times at which they were made; or they are lost, and
then the run's figures lack them: its receipt says so and it counts as degraded. Events and answers still pass.
"""

from typing import Literal

from orchestrator.faults import orders
from orchestrator.faults.base import FaultKind, FaultParameters, Injected, World, needs_learning
from orchestrator.plan import PlannedFault


class Parameters(FaultParameters):
    """`records`: kept (they come when the path is back) | lost."""

    records: Literal["kept", "lost"] = "kept"


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: what the nodes confirm; at the heal, how many records of each are late or lost."""
    order = {"do": "records", "path": "cut", "keep": fault.parameters["records"] == "kept"}
    heard = [await orders.stand(world, fault.index, name, order) for name in fault.nodes]

    async def heal() -> str:
        seen = []
        for name in fault.nodes:
            healed = await orders.withdraw(world, fault.index, name, {"do": "records", "path": "up"})
            late, lost = healed.answer.get("late"), healed.answer.get("lost")
            if late is None:
                seen.append(f"{healed.words}: what it keeps comes when it goes on, or is lost if it died")
            else:
                world.log("records_delayed", {"fault": fault.index, "node": name, "late": late, "lost": lost})
                seen.append(f"{name}: {late} records late, {lost} lost")
        return "; ".join(seen)

    return Injected("; ".join(each.words for each in heard), heal)


KIND = FaultKind(
    about="records of the nodes do not reach the orchestrator: they come late, or are lost and counted",
    targets="nodes",
    Parameters=Parameters,
    needs=lambda _: frozenset({"order"}),
    inject=inject,
    forgets="which records its nodes had kept back, or lost, until then",
    refuses=needs_learning,
)
