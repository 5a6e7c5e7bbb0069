"""The energy of one run, and the computing that it went into."""

from orchestrator.telemetry.dashboards import queries as q
from orchestrator.telemetry.dashboards.parts import ONE_RUN, Ask, Json, bars, curves, dashboard


def energy() -> Json:
    """The dashboard. Modelled and measured joules are always told apart and never added."""
    joules = "edgebed_energy_joules_total"
    return dashboard(
        "edgebed-energy",
        "energy",
        "Joules of one run by device and component, modelled or measured (source), and CPU time and memory.",
        [
            curves("Power, by component", "Joules a second of all devices, by component and source of the figure; not"
                   " stacked, since modelled and measured joules are not to be added.", "watt",
                   Ask(q.per_second(joules, ONE_RUN, "component, source"), "{{component}} ({{source}})")),
            curves("Power, by device", "Joules a second, by device and source of the figure.", "watt",
                   Ask(q.per_second(joules, ONE_RUN, "device, source"), "{{device}} ({{source}})")),
            curves("Energy so far", "Joules since the run began, by component and source; not stacked, as above.",
                   "joule",
                   Ask(f"sum by (component, source) ({joules}{{{ONE_RUN}}})", "{{component}} ({{source}})")),
            curves("Modelled joules for each point of accuracy", "Joules so far, divided by percentage points of"
                   " accuracy so far.", "joule",
                   Ask(f'sum by (run) ({joules}{{{ONE_RUN}, source="model"}}) / on (run) (100 * '
                       f"({q.accuracy(ONE_RUN)}))", "J per point")),
            bars("Energy, by component", "Joules in the range shown.", "joule",
                 Ask(q.total(joules, ONE_RUN, "component, source"), "{{component}} ({{source}})", now=True)),
            bars("Energy, by device", "Joules in the range shown.", "joule",
                 Ask(q.total(joules, ONE_RUN, "device, source"), "{{device}} ({{source}})", now=True)),
            curves("CPU time", "CPU seconds a second on the host, by node.", "percentunit",
                   Ask(q.per_second("edgebed_cpu_seconds_total", ONE_RUN, "device"), "{{device}}")),
            curves("Held back by its share", "Seconds a second in which a node's CPU share was used up.", "percentunit",
                   Ask(q.per_second("edgebed_cpu_throttled_seconds_total", ONE_RUN, "device"), "{{device}}")),
            curves("Memory", "Memory of a node's own pages.", "bytes",
                   Ask(f"edgebed_memory_bytes{{{ONE_RUN}}}", "{{device}}"), width=24),
        ],
    )  # fmt: skip
