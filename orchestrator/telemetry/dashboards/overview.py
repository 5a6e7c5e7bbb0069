"""One run on one page: what it learned, what it cost, who was there."""

from orchestrator.telemetry.dashboards import queries as q
from orchestrator.telemetry.dashboards.parts import (
    BLUE,
    GREEN,
    ONE_RUN,
    ORANGE,
    RED,
    Ask,
    Json,
    curves,
    dashboard,
    figure,
    states,
    table,
)

DEVICE_STATES = {0: ("down", RED), 1: ("up", GREEN), 2: ("down by a fault", ORANGE), 3: ("up, a fault acts", BLUE)}


def overview() -> Json:
    """The dashboard."""
    sent = f'{ONE_RUN}, direction="sent"'
    return dashboard(
        "edgebed-overview",
        "run overview",
        "One run: accuracy over time, bytes, joules, latencies, and which devices were there.",
        [
            figure("Accuracy", "Last accuracy in the range shown: of the coordinator's model, or the devices' mean.",
                   "percentunit", Ask(q.last_accuracy(ONE_RUN), now=True)),
            figure("Payload sent", "Bytes of encoded messages that all nodes handed to their transport.", "decbytes",
                   Ask(q.total("edgebed_payload_bytes_total", sent), now=True)),
            figure("Sent on the wire", "IP bytes, headers included, that left all nodes' interfaces.", "decbytes",
                   Ask(q.total("edgebed_wire_bytes_total", sent), now=True)),
            figure("Energy, modelled", "Joules of all devices, modelled from their profiles; measured ones not added.",
                   "joule", Ask(q.total("edgebed_energy_joules_total", f'{ONE_RUN}, source="model"'), now=True)),
            figure("Faults so far", "Faults that began to act.", "none",
                   Ask(q.total("edgebed_failures_injected_total", ONE_RUN), now=True)),
            figure("Checks failed", "Checks of links and computing that are out of tolerance: above 0 the emulation was"
                   " not as true as asked.", "none",
                   Ask(q.total("edgebed_receipt_checks", f'{ONE_RUN}, result="failed"'), now=True), bad_above=1),
            curves("Accuracy", "Top-1 accuracy on the test set, of the coordinator's model (global) and of devices.",
                   "percentunit", Ask(f'edgebed_accuracy_ratio{{{ONE_RUN}, split!="own"}}', "{{device}}"),
                   min=0, max=1, steps=True),
            curves("Loss", "Cross-entropy (nats) on the test set.", "none",
                   Ask(f"edgebed_loss{{{ONE_RUN}}}", "{{device}} {{split}}"), steps=True),
            curves("Payload sent, by kind", "Bytes a second of encoded messages, by kind of message.", "Bps",
                   Ask(q.per_second("edgebed_payload_bytes_total", sent, "kind"), "{{kind}}"), stacked=True),
            curves("Power, modelled, by component", "Joules a second of all devices, modelled from their profiles; what"
                   " meters measured is in the energy dashboard.", "watt",
                   Ask(q.per_second("edgebed_energy_joules_total", f'{ONE_RUN}, source="model"', "component"),
                       "{{component}}"), stacked=True),
            curves("Time of a local step", "Median and 95th percentile, by group of devices.", "s",
                   *q.percentiles("edgebed_local_step_seconds", ONE_RUN, "group")),
            curves("Age of an update's base model", "Versions between a model's departure and the update made on it:"
                   " median and 95th percentile.", "none",
                   *q.percentiles("edgebed_staleness_versions", ONE_RUN, "group")),
            states("Devices", "Up, down, and whether a planned fault acts on the device.",
                   Ask(q.device_states(ONE_RUN), "{{device}}"), DEVICE_STATES),
            table("Run", "What the run is.",
                  {"": (Ask(f"max_over_time(edgebed_run_info{{{ONE_RUN}}}[$__range])", now=True, table=True), "none")},
                  hide=("Value",), height=4),
        ],
    )  # fmt: skip
