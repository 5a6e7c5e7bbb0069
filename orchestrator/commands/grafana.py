"""`edgebed grafana`: put the dashboards and a run's faults into a Grafana of your own; check that it can be done."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands.find import find_run
from orchestrator.commands.options import Decorator, option

if TYPE_CHECKING:
    from orchestrator.telemetry.grafana import Grafana

FAILED = 4

url_option: Decorator = option(
    "--url", envvar="EDGEBED_GRAFANA_URL", required=True, help="Where Grafana is: http://127.0.0.1:3000."
)
token_option: Decorator = option(
    "--token-file",
    envvar="EDGEBED_GRAFANA_TOKEN_FILE",
    required=True,
    type=click.Path(path_type=Path),
    help="File (mode 0600) that holds a service account's token.",
)
prometheus_option: Decorator = option(
    "--prometheus-url",
    default="http://127.0.0.1:9090",
    show_default=True,
    help="Where Prometheus is, seen from Grafana.",
)


@click.group()
def grafana() -> None:
    """Put the dashboards and a run's faults into a Grafana of your own.

    A token is made in Grafana under Administration, Service accounts, with the role Admin (push makes a data source)
    or Editor (annotate).
    """


@grafana.command()
@url_option
@token_option
@prometheus_option
def push(url: str, token_file: Path, prometheus_url: str) -> int:
    """Put all dashboards into the folder Edgebed, and the data source edgebed-prom beside them."""
    from orchestrator.telemetry.dashboards import dashboards

    server = _connected(url, token_file)
    server.version()
    if server.ensure_datasource(prometheus_url):
        click.echo(f"data source edgebed-prom: {prometheus_url}", err=True)
    server.ensure_folder()
    for dashboard in dashboards().values():
        click.echo(server.push(dashboard))
    return 0


@grafana.command()
@click.argument("run", default="latest")
@url_option
@token_option
def annotate(run: str, url: str, token_file: Path) -> int:
    """Mark RUN's faults (`latest`, if not given) as annotations of the whole organisation, once."""
    from orchestrator.telemetry.annotations import of_run

    directory = find_run(run)
    server = _connected(url, token_file)
    stretches = of_run(directory)
    there = {(each["text"], each["time"]) for stretch in stretches[:1] for each in server.annotations(stretch.tags[:2])}
    new = [stretch for stretch in stretches if (stretch.text, round(1000 * stretch.from_s)) not in there]
    for stretch in new:
        server.annotate(stretch)
    click.echo(f"{len(new)} faults annotated, {len(stretches) - len(new)} were there already")
    return 0


@grafana.command()
@url_option
@token_option
@prometheus_option
def check(url: str, token_file: Path, prometheus_url: str) -> int:
    """Try all that Edgebed needs of this Grafana, on scratch names that are removed again."""
    from orchestrator.telemetry.grafana_check import check as check_all

    code = 0
    for tried in check_all(_connected(url, token_file), prometheus_url):
        click.echo(f"FAILED  {tried.what}: {tried.problem}" if tried.problem else f"ok      {tried.what}")
        code = FAILED if tried.problem else code
    return code


def _connected(url: str, token_file: Path) -> "Grafana":
    from orchestrator.telemetry.grafana import Grafana, read_token

    return Grafana(url, read_token(token_file))
