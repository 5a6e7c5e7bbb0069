"""The present: what is known of a run now, as series. Plan, records, events and receipt go in; nothing else does.

The live endpoint shows it while a run lasts, and the export walks through a finished run with it: one translation.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from node_image.records import Record
from orchestrator.plan import DirectedLink, Plan, plan_json
from orchestrator.receipt import Check
from orchestrator.telemetry.families import families, shown
from orchestrator.telemetry.series import Series, Table

LARGEST_SERIES = 10_000
LARGEST_CACHE = 50_000  # records' own labels (peers among them) seen so far and where they went
BITS = 8
_PROBES: dict[str, tuple[str, str, float]] = {  # a check of the receipt: name, unit, its units in one of these
    "rtt_s": ("rtt", "seconds", 1.0),
    "rate_bps": ("rate", "bytes_per_second", BITS),
    "loss": ("loss", "ratio", 1.0),
}


class Present:
    """The values now of every series of one run."""

    def __init__(self, plan: Plan, facts: Mapping[str, str], constant: Mapping[str, str] | None = None) -> None:
        """`facts`: what the plan does not know of the run; `constant`: labels that every series gets."""
        self.table = Table(families(), LARGEST_SERIES, constant)
        self.table.set("edgebed_records_not_exported", 0.0)
        self._groups = {node.name: node.group for node in plan.nodes}
        self._coordinators = {node.name for node in plan.nodes if node.role == "coordinator"}
        self._directions = directions(plan)
        self._at: dict[Any, Series | None] = {}
        self._targets = {fault.index: (*fault.nodes, *fault.links) for fault in plan.faults}
        self._plan(plan, facts)

    def record(self, node: str | None, record: Record) -> None:
        """One more record; `node` None: of the orchestrator."""
        key = (node, record.metric, *record.labels.items())
        try:
            series = self._at[key]
        except KeyError:
            series = self._series(node, record)
            if len(self._at) < LARGEST_CACHE:
                self._at[key] = series
        except TypeError:  # a label that is no text
            series = self._series(node, record)
        if series is None:
            self.table.set("edgebed_records_not_exported", 1.0)
        else:
            series.add(record.value)

    def event(self, event: str, details: Mapping[str, Any], at_unix_s: float) -> None:
        """Something the orchestrator did or saw."""
        self.table.set("edgebed_events", 1.0, event=event)
        about = {"fault": str(details.get("fault", "")), "kind": str(details.get("kind", ""))}
        self.table.set("edgebed_event_timestamp_seconds", at_unix_s, event=event, **about)
        if event in ("run_began", "run_resumed", "run_ended"):
            self.table.set("edgebed_run_active", float(event != "run_ended"))
        elif event == "fault_injected":
            self.table.set("edgebed_failures_injected", 1.0, kind=about["kind"])
            self._fault(details, about, 1.0)
        elif event == "fault_resumed":
            self._fault(details, about, 1.0)
        elif event == "fault_healed":
            self._fault(details, about, 0.0)
        elif event == "links_shaped":
            for link, shape in details["links"].items():
                self._link(link, shape)

    def checks(self, checks: Iterable[Check]) -> None:
        """The receipt: what was asked of the emulation and what was found."""
        results = Counter({"ok": 0, "failed": 0, "not_compared": 0})
        for check in checks:
            results["not_compared" if check.ok is None else "ok" if check.ok else "failed"] += 1
            if check.what in _PROBES:
                what, unit, divisor = _PROBES[check.what]
                for side, value in (("asked", check.asked), ("found", check.found)):
                    if value is not None:
                        self.table.set(f"edgebed_path_{what}_{side}_{unit}", value / divisor, path=check.where)
        for result, count in results.items():
            self.table.set("edgebed_receipt_checks", float(count), result=result)

    def _plan(self, plan: Plan, facts: Mapping[str, str]) -> None:
        about = {
            "scenario": plan.name,
            "algorithm": plan.nodes[0].spec.algorithm.name,
            "seed": str(plan.seed),
            "config_hash": hashlib.sha256(plan_json(plan).encode()).hexdigest()[:12],
        }
        self.table.set("edgebed_run", 1.0, **about, **facts)
        self.table.set("edgebed_run_active", 0.0)
        for node in plan.nodes:
            named = {"device": node.name, "group": node.group, "profile": node.profile.name, "role": node.role}
            self.table.set("edgebed_device", 1.0, **named, backend=facts.get("substrate", ""))
            for name in ("edgebed_cpu_seconds", "edgebed_cpu_throttled_seconds"):
                self.table.set(name, 0.0, device=node.name)
            for direction in ("sent", "received"):
                self.table.set("edgebed_wire_bytes", 0.0, device=node.name, direction=direction)
        for link in plan.links:
            self._link(link.id, link_state(link, up=not any(from_s <= 0.0 for from_s, _ in link.away)))
            for name in ("edgebed_link_transmit_bytes", "edgebed_link_deliver_bytes"):
                self.table.set(name, 0.0, link=link.id, direction=self._directions[link.id])
        for fault in plan.faults:
            self.table.set("edgebed_failures_injected", 0.0, kind=fault.kind)
            self._fault({"fault": fault.index}, {"fault": str(fault.index), "kind": fault.kind}, 0.0)

    def _fault(self, details: Mapping[str, Any], about: Mapping[str, str], value: float) -> None:
        targets = self._targets.get(details["fault"], ())
        for target in targets or ("",):
            self.table.set("edgebed_fault_active", value, target=target, **about)

    def _link(self, link: str, state: Mapping[str, Any]) -> None:
        self.table.set("edgebed_link_up", float(state["up"]), link=link)
        self.table.set("edgebed_link_delay_seconds", state["delay_s"], link=link)
        self.table.set("edgebed_link_loss_ratio", state["loss"], link=link)
        if state["rate_bps"] is not None:
            self.table.set("edgebed_link_rate_limit_bytes_per_second", state["rate_bps"] / BITS, link=link)

    def _series(self, node: str | None, record: Record) -> Series | None:
        """Where a record goes; None past the bound."""
        show = shown(record.metric)
        own = {name: value if isinstance(value, str) else json.dumps(value) for name, value in record.labels.items()}
        if own.get("split") == "final":  # the same test once more: its newest result, no series of its own
            own["split"] = "global"
        name = node or own.get("node", "")
        device = name
        if show.device == "peer":
            device = own.get("peer", "")
        elif show.device == "global" and name in self._coordinators:
            device = "global"
        labels = {**own, **show.fixed, "device": device, "group": self._groups.get(name, "")}
        if "link" in own:
            labels["direction"] = self._directions.get(own["link"], "")
        return self.table.series(show.family, labels)


def link_state(link: DirectedLink, *, up: bool) -> dict[str, Any]:
    """A link as the event `links_shaped` tells it: base units."""
    shape = link.shape
    return {"up": up, "rate_bps": shape.rate_bps, "delay_s": shape.delay_s, "loss": shape.loss}


def directions(plan: Plan) -> dict[str, str]:
    """Every directed link by id: `up` (nearer to the coordinator), `down` (further from it), else `across`."""
    after: dict[str, list[str]] = {}
    for link in plan.links:
        after.setdefault(link.target, []).append(link.source)
    hops = {node.name: 0 for node in plan.nodes if node.role == "coordinator"}
    reached = list(hops)
    for end in reached:  # grows as it is walked: breadth first
        for other in after.get(end, ()):
            if other not in hops:
                hops[other] = hops[end] + 1
                reached.append(other)
    found = {}
    for link in plan.links:
        nearer = hops.get(link.source, 0) - hops.get(link.target, 0)
        found[link.id] = "up" if nearer > 0 else "down" if nearer < 0 else "across"
    return found
