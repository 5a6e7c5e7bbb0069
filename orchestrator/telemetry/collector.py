"""The collector: what nodes say and what the substrate counts become records; views of them are fed from here."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from node_image.records import METRICS, Record
from orchestrator.plan import Plan, PlannedNode
from orchestrator.rundir import RunDirectory
from orchestrator.so_far import SoFar, closed, together
from orchestrator.substrates.base import LinkCount, NodeExit, NodeLine, NodeUse, Substrate
from orchestrator.telemetry.energy import device_energy
from orchestrator.terminal import RunState

Event = Callable[[float, str, dict[str, Any]], None]


class View(Protocol):
    """Something that looks at records while a run lasts (the OpenMetrics endpoint; faults that wait for a value)."""

    def add(self, node: str | None, record: Record) -> None:
        """One more record; `node` None: of the orchestrator."""


@dataclass
class _Node:
    """What is known of a node while the run lasts."""

    planned: PlannedNode
    up_since: float | None = None
    up_s: float = 0.0
    last: dict[str, float] = field(default_factory=dict)  # orchestrator counters as last recorded

    def on_s(self, now: float) -> float:
        """Seconds it has been up so far."""
        return self.up_s + (now - self.up_since if self.up_since is not None else 0.0)


class Collector:
    """Turns lines, exits and counters into records. One a run; also knows the run's present state.

    `counted`: what the links had counted in former lives of a run that was killed.
    """

    def __init__(
        self, plan: Plan, directory: RunDirectory, views: Sequence[View], event: Event, counted: SoFar | None = None
    ) -> None:
        self._plan = plan
        self._directory = directory
        self._views = views
        self._event = event
        self._nodes = {node.name: _Node(node) for node in plan.nodes}
        self._awaited = ending(plan)
        self._ends_itself = bool(self._awaited)
        self._links: dict[str, LinkCount] = {} if counted is None else dict(counted.links)
        self._before = {name: closed(count) for name, count in self._links.items()}
        self._accuracy: dict[str, float] = {}
        self._payload_bytes = 0.0
        self._wire_bytes = self._wire_before = 0.0
        self._joules: float | None = None
        self._joules_before: float | None = None
        self._round: int | None = None
        self.died: list[NodeExit] = []
        self.bad_lines = 0

    def remember(self, records: Iterable[tuple[str | None, Record]], lived: Iterable[str], at_s: float) -> None:
        """Know what was recorded in former lives of the run, and that those who lived were killed with it."""
        for name, record in records:
            self._note(name, record)
            if record.metric == "sent_wire_bytes":
                self._wire_before += record.value
            elif record.metric == "energy_joules" and record.meter is None:
                self._joules_before = (self._joules_before or 0.0) + record.value
            for view in self._views:
                view.add(name, record)
        for name in lived:
            self._own(Record(at_s, "node_up", 0.0, {"node": name}))

    def up(self, name: str, t: float) -> None:
        """A node runs from now on."""
        self._nodes[name].up_since = t
        self._own(Record(t, "node_up", 1.0, {"node": name}))

    def down(self, name: str, t: float) -> None:
        """A node runs no more (from now on)."""
        node = self._nodes[name]
        if node.up_since is not None:
            node.up_s += t - node.up_since
            node.up_since = None
            self._own(Record(t, "node_up", 0.0, {"node": name}))

    def take(self, item: NodeLine | NodeExit, t: float) -> None:
        """A line or the exit of a node."""
        if isinstance(item, NodeExit):
            self._exit(item, t)
            return
        try:
            if '"event"' in item.line:
                raw = json.loads(item.line)
                if isinstance(raw, dict) and "event" in raw:
                    self._node_event(item.node, raw, t)
                    return
            self._node_record(item.node, Record.from_line(item.line), item.line)
        except ValueError as error:
            self.bad_lines += 1
            if self.bad_lines <= 10:
                self._event(t, "bad_line", {"node": item.node, "line": item.line[:200], "error": str(error)})

    def measured(self, record: Record) -> None:
        """What a meter says of the machine itself: no node's, and no part of the modelled joules."""
        self._own(record)

    def state(self) -> RunState:
        """What the display shows."""
        devices = [node for node in self._nodes.values() if node.planned.role == "device"]
        accuracy: float | None = None
        if self._accuracy:
            coordinator = [value for name, value in self._accuracy.items() if self._role(name) == "coordinator"]
            values = coordinator or list(self._accuracy.values())
            accuracy = sum(values) / len(values)
        return RunState(
            devices_up=sum(node.up_since is not None for node in devices),
            devices=len(devices),
            accuracy=accuracy,
            payload_bytes=self._payload_bytes,
            wire_bytes=self._wire_bytes,
            joules=self._joules,
            round=self._round,
        )

    def finished(self) -> bool:
        """Whether the run has come to its own end: all that end it have come to theirs."""
        return self._ends_itself and not self._awaited

    @property
    def links(self) -> dict[str, LinkCount]:
        """The links' counters as they were when read last."""
        return self._links

    async def sample(self, substrate: Substrate) -> float:
        """Read the substrate's counters and write down what has grown since the last time; the time of the records."""
        t = round(substrate.now(), 6)
        others = await substrate.background()  # before the traffic that it is part of
        links, traffic, uses = await substrate.links(), await substrate.traffic(), await substrate.uses()
        self._sample_links(t, {name: self._total(name, count) for name, count in links.items()})
        wire = 0.0
        joules: dict[str, float] = {}
        for name, node in self._nodes.items():
            bins = traffic.get(name, [])
            sent, received = sum(bin_[1] for bin_ in bins), sum(bin_[2] for bin_ in bins)
            sent_of_others, received_of_others = others.get(name, (0, 0))
            own = max(0, sent - sent_of_others)  # a packet may have been sent that the link has not taken yet
            wire += own
            self._grow(t, node, "sent_wire_bytes", own)
            self._grow(t, node, "received_wire_bytes", received - received_of_others)
            self._grow(t, node, "sent_background_bytes", sent_of_others)
            self._grow(t, node, "received_background_bytes", received_of_others)
            use = uses.get(name)
            if use is not None:
                self._sample_use(t, node, use)
                energy = device_energy(node.planned.profile, node.on_s(t), use.busy_s, bins, t)
                for component, value in energy.items():
                    joules[f"{name} {component}"] = value
                    self._grow(t, node, "energy_joules", value, component=component, source="model")
        self._wire_bytes = self._wire_before + wire
        if joules or self._joules_before is not None:
            self._joules = (self._joules_before or 0.0) + sum(joules.values())
        return t

    def _total(self, name: str, now: LinkCount) -> LinkCount:
        return together(self._before[name], now) if name in self._before else now

    def _sample_links(self, t: float, links: dict[str, LinkCount]) -> None:
        empty = LinkCount(0, 0, 0, 0, {})
        for name, now in links.items():
            was = self._links.get(name, empty)
            if now.offered_bytes != was.offered_bytes:
                self._own(Record(t, "link_offered_bytes", now.offered_bytes - was.offered_bytes, {"link": name}))
            if now.delivered_bytes != was.delivered_bytes:
                self._own(Record(t, "link_delivered_bytes", now.delivered_bytes - was.delivered_bytes, {"link": name}))
            for reason, count in now.dropped.items():
                grown = count - was.dropped.get(reason, 0)
                if grown:
                    self._own(Record(t, "link_dropped_packets", grown, {"link": name, "reason": reason}))
        self._links = links

    def _sample_use(self, t: float, node: _Node, use: NodeUse) -> None:
        self._grow(t, node, "cpu_s", use.cpu_s)
        self._grow(t, node, "cpu_throttled_s", use.throttled_s)
        if use.memory_bytes:
            self._own(Record(t, "memory_bytes", use.memory_bytes, {"node": node.planned.name}))

    def _grow(self, t: float, node: _Node, metric: str, total: float, **labels: str) -> None:
        key = metric + "".join(labels.values())
        grown = total - node.last.get(key, 0.0)
        if grown > 1e-9:
            node.last[key] = total
            self._own(Record(t, metric, grown, {"node": node.planned.name, **labels}))

    def _own(self, record: Record) -> None:
        self._directory.record(record)
        for view in self._views:
            view.add(None, record)

    def _node_record(self, name: str, record: Record, line: str) -> None:
        impossible = METRICS[record.metric].kind == "counter" and record.value < 0
        if impossible or not (math.isfinite(record.value) and math.isfinite(record.t)):
            raise ValueError(f"impossible value {record.value} of {record.metric} at {record.t}")
        self._directory.record_line(line.strip(), name)
        for view in self._views:
            view.add(name, record)
        self._note(name, record)

    def _note(self, name: str | None, record: Record) -> None:
        """For the display."""
        if record.metric == "test_accuracy" and name is not None:
            self._accuracy[name] = record.value
        elif record.metric == "sent_payload_bytes":
            self._payload_bytes += record.value
        elif record.metric == "round":
            self._round = int(record.value)

    def _node_event(self, name: str, raw: dict[str, Any], t: float) -> None:
        event = str(raw.pop("event"))
        raw.pop("t", None)
        if event == "started":
            self.up(name, t)
        elif event == "finished":
            self._awaited.discard(name)
        self._event(t, f"node_{event}", {"node": name, **raw})

    def _exit(self, item: NodeExit, t: float) -> None:
        self.down(item.node, t)
        details = {"node": item.node, "returncode": item.returncode, "asked": item.asked}
        if not item.asked:
            details["last_words"] = item.last_words
            self.died.append(item)
            self._awaited.discard(item.node)  # it will come to no other end
        self._event(t, "node_exited", details)

    def _role(self, name: str) -> str:
        return self._nodes[name].planned.role


def ending(plan: Plan) -> set[str]:
    """The nodes whose own end is the run's: the coordinator, or else every node; none where only time ends it.

    What comes to an end is an algorithm, or the last program of a workload, which says whose it is.
    """
    coordinators = {node.name for node in plan.nodes if node.role == "coordinator"}
    devices = {node.name for node in plan.nodes} - coordinators
    if plan.workload is not None:
        return {"coordinator": coordinators, "devices": devices, "time": set[str]()}[plan.workload.ends]
    return coordinators or devices
