"""degrade: links get worse in any way that a link can be bad, on top of what they are and of what other faults do."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, model_validator

from orchestrator.faults import links
from orchestrator.faults.base import FaultKind, FaultParameters, Injected, World
from orchestrator.links.shape import BurstLoss, LinkShape
from orchestrator.plan import PlannedFault
from orchestrator.units import Duration, Rate, Share, Size

LEAST_QUEUE_BYTES = 1500


class Burst(FaultParameters):
    """Gilbert-Elliott loss; see `links.shape.BurstLoss`."""

    to_bad: Share
    to_good: Share
    loss_good: Share = 0.0
    loss_bad: Share = 1.0


class Parameters(FaultParameters):
    """What changes; at least one.

    `rate`, or `rate_share` of the ordinary one; `add_delay` and `add_jitter`; `loss`, `duplicate`, `corrupt` and
    `reorder` by chance, each beside what is there already; `burst_loss` and `queue` in place of it.
    """

    rate: Annotated[Rate, Field(gt=0)] | None = None
    rate_share: Annotated[Share, Field(gt=0)] | None = None
    add_delay: Duration | None = None
    add_jitter: Duration | None = None
    loss: Share | None = None
    burst_loss: Burst | None = None
    duplicate: Share | None = None
    corrupt: Share | None = None
    reorder: Share | None = None
    queue: Annotated[Size, Field(ge=LEAST_QUEUE_BYTES)] | None = None

    @model_validator(mode="after")
    def _something(self) -> "Parameters":
        if self.rate is not None and self.rate_share is not None:
            raise ValueError("give rate or rate_share, not both")
        if all(getattr(self, name) is None for name in Parameters.model_fields):
            raise ValueError(f"nothing degrades; give one of {', '.join(Parameters.model_fields)}")
        return self


def worsened(shape: LinkShape, how: Mapping[str, Any]) -> LinkShape:
    """A link's shape with the changes of these parameters; two independent chances p and q make p + q - pq."""
    given = {name: value for name, value in how.items() if value is not None}
    changes: dict[str, Any] = {}
    if "rate" in given:
        changes |= {"rate_bps": given["rate"], "trace": None}
    if "rate_share" in given and shape.rate_bps is not None:
        changes["rate_bps"] = shape.rate_bps * given["rate_share"]
    for name, field in (("add_delay", "delay_s"), ("add_jitter", "jitter_s")):
        if name in given:
            changes[field] = getattr(shape, field) + given[name]
    for name in ("loss", "duplicate", "corrupt", "reorder"):
        if name in given:
            changes[name] = 1 - (1 - getattr(shape, name)) * (1 - given[name])
    if "burst_loss" in given:
        changes["burst_loss"] = BurstLoss(**given["burst_loss"])
    if "queue" in given:
        changes["queue_bytes"] = round(given["queue"])
    return replace(shape, **changes)


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: the shape read back from the shaper; at the heal, what the links dropped meanwhile, by reason."""
    before = await world.substrate.links()
    evidence = await links.hold(world, fault.index, fault.links, lambda shape: worsened(shape, fault.parameters))

    async def heal() -> str:
        now = await world.substrate.links()
        lost: dict[str, int] = {}
        for link_id in fault.links:
            for reason, count in now[link_id].dropped.items():
                lost[reason] = lost.get(reason, 0) + count - before[link_id].dropped.get(reason, 0)
        seen = ", ".join(f"{count} {reason}" for reason, count in sorted(lost.items()) if count) or "none"
        return f"packets dropped meanwhile: {seen}; {await links.release(world, fault.index, fault.links)}"

    return Injected(evidence, heal)


KIND = FaultKind(
    about="links get worse: rate, delay, jitter, loss, bursts, duplicates, corruption, reordering, queue",
    targets="links",
    Parameters=Parameters,
    needs=lambda _: frozenset({"shape"}),
    inject=inject,
)
