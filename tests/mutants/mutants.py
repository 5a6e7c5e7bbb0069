"""Deliberately broken variants of Edgebed: a small wrong change each, put in by replacing one function for one run.

`survives` says why nobody can find one out from what a run writes down; an empty text: it must be found.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

from node_image import aggregate
from node_image.aggregate import CumulativeMean
from node_image.algorithms import dsgd, rounds, versions
from node_image.algorithms.versions import Versions
from node_image.byzantine import Sender
from node_image.inbox import Inbox
from node_image.outage import Outage
from node_image.runtime import Message
from orchestrator import summary
from orchestrator.faults import battery, coordinator_twice, nodes
from orchestrator.faults import schedule as fault_schedule
from orchestrator.links.link import Link
from orchestrator.rundir import RunDirectory
from orchestrator.simulation.life import Life
from orchestrator.simulation.network import Bins, Network
from orchestrator.simulation.peers import Channel, Peers
from orchestrator.simulation.runtime import SimRuntime
from orchestrator.simulation.said import Said
from orchestrator.simulation.substrate import Simulation
from orchestrator.telemetry import energy
from orchestrator.telemetry.collector import Collector
from tests.mutants.mutant import Mutant, Wrong, does_nothing, says_so_but_does_nothing
from tests.mutants.of_faults import OF_FAULTS


def every(number: int) -> Callable[[], bool]:
    """True every so many times that it is asked."""
    asked = count(1)
    return lambda: next(asked) % number == 0


def drops_an_update(right: Any) -> Any:
    unlucky = every(5)

    async def next_update(self: Versions) -> Any:
        update = await right(self)
        while unlucky():
            await self.send_model(update.sender)
            update = await right(self)
        return update

    return next_update


def forgets_an_update_of_a_round(right: Any) -> Any:
    unlucky = every(7)

    async def receive(node: Any, *arguments: Any) -> Message | None:
        message: Message | None = await right(node, *arguments)
        return None if message is not None and message.kind == "update" and unlucky() else message

    return receive


def applies_twice(right: Any) -> Any:
    async def advance(self: Versions, model: Any, ages: Any) -> None:
        await right(self, model, ages)
        await right(self, model, ages)

    return advance


def with_age(**changes: Callable[[Any], Any]) -> Wrong:
    def wrong(right: Any) -> Any:
        def read(self: Versions, message: Message) -> Any:
            update = right(self, message)
            return replace(update, age=replace(update.age, **{name: to(update.age) for name, to in changes.items()}))

        return read

    return wrong


def counts_the_first_packet_only(right: Any) -> Any:
    def admit_train(self: Link, packets: int, packet_bytes: int, *rest: Any) -> Any:
        before = self.delivered_bytes
        result = right(self, packets, packet_bytes, *rest)
        self.delivered_bytes = min(self.delivered_bytes, before + packet_bytes)
        return result

    return admit_train


def heals_nothing(right: Any) -> Any:
    return lambda self, pairs: right(self, pairs) if pairs else None


def leaves_links_as_they_are(right: Any) -> Any:
    def reshape(self: Network, planned: Any, shape: Any, *, up: bool) -> Any:
        is_heal = up and shape == planned.shape
        return self._links[planned.id] if is_heal else right(self, planned, shape, up=up)

    return reshape


def loses_what_came(right: Any) -> Any:
    unlucky = every(9)
    return lambda self, message: 0 if message.kind == "update" and unlucky() else right(self, message)


def takes_in_twice(right: Any) -> Any:
    unlucky = every(9)

    def take_in(self: Peers, what: Any) -> None:
        right(self, what)
        if unlucky():
            self._unread[what[1]] = what[0]
            right(self, what)

    return take_in


def takes_in_nothing(right: Any) -> Any:
    unlucky = every(9)
    return lambda self, what: None if unlucky() else right(self, what)


def the_newest_first(_: Any) -> Any:
    def take(self: Channel) -> Any:
        frame = self.outbox.pop()
        self._held_bytes -= frame.size_bytes
        return frame

    return take


def without_its_mac(right: Any) -> Any:
    def record(self: SimRuntime, metric: str, value: float, **labels: str) -> None:
        right(self, metric, value - 16 if metric == "sent_payload_bytes" else value, **labels)

    return record


def half(right: Any) -> Any:
    return lambda self, index, size_bytes: right(self, index, size_bytes // 2)


def leaves_it_on(_: Any) -> Any:
    def down(self: Collector, name: str, t: float) -> None:
        """The node goes on spending."""

    return down


def loses_an_event(right: Any) -> Any:
    unlucky = every(11)

    def event(self: RunDirectory, *arguments: Any) -> None:
        if unlucky():
            self._events += 1
        else:
            right(self, *arguments)

    return event


def a_second_late(right: Any) -> Any:
    async def due(fault: Any, world: Any, *rest: Any) -> Any:
        found = await right(fault, world, *rest)
        await world.substrate.sleep_until(world.substrate.now() + 1.0)
        return found

    return due


def makes_something_of_nothing(right: Any) -> Any:
    return lambda own, others, weights: right(own, others, weights) * own.dtype.type(1.01)


def with_value(of: str, factor: float) -> Wrong:
    def wrong(right: Any) -> Any:
        def record(self: SimRuntime, metric: str, value: float, **labels: str) -> None:
            right(self, metric, value * factor if metric == of else value, **labels)

        return record

    return wrong


def comes_early(right: Any) -> Any:
    def record(self: Said, node: str, t: float, metric: str, *rest: Any) -> None:
        right(self, node, t - 0.05 if metric == "received_payload_bytes" else t, metric, *rest)

    return record


def counts_duplicates(right: Any) -> Any:
    def admit_train(self: Link, packets: int, packet_bytes: int, *rest: Any) -> Any:
        before = self.duplicated_packets
        result = right(self, packets, packet_bytes, *rest)
        self.delivered_packets += self.duplicated_packets - before
        return result

    return admit_train


def stays_up(right: Any) -> Any:
    return lambda self, shape, now_s, *, up=True, trace=None: right(self, shape, now_s, up=True, trace=trace)


def acts_though_frozen(_: Any) -> Any:
    def run(self: Life, call: Any, *arguments: Any) -> None:
        if not self.ended:
            call(*arguments)

    return run


def sends_for_nothing(right: Any) -> Any:
    return lambda *arguments: replace(right(*arguments), tx=0.0)


def leaves_out_a_part(right: Any) -> Any:
    return lambda records, found: right(list(records)[:-20], found)


def wakes_early(right: Any) -> Any:
    async def sleep_until(self: Simulation, t: float) -> None:
        await right(self, t if t < 2.0 or t >= 10.0 else t - 0.5)

    return sleep_until


def forgets_the_second(right: Any) -> Any:
    async def one(fault: Any, *rest: Any) -> None:
        if fault.index != 1:
            await right(fault, *rest)

    return one


def shows_nothing(right: Any) -> Any:
    async def crash(*arguments: Any) -> str:
        await right(*arguments)
        return ""

    return crash


def keeps_the_first(right: Any) -> Any:
    async def save(self: SimRuntime, state: Any) -> None:
        if self._kept.state is None:
            await right(self, state)

    return save


def goes_back(right: Any) -> Any:
    def event(self: RunDirectory, t: float, name: str, details: Any) -> None:
        right(self, t - 1.0 if name == "fault_healed" else t, name, details)

    return event


def adds_an_infinite_weight(right: Any) -> Any:
    def mix(model: Any, update: Any, alpha: float) -> Any:
        mixed = right(model, update, alpha)
        mixed[0] = float("inf")
        return mixed

    return mix


def never_tells_the_truth_again(right: Any) -> Any:
    def misbehave(self: Sender, way: str | None) -> None:
        if way is not None:
            right(self, way)

    return misbehave


def doubles_joules(right: Any) -> Any:
    return lambda *arguments: {component: 2 * joules for component, joules in right(*arguments).items()}


def loses_without_a_word(right: Any) -> Any:
    unlucky = every(3)

    def take(self: Outage[Any], record: Any, size_bytes: int) -> None:
        if not unlucky():
            right(self, record, size_bytes)

    return take


def moves_nobody_over(_: Any) -> Any:
    async def move_over(*_: Any) -> list[str]:
        return ["3 connections of devices moved over"]

    return move_over


MUTANTS = {
    "the coordinator drops an update": Mutant(Versions, "next_update", drops_an_update),
    "a round forgets an update": Mutant(SimRuntime, "receive", forgets_an_update_of_a_round, "fedavg"),
    "a refused update is not told": Mutant(rounds, "refuse", does_nothing, "fedavg"),
    "an update is applied twice": Mutant(Versions, "advance", applies_twice),
    "staleness is one too little": Mutant(Versions, "_read", with_age(staleness=lambda age: max(0, age.staleness - 1))),
    "staleness is always 0": Mutant(Versions, "_read", with_age(staleness=lambda _: 0)),
    "an update's base is the one before": Mutant(
        Versions, "_read", with_age(base=lambda age: age.base - 1, staleness=lambda age: age.staleness + 1)
    ),
    "phases of a former life are taken for this one's": Mutant(
        versions, "round", lambda _: lambda _number: 0, "fedbuff, crashes"
    ),
    "a checkpoint is not found again": Mutant(SimRuntime, "restored", does_nothing, "fedbuff, crashes"),
    "bytes of a train are counted once": Mutant(Link, "admit_train", counts_the_first_packet_only),
    "what a link drops is not counted": Mutant(Link, "_count_dropped", does_nothing),
    "a node's bytes are counted by half": Mutant(Bins, "add", half),
    "sent messages are counted without their MAC": Mutant(SimRuntime, "record", without_its_mac),
    "a message that came is lost in the inbox": Mutant(Inbox, "put", loses_what_came),
    "a message is taken in twice": Mutant(Peers, "_take_in", takes_in_twice),
    "a message that arrived is never read": Mutant(Peers, "_take_in", takes_in_nothing),
    "the newest message leaves first": Mutant(Channel, "take", the_newest_first),
    "a message counts as received twice": Mutant(SimRuntime, "record", with_value("received_payload_bytes", 2.0)),
    "updates count as aggregated twice": Mutant(SimRuntime, "record", with_value("aggregated_updates", 2.0)),
    "a lost message is not accounted for": Mutant(Simulation, "_lost", does_nothing),
    "messages come before they left": Mutant(Said, "record", comes_early),
    "duplicates count as delivered": Mutant(Link, "admit_train", counts_duplicates),
    "a link that is down lets packets pass": Mutant(Link, "reshape", stays_up),
    "a frozen node goes on sending": Mutant(Life, "run", acts_though_frozen),
    "the radio's energy forgets what was sent": Mutant(energy, "radio_energy", sends_for_nothing),
    "the total leaves out a part": Mutant(summary, "_counters", leaves_out_a_part),
    "a fault ends before its time": Mutant(Simulation, "sleep_until", wakes_early),
    "a fault of the plan is forgotten": Mutant(fault_schedule, "_one", forgets_the_second),
    "a fault shows no evidence": Mutant(nodes, "crash", shows_nothing),
    "only the first checkpoint is kept": Mutant(SimRuntime, "save", keeps_the_first, "fedbuff, crashes"),
    "the log goes back in time": Mutant(RunDirectory, "event", goes_back),
    "a crash kills nobody": Mutant(Simulation, "kill", says_so_but_does_nothing),
    "who crashed is not started again": Mutant(nodes, "restart", says_so_but_does_nothing),
    "a pause stops nobody": Mutant(Life, "freeze", does_nothing),
    "a straggler is not slowed": Mutant(Life, "slow", does_nothing),
    "a partition cuts nobody off": Mutant(Network, "block", does_nothing),
    "a partition is not healed": Mutant(Network, "block", heals_nothing),
    "links are not healed": Mutant(Network, "reshape", leaves_links_as_they_are),
    "a fault begins a second late": Mutant(fault_schedule, "_due", a_second_late),
    "a fault is not logged": Mutant(RunDirectory, "event", loses_an_event),
    "a dead device spends energy": Mutant(Collector, "down", leaves_it_on),
    "a liar lies on after its time": Mutant(Sender, "misbehave", never_tells_the_truth_again, "fedavg, devices"),
    "an empty battery kills nobody": Mutant(Simulation, "kill", says_so_but_does_nothing, "fedavg, devices"),
    "a battery is drained twice as fast": Mutant(battery, "device_energy", doubles_joules, "fedavg, devices"),
    "records that were kept are lost": Mutant(Outage, "take", loses_without_a_word, "fedavg, devices"),
    "a second coordinator is not fenced from the first": Mutant(
        coordinator_twice, "_move_over", moves_nobody_over, "fedavg, devices"
    ),
    "gossip makes something of nothing": Mutant(dsgd, "blend", makes_something_of_nothing, "dsgd"),
    "a weight becomes infinite": Mutant(aggregate, "mix", adds_an_infinite_weight),
    "updates are averaged without their weights": Mutant(
        CumulativeMean,
        "add",
        lambda right: lambda self, vector, weight: right(self, vector, 1.0),
        "fedavg",
        survives="what a run writes down does not hold the models; the tests of the aggregation find it",
    ),
    **OF_FAULTS,
}
