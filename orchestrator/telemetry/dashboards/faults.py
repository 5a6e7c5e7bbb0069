"""Faults and devices of one run: what was planned, what acted, who was gone, and what it did to learning."""

from orchestrator.telemetry.dashboards import queries as q
from orchestrator.telemetry.dashboards.overview import DEVICE_STATES
from orchestrator.telemetry.dashboards.parts import (
    ACTS_OR_NOT,
    ONE_RUN,
    UP_OR_DOWN,
    Ask,
    Json,
    bars,
    curves,
    dashboard,
    states,
    table,
)


def faults() -> Json:
    """The dashboard."""
    return dashboard(
        "edgebed-faults",
        "faults and devices",
        "State time lines of faults, devices and links of one run, over its accuracy and its traffic.",
        [
            states("Faults", "Every planned fault by its number, kind and target, while it acts.",
                   Ask(f"edgebed_fault_active{{{ONE_RUN}}}", "{{fault}} {{kind}} {{target}}"), ACTS_OR_NOT),
            states("Devices", "Up, down, and whether a planned fault acts on the device.",
                   Ask(q.device_states(ONE_RUN), "{{device}}"), DEVICE_STATES),
            states("Links", "Up, or held down by a fault or by range.",
                   Ask(f"edgebed_link_up{{{ONE_RUN}}}", "{{link}}"), UP_OR_DOWN),
            curves("Accuracy", "Accuracy while the faults act: of the coordinator's model, or the devices' mean.",
                   "percentunit", Ask(q.accuracy(ONE_RUN), "accuracy"), min=0, max=1, steps=True),
            curves("Sent, by device", "Bytes of encoded messages a second: a device that is gone sends nothing.", "Bps",
                   Ask(q.per_second("edgebed_payload_bytes_total", f'{ONE_RUN}, direction="sent"', "device"),
                       "{{device}}")),
            curves("Devices up", "How many nodes run.", "none",
                   Ask(f"sum by (run) (edgebed_device_up{{{ONE_RUN}}})", "up"), min=0, steps=True),
            curves("Updates", "Updates a second that entered an aggregation.", "ops",
                   Ask(q.per_second("edgebed_aggregated_updates_total", ONE_RUN, "run"), "aggregated")),
            bars("Faults, by kind", "How many began to act in the range shown.", "none",
                 Ask(q.total("edgebed_failures_injected_total", ONE_RUN, "kind"), "{{kind}}", now=True), width=8),
            table("Last events", "When each kind of event came about last.",
                  {"when": (Ask(f"1000 * max by (event, kind, fault) (last_over_time("
                                f"edgebed_event_timestamp_seconds{{{ONE_RUN}}}[$__range]))", now=True, table=True),
                            "dateTimeAsIso")}, width=16),
        ],
    )  # fmt: skip
