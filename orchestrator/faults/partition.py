"""partition: parts of the network hear nothing of each other. `shape` says which parts, by the victims.

    sides   the victims (`nodes`, `group`, `share`...) and all others; `direction` is seen from the victims: `both`,
            `out` (nobody hears them) or `in` (they hear nobody)
    bridge  the victims and all others are two halves; the node `through` alone hears both, and is heard by both
    ring    each victim and the next in order of the plan, the last and the first, hear each other, and no other two
            victims; who is no victim is left as it was

Of the last two the plan lists every pair that is cut off. Packets are dropped by who sent them and who they are for:
nothing is routed around a cut.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import model_validator

from orchestrator.faults import links
from orchestrator.faults.base import FaultKind, FaultParameters, Injected, World
from orchestrator.faults.cutting import Pairs, cut, mend
from orchestrator.forms.base import Name
from orchestrator.plan import Plan, PlannedFault


class Parameters(FaultParameters):
    """`shape`: sides | bridge | ring; `direction` of sides: both | out | in; `through` of a bridge: its node."""

    shape: Literal["sides", "bridge", "ring"] = "sides"
    direction: Literal["both", "out", "in"] = "both"
    through: Name | None = None

    @model_validator(mode="after")
    def _fits(self) -> "Parameters":
        if (self.through is not None) != (self.shape == "bridge"):
            raise ValueError("through names the node that joins the halves: shape: bridge needs it, no other has it")
        if self.direction != "both" and self.shape != "sides":
            raise ValueError(f"direction is for shape: sides; a {self.shape} is cut both ways")
        return self


def pairs_cut(parameters: Mapping[str, Any], victims: Sequence[str], everybody: Sequence[str]) -> Pairs:
    """The (source, target) pairs that hear nothing; `everybody` in the order of the plan."""
    shape, direction = parameters.get("shape", "sides"), parameters.get("direction", "both")
    if shape == "ring":
        ring = [name for name in everybody if name in victims]
        apart = {
            (a, b)
            for place, a in enumerate(ring)
            for other, b in enumerate(ring)
            if (place - other) % len(ring) not in (0, 1, len(ring) - 1)
        }
        return frozenset(apart)
    neither = {parameters.get("through")}
    inside = set(victims) - neither
    outside = set(everybody) - inside - neither
    pairs: set[tuple[str, str]] = set()
    if direction in ("both", "out"):
        pairs |= {(a, b) for a in inside for b in outside}
    if direction in ("both", "in"):
        pairs |= {(b, a) for a in inside for b in outside}
    return frozenset(pairs)


def listed(
    parameters: Mapping[str, Any], victims: Sequence[str], everybody: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    """The pairs that the plan lists: of sides none, the victims and the direction say it all."""
    return () if parameters["shape"] == "sides" else tuple(sorted(pairs_cut(parameters, victims, everybody)))


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: the pairs read back as blocked; at the heal, how many packets were dropped for it."""
    pairs = pairs_cut(fault.parameters, fault.nodes, [node.name for node in world.plan.nodes])
    every_link = tuple(link.id for link in world.plan.links)
    before = await links.dropped(world, every_link, "partition")
    evidence = await cut(world, fault.index, frozenset(fault.pairs) or pairs)

    async def heal() -> str:
        lost = await links.dropped(world, every_link, "partition") - before
        return f"{lost} packets dropped; {await mend(world, fault.index)}"

    return Injected(evidence, heal)


def refuses(fault: PlannedFault, plan: Plan) -> list[str]:
    """A shape that cuts nobody off from anybody."""
    if pairs_cut(fault.parameters, fault.nodes, [node.name for node in plan.nodes]):
        return []
    shape = fault.parameters.get("shape", "sides")
    why = "of a ring of fewer than four all are neighbours" if shape == "ring" else "one of the sides has nobody"
    return [f"it cuts nobody off: {why}"]


KIND = FaultKind(
    about="parts of the network hear nothing of each other: two sides, halves joined by a bridge, or a ring",
    targets="nodes",
    Parameters=Parameters,
    needs=lambda _: frozenset({"block"}),
    inject=inject,
    refuses=refuses,
    pairs=listed,
)
