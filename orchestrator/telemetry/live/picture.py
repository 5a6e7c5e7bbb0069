"""The picture of a run: what its page shows, gathered from events and records as they come. Pure: no files, no clock.

Every part knows the version in which it last changed, so `since(version)` is all that a page which has seen that
version lacks, and `since(0)` is everything. What is told is always a state and never a difference: a page that is
told twice shows the same.
"""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from node_image.records import Record
from orchestrator.telemetry.live.bins import Bins
from orchestrator.telemetry.live.wording import Line, worded

CURVE_BINS = 300
COUNT_BINS = 100  # the orchestrator samples its counters as often as that (orchestrator.run)
SHORTEST_SAMPLE_S = 1.0
UNKNOWN_WIDTH_S = 1.0
ROUNDING_S = 1e-6  # virtual time may fall short of a bin's begin by this
MODELLED = "model"  # the source of joules that are computed from a device profile
MOST_LINES = 2_000  # of the log, to a page that opens
EVENT_STATES = {
    "node_ready": "ready",
    "node_started": "up",
    "node_finished": "finished",
}
EXECUTED = {
    "fault_injected": ("began_s", "evidence"),
    "fault_healed": ("ended_s", "end_evidence"),
    "fault_failed": ("failed_s", "error"),
    "fault_not_healed": ("failed_s", "error"),
}


def widths_s(stop_after_s: float) -> tuple[float, float]:
    """Widths of the bins of curves and of counters for a run of that length; 0 where nobody knows it."""
    if not stop_after_s > 0:
        return UNKNOWN_WIDTH_S, UNKNOWN_WIDTH_S
    return stop_after_s / CURVE_BINS, max(SHORTEST_SAMPLE_S, stop_after_s / COUNT_BINS)


