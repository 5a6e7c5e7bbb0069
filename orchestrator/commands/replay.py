"""`edgebed replay`: put finished runs into the Prometheus of `edgebed observe`, so that its dashboards fill."""

from pathlib import Path

import click

from orchestrator.commands.find import find_run, is_comparison
from orchestrator.commands.options import option
from orchestrator.errors import UsageError


@click.command()
@click.argument("runs", nargs=-1, metavar="RUN...")
@option("--together", is_flag=True, help="As if all had begun when the first did: to lay curves on each other.")
def replay(runs: tuple[str, ...], together: bool) -> int:
    """Put finished RUNs (`latest`, if not given; of a comparison all) into the Prometheus of `edgebed observe`.

    Works while it runs, which takes up to a minute until they are seen, and while it does not. Simulated runs can be
    seen this way only: virtual time is too quick to be scraped.
    """
    from orchestrator.telemetry import backfill
    from orchestrator.telemetry.discovery import state_folder, watching_port
    from orchestrator.telemetry.openmetrics import began

    directories = [path for name in runs or ("latest",) for path in _runs_in(find_run(name))]
    at = min(began(path) for path in directories) if together else None
    folder = state_folder()
    for label in (found := backfill.replay(directories, folder, at)):
        click.echo(label)
    port = watching_port(folder)
    if port is None:
        click.echo("in the store; to see it: edgebed observe", err=True)
        return 0
    click.echo("waiting until Prometheus has found them (it looks once a minute)", err=True)
    if not backfill.wait_for(found, port):
        click.echo(f"Prometheus at 127.0.0.1:{port} has not found them yet; start it again to see them", err=True)
        return 5
    return 0


def _runs_in(directory: Path) -> list[Path]:
    if not is_comparison(directory):
        return [directory]
    found = sorted(path.parent for path in directory.glob("*/plan.json"))
    if not found:
        raise UsageError(f"{directory} is a comparison without a run that came far enough to have a plan")
    return found
