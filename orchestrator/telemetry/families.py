"""What Prometheus is shown: every metric by name, unit and labels, and which record, event or plan entry it is of.

Names as Prometheus' own guide wants them: prefix `edgebed_`, base units, the unit last, `_total` on counters (added
when written out), `_info` on facts. Records keep their own words (node_image.records); this is the one translation.
A record's metric that is not named here is shown under its own name, with the labels of `ORDINARY_LABELS` it has.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from node_image.records import METRICS

SECONDS_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
FAST_BUCKETS = (1e-6, 1e-5, 1e-4, *SECONDS_BUCKETS)
DECADES = tuple(10.0**power for power in range(-6, 10))  # for samples of anything
COUNT_BUCKETS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
ORDINARY_LABELS = ("device", "kind", "component", "reason", "source", "split", "layer", "k", "overlap", "scope")

Kind = Literal["counter", "gauge", "histogram", "info"]


@dataclass(frozen=True)
class Family:
    """A metric of Prometheus: `name` without the `_total` or `_info` that it is written out with.

    `unit` is the last word(s) of the name, or empty. Labels that a series lacks are left out of it.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    source: str
    unit: str = ""
    buckets: tuple[float, ...] = ()

    @property
    def sample_name(self) -> str:
        """The name that queries use (of a histogram: what `_bucket`, `_sum` and `_count` are added to)."""
        return self.name + {"counter": "_total", "info": "_info"}.get(self.kind, "")


@dataclass(frozen=True)
class Shown:
    """Under which family a record is shown: labels that its metric stands for, and who is its `device`."""

    family: str
    fixed: Mapping[str, str] = field(default_factory=dict)
    device: Literal["node", "global", "peer"] = "node"  # global: what the coordinator found is the whole run's


# Records that are shown by another name than their own.
RENAMED: dict[str, Shown] = {
    "held_modules": Shown("edgebed_held_modules", device="peer"),
    "link_delivered_bytes": Shown("edgebed_link_deliver_bytes"),
    "link_dropped_packets": Shown("edgebed_link_drops"),
    "link_offered_bytes": Shown("edgebed_link_transmit_bytes"),
    "node_up": Shown("edgebed_device_up"),
    "received_background_bytes": Shown("edgebed_background_bytes", {"direction": "received"}),
    "received_payload_bytes": Shown("edgebed_payload_bytes", {"direction": "received"}),
    "received_wire_bytes": Shown("edgebed_wire_bytes", {"direction": "received"}),
    "round": Shown("edgebed_round"),
    "rtt_s": Shown("edgebed_message_latency_seconds"),
    "sent_background_bytes": Shown("edgebed_background_bytes", {"direction": "sent"}),
    "sent_payload_bytes": Shown("edgebed_payload_bytes", {"direction": "sent"}),
    "sent_wire_bytes": Shown("edgebed_wire_bytes", {"direction": "sent"}),
    "staleness": Shown("edgebed_staleness_versions"),
    "test_accuracy": Shown("edgebed_accuracy_ratio", device="global"),
    "test_average_precision": Shown("edgebed_average_precision_ratio", device="global"),
    "test_loss": Shown("edgebed_loss", device="global"),
    "test_top_k": Shown("edgebed_top_k_accuracy_ratio", device="global"),
}

