"""`edgebed export`: a run in the words of other tools."""

import sys
from pathlib import Path

import click

from orchestrator.commands.find import find_single_run
from orchestrator.commands.options import option
from orchestrator.errors import UsageError


@click.group()
def export() -> None:
    """Write a run in the words of other tools."""


@export.command()
@click.argument("run", default="latest")
@option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="The file. [default: stdout]")
@option("--step", type=click.FloatRange(min=0.01), default=1.0, show_default=True, help="Seconds between samples.")
def prom(run: str, output: Path | None, step: float) -> int:
    """Write RUN's metrics as OpenMetrics text with timestamps, as Prometheus would have scraped them.

    The names are those of docs/metrics.md. To look at them in Prometheus itself: edgebed replay RUN.
    """
    from orchestrator.telemetry.openmetrics import export as write

    directory = find_single_run(run)
    if output is None:
        write(directory, sys.stdout, step)
        return 0
    scratch = output.with_name(f"{output.name}.new")
    try:
        with scratch.open("w", encoding="utf-8") as file:
            found = write(directory, file, step)
        scratch.replace(output)
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}") from error
    finally:
        scratch.unlink(missing_ok=True)
    click.echo(f"{output}: {found.samples} samples of {found.run}", err=True)
    return 0
