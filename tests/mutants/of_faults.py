"""Broken variants of faults that are orders, limits, or what devices live on: ignored, not healed, told wrongly."""

from dataclasses import replace
from typing import Any

from node_image.byzantine import Sender
from node_image.own_clock import OwnClock
from node_image.process_limits import ProcessLimits
from orchestrator.faults import battery, limits, memory, nodes, slow_close, thermal
from orchestrator.simulation.disk import VirtualDisk
from orchestrator.simulation.life import Life
from orchestrator.simulation.peers import Peers
from orchestrator.simulation.runtime import SimRuntime
from orchestrator.simulation.substrate import Simulation
from orchestrator.substrates import limits as kernel_limits
from tests.mutants.mutant import Mutant, does_nothing, says_so_but_does_nothing

MACHINES = "fedavg, machines"
DEVICES = "fedavg, devices"


def kills_at_once(_: Any) -> Any:
    async def terminate(self: Simulation, node: Any, grace_s: float) -> str:
        await self.kill(node)
        return f"{node.name}: ended within its grace of {grace_s:g} s"

    return terminate


def never_full(right: Any) -> Any:
    async def limit(self: Simulation, node: Any, resource: Any, most: int | None) -> str:
        said: str = await right(self, node, resource, most)
        self._placed[node.name].disk.full = False
        return said

    return limit


def full_for_ever(right: Any) -> Any:
    async def limit(self: Simulation, node: Any, resource: Any, most: int | None) -> str:
        said: str = await right(self, node, resource, most)
        self._placed[node.name].disk.full = True
        return said

    return limit


def saves_at_once(_: Any) -> Any:
    async def save(self: SimRuntime, state: Any) -> None:
        self._keep(self._copied(state), 10_000, 0.0)

    return save


def loses_both(right: Any) -> Any:
    def tear(self: VirtualDisk) -> str:
        said: str = right(self)
        self.state = self.before = None
        return said

    return tear


def loses_none(_: Any) -> Any:
    return lambda self: "its newest checkpoint torn; 1 before it"


def is_not_set_right(right: Any) -> Any:
    return lambda self, fault, wrong: right(self, fault, wrong) if wrong is not None else None


def set_wrong_by(**changes: Any) -> Any:
    def wrong(right: Any) -> Any:
        def set_wrong(self: OwnClock, fault: int, asked: Any) -> None:
            altered = {name: to(getattr(asked, name)) for name, to in changes.items()} if asked is not None else {}
            right(self, fault, asked and replace(asked, **altered))

        return set_wrong

    return wrong


def by_its_own_clock(right: Any) -> Any:
    return lambda self: self.own_clock.reads(right(self))


def ends_none(_: Any) -> Any:
    return lambda self, peer=None: sum(
        each.end is not None for each in self._channels.values() if peer in (None, each.peer)
    )


def does_not_notice(_: Any) -> Any:
    def reset(self: Peers, peer: str | None = None) -> int:
        ends = [each.end for each in self._channels.values() if each.end is not None and peer in (None, each.peer)]
        for end in ends:
            end.reset()
        return len(ends)

    return reset


def keeps_back(right: Any) -> Any:
    def release_records(self: SimRuntime) -> tuple[int, int]:
        outage = self._outage
        found: tuple[int, int] = (len(outage.late), outage.lost) if outage is not None else (0, 0)
        self._outage = None
        return found

    return release_records


def stays_cut(right: Any) -> Any:
    def release_records(self: SimRuntime) -> tuple[int, int]:
        outage = self._outage
        found: tuple[int, int] = right(self)
        self._outage = outage
        return found

    return release_records


def with_the_time_it_came(right: Any) -> Any:
    def release_records(self: SimRuntime) -> Any:
        if self._outage is not None:
            self._outage.late[:] = [(self.elapsed(), each[1], each[2], each[3]) for each in self._outage.late]
        return right(self)

    return release_records


def charged_at_once(right: Any) -> Any:
    async def cut(world: Any, fault: Any, cell: Any) -> None:
        await right(world, fault, cell)
        cell.full_at_s = world.substrate.now()

    return cut


def logs_alone(_: Any) -> Any:
    async def let_go(world: Any, fault: Any, chip: Any) -> None:
        world.log("unthrottled", {"fault": fault.index, "node": chip.name, "celsius": chip.celsius})
        chip.throttled_s, chip.since_s = chip.throttled_s + 1.0, None

    return let_go


async def _nothing(*_: Any, **__: Any) -> str:
    return "nothing"


def not_at_all(_: Any) -> Any:
    return _nothing


