"""`edgebed report`: one HTML file about a run, or about several side by side."""

from pathlib import Path

import click

from orchestrator.commands.find import find_run
from orchestrator.commands.options import option
from orchestrator.errors import UsageError


@click.command()
@click.argument("runs", nargs=-1)
@option("-o", "--output", type=click.Path(path_type=Path), help="The file. [default: report.html in the first run]")
def report(runs: tuple[str, ...], output: Path | None) -> int:
    """Write the report of runs as one HTML file.

    RUNS are paths, names in runs/, or `latest`, which is the default. The file holds everything, so it can be
    sent and opened anywhere. Prints its path.
    """
    from analysis.load import NotARunError, load_runs
    from analysis.report import render

    folders = [find_run(name) for name in runs or ("latest",)]
    try:
        loaded = load_runs(folders)
    except NotARunError as error:
        raise UsageError(str(error)) from error
    if not loaded:
        raise UsageError(f"no run in {', '.join(map(str, folders))} came far enough to have a plan")
    path = output or folders[0] / "report.html"
    path.write_text(render(loaded), encoding="utf-8")
    click.echo(str(path))
    return 0
