"""The collector: what nodes say and what the substrate counts become records; views of them are fed from here."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from node_image.records import METRICS, Record
from orchestrator.plan import Plan, PlannedNode
from orchestrator.rundir import RunDirectory
from orchestrator.substrates.base import LinkCount, NodeExit, NodeLine, NodeUse, Substrate
from orchestrator.telemetry.energy import device_energy
from orchestrator.terminal import RunState

Event = Callable[[float, str, dict[str, Any]], None]


class View(Protocol):
    """Something that shows records while a run lasts (the OpenMetrics endpoint)."""

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
    """Turns lines, exits and counters into records. One a run; also knows the run's present state."""

    def __init__(self, plan: Plan, directory: RunDirectory, view: View | None, event: Event) -> None:
        self._plan = plan
        self._directory = directory
        self._view = view
        self._event = event
        self._nodes = {node.name: _Node(node) for node in plan.nodes}
        coordinators = {node.name for node in plan.nodes if node.role == "coordinator"}
        self._awaited = coordinators or set(self._nodes)  # whose algorithm ends the run by returning
        self._links: dict[str, LinkCount] = {}
        self._accuracy: dict[str, float] = {}
        self._payload_bytes = 0.0
        self._wire_bytes = 0.0
        self._joules: float | None = None
        self._round: int | None = None
        self.died: list[NodeExit] = []
        self.bad_lines = 0

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
            self._node_record(item.node, Record.from_line(item.line))
        except ValueError as error:
            self.bad_lines += 1
            if self.bad_lines <= 10:
                self._event(t, "bad_line", {"node": item.node, "line": item.line[:200], "error": str(error)})

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
        """Whether the run has come to its own end: the coordinator's algorithm (or every device's) has returned."""
        return not self._awaited

    async def sample(self, substrate: Substrate) -> None:
        """Read the substrate's counters and write down what has grown since the last time."""
        t = substrate.now()
        links, traffic, uses = await substrate.links(), await substrate.traffic(), await substrate.uses()
        self._sample_links(t, links)
        wire = 0.0
        joules: dict[str, float] = {}
        for name, node in self._nodes.items():
            bins = traffic.get(name, [])
            sent, received = sum(bin_[1] for bin_ in bins), sum(bin_[2] for bin_ in bins)
            wire += sent
            self._grow(t, node, "sent_wire_bytes", sent)
            self._grow(t, node, "received_wire_bytes", received)
            use = uses.get(name)
            if use is not None:
                self._sample_use(t, node, use)
                energy = device_energy(node.planned.profile, node.on_s(t), use.busy_s, bins, t)
                for component, value in energy.items():
                    joules[f"{name} {component}"] = value
                    self._grow(t, node, "energy_joules", value, component=component, source="model")
        self._wire_bytes = wire
        self._joules = sum(joules.values()) if joules else None

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
        if self._view is not None:
            self._view.add(None, record)

    def _node_record(self, name: str, record: Record) -> None:
        if not math.isfinite(record.value) or (METRICS[record.metric].kind == "counter" and record.value < 0):
            raise ValueError(f"impossible value {record.value} of {record.metric}")
        self._directory.record(record, name)
        if self._view is not None:
            self._view.add(name, record)
        if record.metric == "test_accuracy":
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
        self._event(t, "node_exited", details)

    def _role(self, name: str) -> str:
        return self._nodes[name].planned.role
