"""clock: the nodes' own clocks are wrong: by a jump (`skew`), by going too fast or too slow (`drift`), or both.

A process has no clock of its own, so the node's clock object is wrong (node_image/own_clock.py): what a node and its
algorithm compute from the time (`now`), and how long they sleep and wait. Records bear the run's time still, and
durations in them are by a timer that nobody sets, but for `update_age_s`, which an algorithm has from its clock. When
the fault is over the clock is set right: it jumps back.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from orchestrator.faults import orders
from orchestrator.faults.base import FaultKind, FaultParameters, Injected, World, needs_learning
from orchestrator.plan import PlannedFault
from orchestrator.units import Drift, Duration

EXCHANGES = 5  # of several the shortest counts, as in NTP: the offset is true to half of what it took


class Parameters(FaultParameters):
    """`skew`: a jump; `drift`: how much too fast from then on; with `direction: behind` back, and too slow."""

    skew: Annotated[Duration, Field(gt=0)] | None = None
    drift: Annotated[Drift, Field(gt=0)] | None = None
    direction: Literal["ahead", "behind"] = "ahead"

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.skew is None and self.drift is None:
            raise ValueError("how wrong is the clock? Say skew (200 ms), drift (100 ppm) or both")
        return self


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: each clock beside the orchestrator's, before and after it is set wrong, and so at the heal."""
    return await _set_wrong(fault, world, None)


async def _again(fault: PlannedFault, world: World) -> Injected:
    """A clock that goes wrong is as wrong as it had come to be. It cannot be read before it goes."""
    return await _set_wrong(fault, world, fault.at_s)


async def _set_wrong(fault: PlannedFault, world: World, since_s: float | None) -> Injected:
    """Wrong since then; None: since each is told, and read before and after."""
    sign = 1.0 if fault.parameters["direction"] == "ahead" else -1.0
    skew_s, drift = (sign * float(fault.parameters[key] or 0.0) for key in ("skew", "drift"))
    wrong = {"do": "clock", "fault": fault.index, "skew_s": skew_s, "drift": drift}
    right = {"do": "clock", "fault": fault.index, "skew_s": 0.0, "drift": 0.0, "since_s": 0.0}
    going = f" and goes {drift * 1e6:+g} ppm" if drift else ""
    seen, set_at_s = [], dict[str, float]()
    for name in fault.nodes:
        if since_s is not None:
            heard = await orders.stand(world, fault.index, name, {**wrong, "since_s": since_s})
            set_at_s[name] = since_s
            seen.append(f"{name}: clock set wrong since {since_s:g} s{going}" if heard.answer else heard.words)
            continue
        before, from_s = await _offset(world, name), world.substrate.now()
        await orders.stand(world, fault.index, name, {**wrong, "since_s": from_s})
        now = await _offset(world, name)
        set_at_s[name] = from_s
        _tell(world, fault, name, skew_s, before, now)
        seen.append(f"{name}: clock was {before}, is {now}{going}")

    async def heal() -> str:
        seen = []
        for name in fault.nodes:
            before, lasted_s = await _offset(world, name), world.substrate.now() - set_at_s[name]
            await orders.withdraw(world, fault.index, name, right)
            now = await _offset(world, name)
            _tell(world, fault, name, -skew_s - drift * lasted_s, before, now)
            seen.append(f"{name}: clock was {before}, is {now}")
        return "; ".join(seen)

    return Injected("; ".join(seen), heal)


@dataclass(frozen=True)
class Offset:
    """How far a node's clock is ahead of the orchestrator's, as measured; None: nobody could tell, `why`."""

    ahead_s: float | None
    accuracy_s: float = 0.0
    why: str = ""

    def __str__(self) -> str:
        if self.ahead_s is None:
            return f"not to be asked ({self.why})"
        return f"{self.ahead_s * 1e3:+.3f} ms ahead (to {self.accuracy_s * 1e3:.3f} ms)"


def _tell(world: World, fault: PlannedFault, name: str, asked_s: float, before: Offset, now: Offset) -> None:
    """Log by how much the clock was to move, and where it was before and after."""
    accuracy_s = before.accuracy_s + now.accuracy_s
    found = {"asked_s": asked_s, "was_ahead_s": before.ahead_s, "is_ahead_s": now.ahead_s, "accuracy_s": accuracy_s}
    world.log("clock_set", {"fault": fault.index, "node": name, **found})


async def _offset(world: World, name: str) -> Offset:
    best: tuple[float, float] | None = None
    for _ in range(EXCHANGES):
        asked_s = world.substrate.now()
        heard = await orders.once(world, name, {"do": "clock"})
        answered_s = world.substrate.now()
        if not heard.answer:
            return Offset(None, why=heard.words)
        took_s = answered_s - asked_s
        if best is None or took_s < best[0]:
            best = took_s, heard.answer["reads_s"] - (asked_s + answered_s) / 2
    assert best is not None, "there is at least one exchange"
    return Offset(best[1], best[0] / 2)


KIND = FaultKind(
    about="the nodes' own clocks jump, or go too fast or too slow",
    targets="nodes",
    Parameters=Parameters,
    needs=lambda _: frozenset({"order"}),
    inject=inject,
    again=_again,
    refuses=needs_learning,
)
