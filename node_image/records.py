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
    "altered_messages": Metric(
        "counter", "messages", "messages that a byzantine fault altered before they left, by way (how), kind and peer"
    ),
    "charge": Metric("gauge", "ratio", "ELABiP: share of its battery that is left, as a device knows it"),
    "cluster": Metric("gauge", "devices", "head (by its device number) of the cluster that a device belongs to"),
    "discarded_updates": Metric("counter", "updates", "updates that came too late or were refused, by reason"),
    "divergence": Metric(
        "gauge", "ratio", "ELABiP: total-variation distance of what a device predicts from what its prior does"
    ),
    "dropped_messages": Metric("counter", "messages", "messages given up by the transport, by reason"),
    "evaluate_s": Metric("sample", "s", "time one evaluation on the test set took"),
    "failed_saves": Metric("counter", "checkpoints", "checkpoints that could not be written, by reason (ENOSPC, ...)"),
    "gossip_exchanges": Metric("counter", "models", "models taken in from neighbours, by layer"),
    "held_out_accuracy": Metric("gauge", "ratio", "ELABiP: accuracy on the device's own samples kept from learning"),
    "held_modules": Metric("gauge", "modules", "modules of the sub-model chosen for a device, by peer"),
    "inference_s": Metric("sample", "s", "time to predict one sample, during evaluation"),
    "load": Metric("gauge", "ratio", "ELABiP: share of its best speed that a device lacked in its last local phase"),
    "load_imbalance": Metric("gauge", "ratio", "CV^2 of the modules' load after offline training, mean of the layers"),
    "local_phase_s": Metric("sample", "s", "time of one local phase (several steps)"),
    "local_step_s": Metric("sample", "s", "time of one local step, mean over a local phase; `of` a part of the model"),
    "mixing_balance": Metric(
        "gauge", "", "gossip: mean parameter that a device took in less what it gave, by weight; all add up to 0"
    ),
    "neighbours": Metric("gauge", "devices", "neighbours heard in a round of gossip"),
    "plasticity": Metric("gauge", "ratio", "ELABiP: p_k chosen for a local phase"),
    "program_count": Metric("counter", "", "increments of what a program of one's own counts; label name"),
    "program_sample": Metric("sample", "", "one observation by a program of one's own; label name"),
    "program_value": Metric("gauge", "", "value now of what a program of one's own measures; label name"),
    "provision_bytes": Metric("counter", "bytes", "public samples that devices are given before a run, of all devices"),
    "received_payload_bytes": Metric("counter", "bytes", "encoded messages received, by kind and peer"),
    "reconnects": Metric("counter", "connections", "connections made again after one was lost, by peer"),
    "rejected_frames": Metric("counter", "frames", "frames refused by the parser, by reason"),
    "reward": Metric("gauge", "ratio", "ELABiP: what the agent that chooses the plasticity was rewarded with"),
    "round": Metric("gauge", "rounds", "synchronous rounds closed"),
    "round_s": Metric("sample", "s", "time of one synchronous round"),
    "rtt_s": Metric("sample", "s", "round-trip time seen by the transport, by peer"),
    "samples_seen": Metric("counter", "samples", "training samples used, repeats counted"),
    "sent_payload_bytes": Metric("counter", "bytes", "encoded messages handed to the transport, by kind and peer"),
    "sent_tls_bytes": Metric(
        "counter", "bytes", "bytes that TLS added to encoded messages, by kind (handshake, records) and peer"
    ),
    "staleness": Metric(
        "sample", "versions", "age of an update's base model when it was applied; labels peer, base, number: which one"
    ),
    "test_accuracy": Metric(
        "gauge", "ratio", "top-1 accuracy on the global test set (of a detector: mean average precision), by split"
    ),
    "test_average_precision": Metric(
        "gauge", "ratio", "COCO's average precision on the global test set, by split; label overlap: 0.5 or 0.5:0.95"
    ),
    "test_loss": Metric("gauge", "nats", "cross-entropy on the global test set, by split"),
    "test_top_k": Metric("gauge", "ratio", "top-k accuracy on the global test set; label k"),
    "train_loss": Metric("gauge", "nats", "mean training loss of a local phase"),
    "update_age_s": Metric("sample", "s", "time from a model's departure to the application of the update made on it"),
    "version": Metric("gauge", "versions", "version of the coordinator's model"),
    # written by the orchestrator
    "cpu_s": Metric("counter", "s", "CPU time used, by node"),
    "cpu_throttled_s": Metric("counter", "s", "time in which the CPU share was used up, by node"),
    "energy_joules": Metric("counter", "J", "energy by node, component and source (model, or measured:<meter>)"),
    "energy_missing_s": Metric("counter", "s", "time that a meter did not see, by component and source"),
    "link_delivered_bytes": Metric("counter", "bytes", "IP bytes that left a directed link at its far end"),
    "link_dropped_packets": Metric("counter", "packets", "packets dropped on a directed link, by reason"),
    "link_offered_bytes": Metric("counter", "bytes", "IP bytes offered to a directed link"),
    "lost_payload_bytes": Metric(
        "counter",
        "bytes",
        "encoded messages that were sent and never read, by kind and peer; told by the simulation alone",
    ),
    "memory_bytes": Metric(
        "gauge", "bytes", "memory of a node: pages of its own (control group), not those shared with the fork server"
    ),
    "node_up": Metric("gauge", "ratio", "1 while a node runs, 0 while it does not"),
    "received_background_bytes": Metric("counter", "bytes", "IP bytes of background traffic that reached a node"),
    "received_wire_bytes": Metric(
        "counter", "bytes", "IP bytes that reached a node's interface, without background traffic"
    ),
    "sent_background_bytes": Metric("counter", "bytes", "IP bytes of background traffic that left a node"),
    "sent_wire_bytes": Metric("counter", "bytes", "IP bytes that left a node's interface, without background traffic"),
    "spectral_gap": Metric("gauge", "ratio", "1 - second eigenvalue of neighbours' mixing, by scope: flat or cluster"),
}


MEASURED = "measured:"  # how the `source` of joules begins that a meter measured; its name follows


_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)  # json.dumps would make one for every record
_decode = json.JSONDecoder().raw_decode  # what json.loads does, without what it does for texts that may be bytes


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

    @property
    def meter(self) -> str | None:
        """The meter that measured this energy; None: it is modelled, or the record is about something else."""
        source = self.labels.get("source", "")
        return source.removeprefix(MEASURED) if source.startswith(MEASURED) else None

    @staticmethod
    def from_line(line: str) -> "Record":
        """Inverse of `to_line`; raises ValueError on anything else."""
        raw, end = _decode(line)
        if line[end:].strip():
            raise ValueError(f"not a record, something follows it: {line[:200]!r}")
        try:
            labels = raw["labels"]
            record = Record(float(raw["t"]), str(raw["metric"]), float(raw["value"]), labels)
            is_record = len(raw) == 4 and all(type(value) is str for value in labels.values())
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a record: {line[:200]!r}") from error
        if not is_record:
            raise ValueError(f"not a record, it holds more than one does: {line[:200]!r}")
        if record.metric not in METRICS:
            raise ValueError(f"unknown metric {record.metric!r}")
        return record
