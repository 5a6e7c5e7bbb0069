"""thermal: devices get hot as they compute, and compute slower until they have cooled: throttling, modelled.

Temperature is that of one heat capacity with one way for heat to leave (first-order RC). It tends to the ambient one
plus `rise` times the share of the time that the device's one compute thread is busy at full speed; a throttled device
is as busy, and heats by its speed. The share is measured; what heat it makes is the scenario's word.

A `curve` (a CSV file, see orchestrator/temperatures.py) gives the ambient temperature over the time; or that of the
chip itself, as it was measured on a board: then nothing is modelled, and what the device does changes nothing.
"""

from dataclasses import dataclass, field
from math import exp
from typing import Annotated

from pydantic import Field, PlainSerializer, model_validator

from orchestrator.faults import nodes
from orchestrator.faults.base import FaultKind, FaultParameters, Injected, World
from orchestrator.faults.repeating import Repeating
from orchestrator.forms.base import read_path
from orchestrator.plan import PlannedFault
from orchestrator.temperatures import TemperatureFile, celsius_at, find_temperatures
from orchestrator.units import Duration, Share, Temperature

LOOKS_A_TIME_CONSTANT = 20
LEAST_LOOK_S, MOST_LOOK_S = 0.1, 1.0


Curve = Annotated[
    TemperatureFile,
    read_path("a CSV file of temperatures", find_temperatures),
    PlainSerializer(lambda file: file.path, return_type=str),
]


class Parameters(FaultParameters):
    """Above `threshold` a device keeps `speed` of its speed, until it is `hysteresis` below.

    It begins at `ambient` (or as `curve` says); computing all the time would in the end add `rise`, and 63 % of that in
    `time_constant`.
    """

    threshold: Temperature
    speed: Annotated[Share, Field(gt=0, lt=1)]
    hysteresis: Temperature = 5.0
    ambient: Temperature = 25.0
    curve: Curve | None = None
    rise: Annotated[Temperature, Field(gt=0)] | None = None
    time_constant: Annotated[Duration, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _can_happen(self) -> "Parameters":
        if self.curve is not None and "ambient" in self.model_fields_set:
            raise ValueError("say ambient or curve, not both")
        coldest = hottest = self.ambient
        if self.curve is not None:
            degrees = [celsius for _, celsius in self.curve.points]
            coldest, hottest = min(degrees), max(degrees)
        if self.curve is not None and self.curve.whose == "chip":
            if self.rise is not None or self.time_constant is not None:
                raise ValueError(
                    "rise and time_constant are of the model, and this curve is the chip's own temperature"
                )
            if hottest <= self.threshold:
                raise ValueError("the curve does not come to threshold: it would never throttle")
            return self
        if self.rise is None or self.time_constant is None:
            raise ValueError("rise and time_constant are required: how hot does it get, and how fast?")
        if hottest + self.rise <= self.threshold:
            raise ValueError("ambient and rise together do not come to threshold: it would never throttle")
        if self.threshold - self.hysteresis <= coldest:
            raise ValueError("threshold less hysteresis is not above ambient: it would never cool down to that")
        return self


def warmed(celsius: float, towards: float, passed_s: float, time_constant_s: float) -> float:
    """Temperature after so long: dT/dt = (towards - T) / time constant, solved exactly for a constant `towards`."""
    return towards + (celsius - towards) * exp(-passed_s / time_constant_s)


@dataclass
class Chip:
    """One device's temperature, and since when it throttles."""

    name: str
    celsius: float
    worked_s: float
    hottest: float
    source: str = "modelled"
    since_s: float | None = None
    throttled_s: float = 0.0
    told: list[str] = field(default_factory=list)


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: the temperature at the beginning; at the heal, when devices throttled, and what confirmed it."""
    asked = fault.parameters
    uses = await world.substrate.uses()
    looked_s = began_s = world.substrate.now()
    curve = asked.get("curve")
    is_traced, source = curve is not None and curve["whose"] == "chip", "modelled"
    if curve is not None:
        source = "by its curve" if is_traced else "modelled, the air by its curve"

    def given(t: float) -> float:
        """What no model says: the temperature of the air, or the chip's own where that is the curve."""
        return asked["ambient"] if curve is None else celsius_at(curve["points"], t - began_s)

    chips = [Chip(name, given(began_s), uses[name].worked_s, given(began_s), source) for name in fault.nodes]

    async def look() -> None:
        nonlocal looked_s
        uses, now_s = await world.substrate.uses(), world.substrate.now()
        passed_s, looked_s = now_s - looked_s, now_s
        for chip in chips:
            worked_s = uses[chip.name].worked_s
            share = min(1.0, max(0.0, (worked_s - chip.worked_s) / passed_s)) if passed_s > 0 else 0.0
            chip.worked_s = worked_s
            if is_traced:
                chip.celsius = given(now_s)
            else:
                towards = given(now_s) + asked["rise"] * share
                chip.celsius = warmed(chip.celsius, towards, passed_s, asked["time_constant"])
            chip.hottest = max(chip.hottest, chip.celsius)
            await _throttle(world, fault, chip)

    every_s = LEAST_LOOK_S
    if not is_traced:
        every_s = min(MOST_LOOK_S, max(LEAST_LOOK_S, asked["time_constant"] / LOOKS_A_TIME_CONSTANT))
    looking = Repeating(world.substrate, every_s, look, f"temperatures of fault {fault.index}")

    async def heal() -> str:
        try:
            await looking.stop()
        finally:
            for chip in chips:
                if chip.since_s is not None:
                    await _let_go(world, fault, chip)
        return "; ".join(_words(chip) for chip in chips)

    return Injected(", ".join(f"{chip.name}: {chip.celsius:g} °C, {source}" for chip in chips), heal)


async def _throttle(world: World, fault: PlannedFault, chip: Chip) -> None:
    """Slow it down or let it go on, where its temperature says so. A frozen one cannot be told, and cools anyway."""
    asked = fault.parameters
    if world.frozen_by.get(chip.name):
        return
    if chip.since_s is None and chip.celsius > asked["threshold"]:
        seen = await nodes.slow(world, fault.index, (chip.name,), asked["speed"])
        chip.since_s = world.substrate.now()
        world.log("throttled", {"fault": fault.index, "node": chip.name, "celsius": chip.celsius, "evidence": seen})
        chip.told.append(seen)
    elif chip.since_s is not None and chip.celsius < asked["threshold"] - asked["hysteresis"]:
        await _let_go(world, fault, chip)


async def _let_go(world: World, fault: PlannedFault, chip: Chip) -> None:
    assert chip.since_s is not None, "asked before"
    world.log("unthrottled", {"fault": fault.index, "node": chip.name, "celsius": chip.celsius})
    chip.throttled_s += world.substrate.now() - chip.since_s
    chip.since_s = None
    await nodes.slow(world, fault.index, (chip.name,), 1.0)


def _words(chip: Chip) -> str:
    times = f"throttled {len(chip.told)} times, {chip.throttled_s:.2f} s in all" if chip.told else "never throttled"
    first = f" ({chip.told[0]})" if chip.told else ""
    return f"{chip.name}: {times}{first}, {chip.hottest:.1f} °C at most ({chip.source})"


KIND = FaultKind(
    about="devices that compute get hot, by a model, and keep a share of their speed until they have cooled",
    targets="nodes",
    Parameters=Parameters,
    needs=lambda _: frozenset({"cpu"}),
    inject=inject,
    forgets="how warm its devices were: each begins anew at the ambient temperature",
)
