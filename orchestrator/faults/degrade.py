"""degrade: links get worse: a share of their rate, more delay, more loss."""

from dataclasses import replace

from pydantic import model_validator

from orchestrator.faults import links
from orchestrator.faults.base import FaultKind, FaultParameters, Injected, World
from orchestrator.links.shape import LinkShape
from orchestrator.plan import PlannedFault
from orchestrator.units import Duration, Rate, Share


class Parameters(FaultParameters):
    """What changes: `rate` (or `rate_share` of the ordinary one), `add_delay`, `loss`. At least one."""

    rate: Rate | None = None
    rate_share: Share | None = None
    add_delay: Duration | None = None
    loss: Share | None = None

    @model_validator(mode="after")
    def _something(self) -> "Parameters":
        if self.rate is not None and self.rate_share is not None:
            raise ValueError("give rate or rate_share, not both")
        if all(value is None for value in (self.rate, self.rate_share, self.add_delay, self.loss)):
            raise ValueError("nothing degrades; give rate, rate_share, add_delay or loss")
        return self


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: the shape read back from the shaper."""
    wanted = fault.parameters

    def worse(shape: LinkShape) -> LinkShape:
        if wanted.get("rate") is not None:
            shape = replace(shape, rate_bps=wanted["rate"], trace=None)
        if wanted.get("rate_share") is not None and shape.rate_bps is not None:
            shape = replace(shape, rate_bps=shape.rate_bps * wanted["rate_share"])
        if wanted.get("add_delay") is not None:
            shape = replace(shape, delay_s=shape.delay_s + wanted["add_delay"])
        if wanted.get("loss") is not None:
            shape = replace(shape, loss=1 - (1 - shape.loss) * (1 - wanted["loss"]))
        return shape

    evidence = await links.hold(world, fault.index, fault.links, worse)
    return Injected(evidence, lambda: links.release(world, fault.index, fault.links))


KIND = FaultKind(
    about="links get worse: rate, delay, loss",
    targets="links",
    Parameters=Parameters,
    needs=lambda _: frozenset({"shape"}),
    inject=inject,
)
