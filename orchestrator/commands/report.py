"""`edgebed report`: one HTML file about a run, or about several side by side; or their figure alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands.find import find_run
from orchestrator.commands.options import option
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from analysis.load import Run

FIGURE_KINDS = (".svg", ".png", ".pdf")


@click.command()
@click.argument("runs", nargs=-1)
@option("-o", "--output", type=click.Path(path_type=Path), help="The file. [default: report.html in the first run]")
@option(
    "--figure",
    type=click.Path(path_type=Path),
    help="Write the figure alone (accuracy over time, and against bytes) to this file: .svg, .png or .pdf.",
)
def report(runs: tuple[str, ...], output: Path | None, figure: Path | None) -> int:
    """Write the report of runs as one HTML file.

    RUNS are paths, names in runs/, or `latest`, which is the default. The file holds everything, so it can be
    sent and opened anywhere. Prints its path.
    """
    from analysis.load import NotARunError, load_runs
    from analysis.report import render

    if figure is not None and figure.suffix not in FIGURE_KINDS:
        raise UsageError(f"--figure {figure}: the name must end with {', '.join(FIGURE_KINDS)}")
    folders = [find_run(name) for name in runs or ("latest",)]
    try:
        loaded = load_runs(folders)
    except NotARunError as error:
        raise UsageError(str(error)) from error
    if not loaded:
        raise UsageError(f"no run in {', '.join(map(str, folders))} came far enough to have a plan")
    path = figure or output or folders[0] / "report.html"
    try:
        if figure is not None:
            _write_figure(loaded, figure)
        else:
            path.write_text(render(loaded), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    click.echo(str(path))
    return 0


def _write_figure(runs: "Sequence[Run]", path: Path) -> None:
    from analysis import figures

    ids = ", ".join(f"{run.label} {run.environment.get('run_id', '')}".strip() for run in runs)
    folders = " ".join(dict.fromkeys(run.directory.parent.name for run in runs))
    about = f"{runs[0].name} on {runs[0].environment.get('substrate', 'an unknown substrate')}, runs {ids}. "
    figures.save(figures.overview(runs), path, f"{about}Made by: edgebed report {folders} --figure {path.name}")
