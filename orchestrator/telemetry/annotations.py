"""The faults of a run as stretches of time, for Grafana's own annotations."""

from pathlib import Path

from orchestrator.telemetry.discovery import run_name
from orchestrator.telemetry.grafana import Stretch
from orchestrator.telemetry.openmetrics import began, read_events


def of_run(directory: Path) -> list[Stretch]:
    """Every fault that acted, in order; one that was never healed lasts to the last event."""
    start, run = began(directory), run_name(directory)
    events = list(read_events(directory))
    end = max((float(event["t"]) for event in events), default=0.0)
    healed = {event["fault"]: float(event["t"]) for event in events if event["event"] == "fault_healed"}
    stretches = []
    for event in events:
        if event["event"] == "fault_injected":
            whom = ", ".join(event.get("nodes") or event.get("links") or ())
            until = healed.get(event["fault"], end)
            tags = ("edgebed", f"run:{run}", "fault", str(event["kind"]))
            stretches.append(Stretch(start + event["t"], start + until, f"{event['kind']} of {whom}", tags))
    return stretches