OF_FAULTS = {
    # stop
    "who is told to end is killed at once": Mutant(Simulation, "terminate", kills_at_once, MACHINES),
    "who is told to end lives on": Mutant(Simulation, "terminate", says_so_but_does_nothing, MACHINES),
    # disk
    "a full disk takes all": Mutant(Simulation, "limit", never_full, MACHINES),
    "a full disk stays full": Mutant(Simulation, "limit", full_for_ever, MACHINES),
    "a slow disk is as fast as ever": Mutant(SimRuntime, "save", saves_at_once, MACHINES),
    "a torn checkpoint is whole": Mutant(VirtualDisk, "tear", loses_none, MACHINES),
    "the checkpoint before a torn one is lost too": Mutant(VirtualDisk, "tear", loses_both, "a torn checkpoint"),
    # clock
    "a clock that is set wrong shows the right time": Mutant(OwnClock, "set_wrong", does_nothing, MACHINES),
    "a clock is not set right again": Mutant(OwnClock, "set_wrong", is_not_set_right, MACHINES),
    "a clock does not drift": Mutant(OwnClock, "set_wrong", set_wrong_by(drift=lambda _: 0.0), MACHINES),
    "records bear the time of a wrong clock": Mutant(SimRuntime, "elapsed", by_its_own_clock, MACHINES),
    # reset, slow_close
    "a reset ends no connection": Mutant(Peers, "reset", ends_none, MACHINES),
    "who resets a connection goes on using it": Mutant(Peers, "reset", does_not_notice, "connections that end"),
    "a slow close tells the peers": Mutant(slow_close, "cut", not_at_all, MACHINES),
    "a slow close leaves its cut": Mutant(slow_close, "mend", says_so_but_does_nothing, MACHINES),
    # metrics_down
    "records come though their way is cut": Mutant(SimRuntime, "cut_records", does_nothing, DEVICES),
    "records that were kept never come": Mutant(SimRuntime, "release_records", keeps_back, DEVICES),
    "the way of the records stays cut": Mutant(SimRuntime, "release_records", stays_cut, DEVICES),
    "late records bear the time at which they came": Mutant(
        SimRuntime, "release_records", with_the_time_it_came, DEVICES
    ),
    # battery
    "an empty battery goes unnoticed": Mutant(battery, "_cut", not_at_all, DEVICES),
    "an empty battery is charged at once": Mutant(battery, "_cut", charged_at_once, DEVICES),
    "who was charged is not started again": Mutant(nodes, "restart", says_so_but_does_nothing, DEVICES),
    "a battery is never charged": Mutant(battery, "_return", not_at_all, DEVICES),
    # thermal
    "heat throttles nobody": Mutant(thermal, "_throttle", not_at_all, "a device that gets hot"),
    "who is too hot is as fast as ever": Mutant(nodes, "slow", says_so_but_does_nothing, "a device that gets hot"),
    "a device gets hot at once": Mutant(
        thermal, "warmed", lambda _: lambda _celsius, towards, *_: towards, "a device that gets hot"
    ),
    "who has cooled is not let go": Mutant(thermal, "_let_go", logs_alone, "a device that cools"),
    "nothing ever cools": Mutant(
        thermal, "warmed", lambda right: lambda now, *rest: max(now, right(now, *rest)), "a device that cools"
    ),
    # byzantine
    "a liar tells the truth": Mutant(
        Sender, "passed", lambda _: lambda self, dest, kind, body: body, "a device that lies"
    ),
    # coordinator_twice
    "the first of two coordinators is not frozen": Mutant(Life, "freeze", does_nothing, "two coordinators"),
    "the first of two coordinators stays frozen": Mutant(
        Simulation, "release_superseded", says_so_but_does_nothing, "two coordinators"
    ),
    "the first of two coordinators outlives the fault": Mutant(
        Simulation, "end_superseded", says_so_but_does_nothing, "two coordinators"
    ),
    "the second coordinator begins anew": Mutant(SimRuntime, "restored", does_nothing, DEVICES),
    # memory, pids, descriptors: what a simulation does not have, so pretended kernels and true processes
    "of two limits the loosest holds": Mutant(limits, "min", lambda _: max, "two limits"),
    "a limit is not lifted": Mutant(limits, "loosen", says_so_but_does_nothing, "two limits"),
    "who ended for want of memory is left down": Mutant(limits, "_revive", says_so_but_does_nothing, "want of memory"),
    "memory is limited to twice what was asked": Mutant(
        memory, "round", lambda _: lambda most: round(2 * most), "want of memory"
    ),
    "a new life is not held to its limits": Mutant(kernel_limits, "renew", not_at_all, "limits of a new life"),
    "a former life's limits stay": Mutant(kernel_limits, "release", does_nothing, "limits of a new life"),
    "any death counts as one for want of memory": Mutant(
        kernel_limits, "_excused", lambda _: lambda *_: True, "what explains an end"
    ),
    "no death counts as one for want of memory": Mutant(
        kernel_limits, "_excused", lambda _: lambda *_: False, "what explains an end"
    ),
    "open files are not limited": Mutant(ProcessLimits, "tighten", lambda _: lambda *_: "as asked", "open files"),
    "open files stay limited": Mutant(ProcessLimits, "lift", lambda _: lambda *_: "as before", "open files"),
}
