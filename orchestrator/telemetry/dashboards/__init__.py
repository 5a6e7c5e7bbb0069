"""Dashboards as code. `python -m orchestrator.telemetry.dashboards` writes them to observability/grafana/dashboards/.

They ask for the metrics themselves and not for recorded series: those a replayed run does not have.
"""

import json

from orchestrator.telemetry.dashboards.compare import compare
from orchestrator.telemetry.dashboards.energy import energy
from orchestrator.telemetry.dashboards.faults import faults
from orchestrator.telemetry.dashboards.network import network
from orchestrator.telemetry.dashboards.overview import overview
from orchestrator.telemetry.dashboards.parts import Json

DASHBOARDS = (overview, network, energy, faults, compare)


def dashboards() -> dict[str, Json]:
    """All dashboards by uid."""
    return {str(made["uid"]): made for made in (make() for make in DASHBOARDS)}


def text(dashboard: Json) -> str:
    """A dashboard as the file that is provisioned."""
    return json.dumps(dashboard, indent=1, ensure_ascii=False) + "\n"
