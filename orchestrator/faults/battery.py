"""battery: devices live on a charge, which their modelled joules drain. An empty one dies; recharged, it comes back.

All joules here are modelled by the device's profile (orchestrator/telemetry/energy.py), on every substrate: base, CPU
and radio. They are looked at every LOOK_S, so a device dies up to that much later than its charge says; the evidence
says how much it had drawn by then. A device that learns is told how much of its battery is left, whenever that is a
hundredth less: an algorithm may mind it (ELABiP's plasticity does).
"""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field, model_validator

from orchestrator.errors import RunBrokeError
from orchestrator.faults import nodes, orders
from orchestrator.faults.base import FaultKind, FaultParameters, Injected, World
from orchestrator.faults.repeating import Repeating
from orchestrator.plan import Plan, PlannedFault, PlannedNode
from orchestrator.telemetry.energy import device_energy
from orchestrator.units import Duration, Energy, Power, Share

LOOK_S = 0.25


class Parameters(FaultParameters):
    """A battery of `capacity` (left out: that of the device's profile), `charged` to this share when the fault begins.

    An empty one is full again after `recharge`, or after as long as `charge` takes; neither: it stays empty.
    """

    capacity: Annotated[Energy, Field(gt=0)] | None = None
    charged: Annotated[Share, Field(gt=0)] = 1.0
    recharge: Annotated[Duration, Field(gt=0)] | None = None
    charge: Annotated[Power, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "Parameters":
        if self.recharge is not None and self.charge is not None:
            raise ValueError("say recharge (how long) or charge (at which power), not both")
        return self


@dataclass
class Cell:
    """The battery of one device. `drawn_joules` since it was charged last, of `left_joules` that it had then."""

    node: PlannedNode
    left_joules: float
    drawn_joules: float = 0.0
    on_s: float = 0.0
    looked_s: float = 0.0
    before: float | None = None  # joules as modelled at the last look
    full_at_s: float | None = None  # while it is empty: when it comes back (inf: not by itself)
    known: float | None = None  # share that is left, as the device was told
    told: list[str] = field(default_factory=list)


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: the charge at the beginning; at the heal, what was drawn, when devices died of it and came back."""
    asked = fault.parameters
    cells = []
    for name in fault.nodes:
        node = world.node(name)
        capacity = capacity_joules(fault, node)
        cells.append(Cell(node, capacity * asked["charged"]))
    await _begin(world, cells)

    async def look() -> None:
        await _drain(world, cells)
        for cell in cells:
            if cell.full_at_s is None and cell.drawn_joules >= cell.left_joules:
                await _cut(world, fault, cell)
            elif cell.full_at_s is not None and world.substrate.now() >= cell.full_at_s:
                await _return(world, fault, cell)
            await _tell(world, fault, cell)

    looking = Repeating(world.substrate, LOOK_S, look, f"batteries of fault {fault.index}")

    async def heal() -> str:
        try:
            await looking.stop()
        finally:
            for cell in cells:
                if cell.full_at_s is not None:
                    await _return(world, fault, cell)
                await _forget(world, fault, cell)
        return "; ".join(_words(cell) for cell in cells)

    charges = ", ".join(f"{cell.node.name}: {cell.left_joules:g} J, modelled" for cell in cells)
    return Injected(charges, heal)


async def _begin(world: World, cells: list[Cell]) -> None:
    """What was before does not count: what it takes to start a node, for one."""
    for cell in cells:
        cell.looked_s, cell.before = world.substrate.now(), None
    await _drain(world, cells)


async def _drain(world: World, cells: list[Cell]) -> None:
    """Draw what each device's profile says of what it did since the last look. Who is down draws nothing."""
    uses, traffic, now_s = await world.substrate.uses(), await world.substrate.traffic(), world.substrate.now()
    for cell in cells:
        name = cell.node.name
        is_down = bool(world.down_by.get(name))
        cell.on_s += 0.0 if is_down else now_s - cell.looked_s
        cell.looked_s = now_s
        spent = device_energy(cell.node.profile, cell.on_s, uses[name].busy_s, traffic.get(name, []), now_s)
        total = sum(spent.values())
        if cell.before is not None and not is_down:
            cell.drawn_joules += total - cell.before
        cell.before = total


async def _cut(world: World, fault: PlannedFault, cell: Cell) -> None:
    """The charge is used up: the device dies."""
    name, at_s, asked = cell.node.name, world.substrate.now(), fault.parameters
    seen = await nodes.crash(world, fault.index, (name,))
    lasts_s = asked["recharge"]
    if asked["charge"] is not None:
        lasts_s = capacity_joules(fault, cell.node) / asked["charge"]
    cell.full_at_s = float("inf") if lasts_s is None else at_s + lasts_s
    cell.told.append(f"empty at {at_s:.2f} s after {cell.drawn_joules:.2f} J ({seen})")
    details = {"fault": fault.index, "node": name, "joules": cell.drawn_joules, "charge_joules": cell.left_joules}
    world.log("battery_empty", details)


async def _return(world: World, fault: PlannedFault, cell: Cell) -> None:
    """It is full again, or the fault is over."""
    name, at_s = cell.node.name, world.substrate.now()
    world.log("battery_charged", {"fault": fault.index, "node": name})
    seen = await nodes.restart(world, fault.index, (name,))
    cell.full_at_s, cell.drawn_joules, cell.left_joules = None, 0.0, capacity_joules(fault, cell.node)
    cell.told.append(f"charged at {at_s:.2f} s ({seen})")
    await _begin(world, [cell])


async def _tell(world: World, fault: PlannedFault, cell: Cell) -> None:
    """Let a device know what is left. One that cannot hear is told when it is back, or at the next hundredth."""
    left = round(max(0.0, cell.left_joules - cell.drawn_joules) / capacity_joules(fault, cell.node), 2)
    if left == cell.known or cell.node.workload is not None:  # programs of one's own have nobody who would listen
        return
    cell.known = left
    with suppress(RunBrokeError):  # it has just ended: its battery does not mind
        await orders.stand(world, fault.index, cell.node.name, {"do": "battery", "left": left})


async def _forget(world: World, fault: PlannedFault, cell: Cell) -> None:
    """The fault is over, and the device on mains again."""
    if cell.known is not None:
        with suppress(RunBrokeError):
            await orders.withdraw(world, fault.index, cell.node.name, {"do": "battery", "left": None})


def _words(cell: Cell) -> str:
    since = f"{cell.drawn_joules:.2f} J of {cell.left_joules:g} J drawn since" if cell.drawn_joules else ""
    told = [*cell.told, *([since] if since else [])]
    return f"{cell.node.name}: {', '.join(told) or 'nothing drawn'} (modelled)"


def capacity_joules(fault: PlannedFault, node: PlannedNode) -> float:
    """Of the fault, or of the device's profile; preflight has refused a device with neither."""
    return float(fault.parameters["capacity"] or node.profile.battery_joules or 0.0)


def refuses(fault: PlannedFault, plan: Plan) -> list[str]:
    """What is unknown is not zero: a device without figures has no battery that could be drained."""
    problems = []
    for node in plan.nodes:
        if node.name in fault.nodes and node.profile.power is None:
            problems.append(f"the profile of {node.name} ({node.profile.name}) has no power figures to drain it by")
        if node.name in fault.nodes and not capacity_joules(fault, node):
            problems.append(f"the profile of {node.name} ({node.profile.name}) has no battery; say capacity")
    return problems


KIND = FaultKind(
    about="devices live on a charge that their modelled joules drain; empty ones die, recharged ones come back",
    targets="nodes",
    Parameters=Parameters,
    needs=lambda _: frozenset({"kill", "restart", "order"}),
    inject=inject,
    forgets="how much its batteries had given: each begins anew with the charge that the plan gives it",
    refuses=refuses,
)
