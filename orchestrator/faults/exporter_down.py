"""exporter_down: whoever scrapes the run's live metrics gets none for a time; the run and its records go on as ever.

`how: refuses`, as where the exporter has died: connections to its port are refused; `hangs`: they are taken, and no
answer comes. Prometheus shows a gap then, and what its rules make of one is what this is for. Nothing is lost for the
run itself: its records do not go this way.
"""

import asyncio
from http.client import HTTPException
from typing import Literal
from urllib.error import URLError
from urllib.request import urlopen

from orchestrator.errors import RunBrokeError
from orchestrator.faults.base import FaultKind, FaultParameters, Injected, World
from orchestrator.plan import PlannedFault

ASKED_FOR_S = 0.5  # that an answer may take, which takes milliseconds otherwise
ANSWERED_WITHIN_S = 5.0  # once it should answer again, on a busy machine


class Parameters(FaultParameters):
    """`how`: refuses | hangs."""

    how: Literal["refuses", "hangs"] = "refuses"


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: the endpoint was asked and did not answer; at the heal, that it answers."""
    exporter = world.exporter
    if exporter is None:
        raise RunBrokeError("this run serves no live metrics that could go away (see its warnings)")
    held = world.deaf_by
    if not held:
        await asyncio.to_thread(exporter.go_deaf, fault.parameters["how"])
    also = f"already deaf by fault {min(held)}; " if held else ""
    held.add(fault.index)
    answered, words = await _asked(exporter.url, ASKED_FOR_S)
    world.log("exporter_asked", {"fault": fault.index, "should_answer": False, "answered": answered})

    async def heal() -> str:
        held.discard(fault.index)
        if held:
            return f"still deaf by fault {min(held)}"
        await asyncio.to_thread(exporter.hear_again)
        answered, words = await _asked(exporter.url, ANSWERED_WITHIN_S)
        world.log("exporter_asked", {"fault": fault.index, "should_answer": True, "answered": answered})
        return words

    return Injected(also + words, heal)


async def _asked(url: str, within_s: float) -> tuple[bool, str]:
    """Whether the endpoint answers, and that in words."""

    def ask() -> tuple[bool, str]:
        try:
            with urlopen(url, timeout=within_s) as answer:
                return True, f"{url} answered {answer.status} with {len(answer.read())} bytes"
        except (URLError, OSError, HTTPException) as error:
            return False, f"{url} did not answer within {within_s:g} s: {getattr(error, 'reason', error)}"

    return await asyncio.to_thread(ask)


KIND = FaultKind(
    about="the run's live metrics are not to be had: their endpoint refuses or hangs, the run goes on",
    targets="run",
    Parameters=Parameters,
    needs=lambda _: frozenset({"scrape"}),
    inject=inject,
)
