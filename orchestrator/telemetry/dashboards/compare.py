"""Several runs side by side: what each reached, and what it cost."""

from orchestrator.telemetry.dashboards import queries as q
from orchestrator.telemetry.dashboards.parts import RUNS, Ask, Json, bars, curves, dashboard, table


def compare() -> Json:
    """The dashboard. Curves lie on each other where the runs were put in with `edgebed replay --together`."""
    sent = f'{RUNS}, direction="sent"'
    modelled = f'{RUNS}, source="model"'
    about = 'max by (run, scenario, algorithm, seed) (max_over_time(edgebed_run_info{run=~"$run"}[$__range]))'
    return dashboard(
        "edgebed-compare",
        "comparing runs",
        "Accuracy, bytes and joules of several runs. To lay their curves on each other: edgebed replay --together.",
        [
            table("Runs", "What each run is, what it reached and what it cost, in the range shown.",
                  {name: (Ask(f"({expr}) * on (run) group_right () {about}", now=True, table=True), unit)
                   for name, expr, unit in (
                       ("accuracy", q.last_accuracy(RUNS), "percentunit"),
                       ("payload sent", q.total("edgebed_payload_bytes_total", sent), "decbytes"),
                       ("sent on the wire", q.total("edgebed_wire_bytes_total", sent), "decbytes"),
                       ("energy, modelled", q.total("edgebed_energy_joules_total", modelled), "joule"),
                       ("faults", q.total("edgebed_failures_injected_total", RUNS), "none"))}),
            curves("Accuracy", "Of the coordinator's model, or the devices' mean.", "percentunit",
                   Ask(q.accuracy(RUNS), "{{run}}"), min=0, max=1, steps=True),
            curves("Payload sent so far", "Bytes of encoded messages since each run began.", "decbytes",
                   Ask(f"sum by (run) (edgebed_payload_bytes_total{{{sent}}})", "{{run}}")),
            curves("Modelled energy so far", "Joules of all devices since each run began.", "joule",
                   Ask(f"sum by (run) (edgebed_energy_joules_total{{{modelled}}})", "{{run}}")),
            curves("Devices up", "How many nodes run.", "none",
                   Ask(f"sum by (run) (edgebed_device_up{{{RUNS}}})", "{{run}}"), min=0, steps=True),
            bars("Last accuracy", "In the range shown.", "percentunit", Ask(q.last_accuracy(RUNS), "{{run}}", now=True),
                 width=8),
            bars("Payload sent", "In the range shown.", "decbytes",
                 Ask(q.total("edgebed_payload_bytes_total", sent), "{{run}}", now=True), width=8),
            bars("Modelled energy", "In the range shown.", "joule",
                 Ask(q.total("edgebed_energy_joules_total", modelled), "{{run}}", now=True), width=8),
        ],
        several_runs=True,
    )  # fmt: skip