_PAYLOAD = "bytes of encoded messages that a node handed to its transport (sent) or got from it (received), by kind"
_WIRE = "IP bytes, headers included, that left (sent) or reached (received) a node's interface: the run's own"
_OTHERS = "IP bytes, headers included, of background traffic that left (sent) or reached (received) a node"
_ASKED_FOUND = "probed before the run over the path of links between two nodes"
# Families that say more than their record's own help, or that come from the plan, the events and the receipt.
_NAMED = (
    Family("edgebed_run", "info", ("scenario", "algorithm", "seed", "substrate", "run_id", "config_hash", "git_rev"),
           "1; what the run is: join it with group_left", "plan"),
    Family("edgebed_device", "info", ("device", "group", "profile", "role", "backend"), "1; what a node is", "plan"),
    Family("edgebed_run_active", "gauge", (), "1 from the run's begin to its end, else 0", "events"),
    Family("edgebed_payload_bytes", "counter", ("device", "direction", "kind"), _PAYLOAD, "", "bytes"),
    Family("edgebed_energy_joules", "counter", ("device", "component", "source"),
           "energy by component; source says whether it is modelled (`model`) or what measured it: never to be added",
           "", "joules"),
    Family("edgebed_background_bytes", "counter", ("device", "direction"), _OTHERS, "", "bytes"),
    Family("edgebed_wire_bytes", "counter", ("device", "direction"), _WIRE, "", "bytes"),
    Family("edgebed_link_transmit_bytes", "counter", ("link", "direction"),
           "IP bytes offered to a directed link (a>b); direction: up, down or across, seen from the coordinator",
           "", "bytes"),
    Family("edgebed_link_deliver_bytes", "counter", ("link", "direction"),
           "IP bytes that left a directed link at its far end", "", "bytes"),
    Family("edgebed_link_drops", "counter", ("link", "direction", "reason"),
           "packets dropped on a directed link, by reason", ""),
    Family("edgebed_link_up", "gauge", ("link",), "1 while a directed link is up, 0 while it is held down",
           "plan, events"),
    Family("edgebed_link_rate_limit_bytes_per_second", "gauge", ("link",),
           "rate set on a directed link now (no series: none is set, or a trace decides)", "plan, events",
           "bytes_per_second"),
    Family("edgebed_link_delay_seconds", "gauge", ("link",), "one-way delay set on a directed link now",
           "plan, events", "seconds"),
    Family("edgebed_link_loss_ratio", "gauge", ("link",), "share of packets that a directed link is set to lose now",
           "plan, events", "ratio"),
    Family("edgebed_path_rtt_asked_seconds", "gauge", ("path",), f"round-trip time asked, {_ASKED_FOUND}", "receipt",
           "seconds"),
    Family("edgebed_path_rtt_found_seconds", "gauge", ("path",), f"round-trip time found, {_ASKED_FOUND}", "receipt",
           "seconds"),
    Family("edgebed_path_rate_asked_bytes_per_second", "gauge", ("path",), f"rate asked, {_ASKED_FOUND}", "receipt",
           "bytes_per_second"),
    Family("edgebed_path_rate_found_bytes_per_second", "gauge", ("path",), f"rate found, {_ASKED_FOUND}", "receipt",
           "bytes_per_second"),
    Family("edgebed_path_loss_asked_ratio", "gauge", ("path",), f"loss asked, {_ASKED_FOUND}", "receipt", "ratio"),
    Family("edgebed_path_loss_found_ratio", "gauge", ("path",), f"loss found, {_ASKED_FOUND}", "receipt", "ratio"),
    Family("edgebed_receipt_checks", "gauge", ("result",),
           "checks of the emulation by result: ok, failed, not_compared", "receipt"),
    Family("edgebed_failures_injected", "counter", ("kind",), "faults that began to act, by kind", "events"),
    Family("edgebed_fault_active", "gauge", ("fault", "kind", "target"),
           "1 while a planned fault acts on a node or link, else 0", "plan, events"),
    Family("edgebed_events", "counter", ("event",), "what the orchestrator did or saw, by name of the event", "events"),
    Family("edgebed_event_timestamp_seconds", "gauge", ("event", "fault", "kind"),
           "when an event came about last (Unix time)", "events", "seconds"),
    Family("edgebed_device_up", "gauge", ("device",), "1 while a node's process runs, 0 while it does not", ""),
    Family("edgebed_held_modules", "gauge", ("device",), "modules of the sub-model chosen for a device", ""),
    Family("edgebed_round", "gauge", ("device",), "synchronous rounds closed", ""),
    Family("edgebed_accuracy_ratio", "gauge", ("device", "split"),
           "top-1 accuracy on the test set; device `global`: of the coordinator's model", "", "ratio"),
    Family("edgebed_average_precision_ratio", "gauge", ("device", "split", "overlap"),
           "COCO's average precision on the test set; device `global`: of the coordinator's model", "", "ratio"),
    Family("edgebed_top_k_accuracy_ratio", "gauge", ("device", "k"),
           "top-k accuracy on the test set; device `global`: of the coordinator's model", "", "ratio"),
    Family("edgebed_loss", "gauge", ("device", "split"),
           "cross-entropy on the test set in nats; device `global`: of the coordinator's model", ""),
    Family("edgebed_message_latency_seconds", "histogram", ("group",),
           "round-trip time of the transport between a node of the group and its peers", "", "seconds",
           SECONDS_BUCKETS),
    Family("edgebed_staleness_versions", "histogram", ("group",),
           "age of an update's base model, in versions, when it was applied", "", "versions", COUNT_BUCKETS),
    Family("edgebed_inference_seconds", "histogram", ("group",), METRICS["inference_s"].help, "", "seconds",
           FAST_BUCKETS),
    Family("edgebed_program_count", "counter", ("device", "name"), METRICS["program_count"].help, ""),
    Family("edgebed_program_sample", "histogram", ("group", "name"), METRICS["program_sample"].help, "",
           buckets=DECADES),
    Family("edgebed_program_value", "gauge", ("device", "name"), METRICS["program_value"].help, ""),
    Family("edgebed_records_not_exported", "counter", (),
           "records left out of this view because it would have too many series", "this view"),
)  # fmt: skip


def shown(metric: str) -> Shown:
    """Where records of a metric are shown."""
    return RENAMED.get(metric) or Shown(_own_name(metric))


def families() -> dict[str, Family]:
    """All metrics by name, in the order in which they are written out."""
    found = {family.name: family for family in _NAMED}
    sources: dict[str, list[str]] = {}
    for metric in METRICS:
        name = shown(metric).family
        sources.setdefault(name, []).append(f"record `{metric}`")
        if name not in found:
            found[name] = _ordinary(metric, name)
    return {
        name: family if family.source else Family(**{**vars(family), "source": ", ".join(sources[name])})
        for name, family in found.items()
    }


def _own_name(metric: str) -> str:
    name = f"edgebed_{metric.removesuffix('_s')}_seconds" if metric.endswith("_s") else f"edgebed_{metric}"
    return f"{name}_ratio" if METRICS[metric].unit == "ratio" else name


def _ordinary(metric: str, name: str) -> Family:
    """The family of a metric that nothing more is said about. Samples are histograms by the device's group."""
    known = METRICS[metric]
    unit = next((unit for unit in ("seconds", "bytes", "joules", "ratio") if name.endswith(f"_{unit}")), "")
    if known.kind == "sample":
        buckets = SECONDS_BUCKETS if known.unit == "s" else COUNT_BUCKETS
        return Family(name, "histogram", ("group",), known.help, "", unit, buckets)
    return Family(name, known.kind, ORDINARY_LABELS, known.help, "", unit)
