"""dropout: devices leave and may return. `by` says how: crash (they forget), pause (frozen), disconnect (links)."""

from collections.abc import Mapping
from typing import Any, Literal

from orchestrator.faults import crash, disconnect, pause
from orchestrator.faults.base import FaultKind, FaultParameters, Injected, World
from orchestrator.plan import PlannedFault

WAYS = {"crash": crash.KIND, "pause": pause.KIND, "disconnect": disconnect.KIND}


class Parameters(FaultParameters):
    """`by`: crash | pause | disconnect."""

    by: Literal["crash", "pause", "disconnect"] = "crash"


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: that of the way chosen, with the way's name before it."""
    way = fault.parameters["by"]
    injected = await WAYS[way].inject(fault, world)
    return Injected(f"by {way}: {injected.evidence}", injected.heal)


def _needs(parameters: Mapping[str, Any]) -> frozenset[str]:
    return WAYS[parameters["by"]].needs({})


KIND = FaultKind(
    about="devices leave (by crash, pause or disconnect) and may return",
    targets="nodes",
    Parameters=Parameters,
    needs=_needs,
    inject=inject,
)