class Picture:
    """What is known of one run. `advance()` before a batch of news is taken: it is newer than all before."""

    def __init__(self, stop_after_s: float, coordinators: Sequence[str], devices: Sequence[str]) -> None:
        self.curve_s, self.count_s = widths_s(stop_after_s)
        self.version = 0
        self.now_s = 0.0
        self._coordinators = coordinators
        self._devices = devices
        self._series: dict[str, dict[str, Bins]] = defaultdict(lambda: defaultdict(Bins))
        self._nodes: dict[str, dict[str, float]] = defaultdict(dict)
        self._drops: dict[str, float] = defaultdict(float)
        self._executed: dict[str, dict[str, Any]] = defaultdict(dict)
        self._versions: dict[tuple[str, str], int] = {}  # of the entries of the three above
        self._changes: list[tuple[float, str, str]] = []  # (t, node or link, its state from then on)
        self._change_versions: list[int] = []
        self._over = False  # the run has ended: that nodes are then stopped says nothing of it
        self._log: list[Line] = []
        self._log_versions: list[int] = []
        self._accuracy_version = 0

    def advance(self) -> None:
        """What is taken from now on is of a newer version."""
        self.version += 1

    def event(self, raw: Mapping[str, Any]) -> None:
        """Take one line of events.jsonl. Raises ValueError, KeyError or TypeError if it is none."""
        t, event = float(raw["t"]), str(raw["event"])
        if not math.isfinite(t):
            raise ValueError("not a finite time")
        self.now_s = max(self.now_s, t)
        self._log.append(worded(t, event, raw))
        self._log_versions.append(self.version)
        self._over = self._over or event == "run_ended"
        if event in EVENT_STATES:
            self._change(t, str(raw["node"]), EVENT_STATES[event])
        elif event == "node_exited":
            self._change(t, str(raw["node"]), "stopped" if raw.get("asked") else "died")
        elif event == "run_resumed":  # it was killed: who lived died, and all is made anew, links as they were laid
            for name in raw["nodes"]:
                self._change(t, str(name), "died")
            for name in sorted(set(self._shut())):
                self._change(t, name, "open")
        elif event == "links_shaped":
            for link, shape in raw["links"].items():
                self._change(t, str(link), "open" if shape.get("up", True) else "shut")
        elif event in ("links_out_of_range", "links_in_range"):
            for link in raw["links"]:
                self._change(t, str(link), "shut" if event == "links_out_of_range" else "open")
        elif event in EXECUTED:
            when, what = EXECUTED[event]
            index = str(raw["fault"])
            self._executed[index] |= {when: t, what: str(raw.get(what.removeprefix("end_"), ""))}
            self._versions["executed", index] = self.version

    def record(self, node: str | None, record: Record) -> None:
        """Take one record of a node, or (node None) of the orchestrator. Raises KeyError or ValueError."""
        t, value, labels = record.t, record.value, record.labels
        if not (math.isfinite(t) and math.isfinite(value)):
            raise ValueError("not a finite number")
        self.now_s = max(self.now_s, t)
        whom = node if node is not None else labels.get("node", "")
        match record.metric:
            case "test_accuracy" if labels.get("split") != "own":
                self._series["accuracy"][whom].put(self._curve_bin(t), value, self.version)
                self._accuracy_version = self.version
                self._set(whom, "accuracy", value)
            case "round":
                self._series["round"][""].put(self._curve_bin(t), value, self.version)
            case "sent_payload_bytes":
                at = int((t + ROUNDING_S) / self.count_s)
                self._series["payload"][labels["kind"]].add(at, value, self.version)
                self._more(whom, "sent_bytes", value)
            case "received_payload_bytes":
                self._more(whom, "received_bytes", value)
            case "sent_wire_bytes":
                self._series["wire"][""].add(self._sampled_bin(t), value, self.version)
            case "energy_joules":
                kind = f"{labels['component']}/{labels.get('source', 'unknown')}"
                self._series["joules"][kind].add(self._sampled_bin(t), value, self.version)
                if labels.get("source") == MODELLED:  # a node's sum is of these: measured ones are never added
                    self._more(whom, "joules", value)
            case "link_delivered_bytes":
                self._series["link"][labels["link"]].add(self._sampled_bin(t), value, self.version)
            case "link_dropped_packets":
                self._drops[labels["link"]] += value
                self._versions["drops", labels["link"]] = self.version
            case "memory_bytes":
                self._set(whom, "memory_bytes", value)

    def main_accuracy(self) -> list[float | None]:
        """The run's accuracy by bin: that of the coordinator's model, else the mean of all devices' own."""
        curves = self._series["accuracy"]
        for name in self._coordinators:
            if name in curves:
                return curves[name].values
        own = [curves[name].values for name in self._devices if name in curves]
        if not own or len(own) < len(self._devices):
            return []
        held: list[float | None] = [None] * len(own)
        mean: list[float | None] = []
        for index in range(max(map(len, own))):
            news = [curve[index] if index < len(curve) else None for curve in own]
            held = [new if new is not None else old for new, old in zip(news, held, strict=True)]
            known = [value for value in held if value is not None]
            changed = any(new is not None for new in news) and len(known) == len(own)
            mean.append(sum(known) / len(known) if changed else None)
        return mean

    def since(self, version: int) -> dict[str, Any]:
        """What has changed after a version, as JSON values; empty if nothing has."""
        told: dict[str, Any] = {}
        for family, members in self._series.items():
            found = {name: news for name, bins in members.items() if (news := bins.since(version)) is not None}
            if found:
                told.setdefault("series", {})[family] = found
        if self._accuracy_version > version:
            told["main"] = [value if value is None else round(value, 6) for value in self.main_accuracy()]
        parts: tuple[tuple[str, Mapping[str, Any]], ...] = (
            ("nodes", self._nodes),
            ("drops", self._drops),
            ("executed", self._executed),
        )
        for part, entries in parts:
            newer = {name: entry for name, entry in entries.items() if self._versions[part, name] > version}
            if newer:
                told[part] = newer
        first = bisect_right(self._change_versions, version)
        if first < len(self._changes):
            told["changes"] = {"from": first, "items": self._changes[first:]}
        first = max(bisect_right(self._log_versions, version), len(self._log) - MOST_LINES)
        if first < len(self._log):
            told["log"] = {"from": first, "items": [line.to_json() for line in self._log[first:]]}
        return told

    def _shut(self) -> Iterator[str]:
        """Links that are shut now."""
        last = {name: state for _, name, state in self._changes}
        return (name for name, state in last.items() if state == "shut")

    def _change(self, t: float, name: str, state: str) -> None:
        if self._over and state != "died":
            return
        self._changes.append((t, name, state))
        self._change_versions.append(self.version)

    def _set(self, node: str, key: str, value: float) -> None:
        self._nodes[node][key] = value
        self._versions["nodes", node] = self.version

    def _more(self, node: str, key: str, value: float) -> None:
        self._set(node, key, self._nodes[node].get(key, 0.0) + value)

    def _curve_bin(self, t: float) -> int:
        return int((t + ROUNDING_S) / self.curve_s)

    def _sampled_bin(self, t: float) -> int:
        """What a sample at the end of an interval has counted belongs to that interval, and not to the next."""
        return int((t - self.count_s / 2) / self.count_s)
