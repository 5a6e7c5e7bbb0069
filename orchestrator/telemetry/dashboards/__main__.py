"""Write the dashboards that Grafana is provisioned with."""

from orchestrator.telemetry.dashboards import dashboards, text
from orchestrator.telemetry.observe import CONFIGURATION

for uid, dashboard in dashboards().items():
    (CONFIGURATION / "grafana" / "dashboards" / f"{uid}.json").write_text(text(dashboard), encoding="utf-8")
