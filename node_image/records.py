"""What is measured, named once. A record is one fact; on disk and on a node's stdout it is one JSON line.

`{"t": 12.034, "metric": "test_accuracy", "value": 0.71, "labels": {"split": "global"}}` - `t` in seconds since the
run began (virtual in simulation). Who recorded it is known from the file; labels never repeat it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """A named series. `counter` records are increments, `gauge` the value now, `sample` one observation of many."""

    kind: Literal["counter", "gauge", "sample"]
    unit: str
    help: str


METRICS: dict[str, Metric] = {
    "aggregated_updates": Metric("counter", "updates", "updates that entered an aggregation"),
    "discarded_updates": Metric("counter", "updates", "updates that came too late or were refused, by reason"),
    "dropped_messages": Metric("counter", "messages", "messages given up by the transport, by reason"),
    "evaluate_s": Metric("sample", "s", "time one evaluation on the test set took"),
    "inference_s": Metric("sample", "s", "time to predict one sample, during evaluation"),
    "local_phase_s": Metric("sample", "s", "time of one local phase (several steps)"),
    "local_step_s": Metric("sample", "s", "time of one local step (mean over a local phase)"),
    "received_payload_bytes": Metric("counter", "bytes", "encoded messages received, by kind and peer"),
    "reconnects": Metric("counter", "connections", "connections made again after one was lost, by peer"),
    "rejected_frames": Metric("counter", "frames", "frames refused by the parser, by reason"),
    "round": Metric("gauge", "rounds", "synchronous rounds closed"),
    "round_s": Metric("sample", "s", "time of one synchronous round"),
    "rtt_s": Metric("sample", "s", "round-trip time seen by the transport, by peer"),
    "samples_seen": Metric("counter", "samples", "training samples used, repeats counted"),
    "sent_payload_bytes": Metric("counter", "bytes", "encoded messages handed to the transport, by kind and peer"),
    "staleness": Metric("sample", "versions", "age of an update's base model when it was applied"),
    "test_accuracy": Metric("gauge", "ratio", "top-1 accuracy on the global test set, by split"),
    "test_loss": Metric("gauge", "nats", "cross-entropy on the global test set, by split"),
    "test_top_k": Metric("gauge", "ratio", "top-k accuracy on the global test set; label k"),
    "train_loss": Metric("gauge", "nats", "mean training loss of a local phase"),
    "update_age_s": Metric("sample", "s", "time from a model's departure to the application of the update made on it"),
    "version": Metric("gauge", "versions", "version of the coordinator's model"),
    # written by the orchestrator
    "cpu_s": Metric("counter", "s", "CPU time used, by node"),
    "cpu_throttled_s": Metric("counter", "s", "time in which the CPU share was used up, by node"),
    "energy_joules": Metric("counter", "J", "energy by node, component and source"),
    "link_delivered_bytes": Metric("counter", "bytes", "IP bytes that left a directed link at its far end"),
    "link_dropped_packets": Metric("counter", "packets", "packets dropped on a directed link, by reason"),
    "link_offered_bytes": Metric("counter", "bytes", "IP bytes offered to a directed link"),
    "memory_bytes": Metric(
        "gauge", "bytes", "memory of a node: pages of its own (control group), not those shared with the fork server"
    ),
    "node_up": Metric("gauge", "ratio", "1 while a node runs, 0 while it does not"),
    "received_wire_bytes": Metric("counter", "bytes", "IP bytes that reached a node's interface"),
    "sent_wire_bytes": Metric("counter", "bytes", "IP bytes that left a node's interface"),
}


_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)  # json.dumps would make one for every record


@dataclass(frozen=True)
class Record:
    """One measured fact; `t` in seconds since the run began."""

    t: float
    metric: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)

    def to_line(self) -> str:
        """One JSON line without its newline; keys in a fixed order, so that equal records are equal bytes."""
        labels = dict(sorted(self.labels.items()))
        return _JSON.encode({"t": round(self.t, 6), "metric": self.metric, "value": self.value, "labels": labels})

    @staticmethod
    def from_line(line: str) -> "Record":
        """Inverse of `to_line`; raises ValueError on anything else."""
        raw = json.loads(line)
        try:
            record = Record(float(raw["t"]), str(raw["metric"]), float(raw["value"]), dict(raw["labels"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a record: {line[:200]!r}") from error
        if record.metric not in METRICS:
            raise ValueError(f"unknown metric {record.metric!r}")
        return record
