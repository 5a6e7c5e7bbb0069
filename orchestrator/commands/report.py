"""`edgebed report`: one HTML file about a run, or about several side by side; or their tables and figures."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
@option(
    "--tables",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the tables (.md, .tex) and the figures (.svg, .pdf, with their .csv) to this folder instead.",
)
def report(runs: tuple[str, ...], output: Path | None, figure: Path | None, tables: Path | None) -> int:
    """Write the report of runs as one HTML file.

    RUNS are paths, names in runs/, or `latest`, which is the default. The file holds everything, so it can be
    sent and opened anywhere. Runs that differ by their seed alone are shown as means. Prints the path.
    """
    from analysis.claims import judge
    from analysis.export import export
    from analysis.load import NotARunError, load_comparisons
    from analysis.report import render

    if figure is not None and figure.suffix not in FIGURE_KINDS:
        raise UsageError(f"--figure {figure}: the name must end with {', '.join(FIGURE_KINDS)}")
    folders = [find_run(name) for name in runs or ("latest",)]
    try:
        with _all_kept():
            comparisons = load_comparisons(folders)
    except NotARunError as error:
        raise UsageError(str(error)) from error
    loaded = [run for comparison in comparisons for run in comparison.runs]
    findings = [
        finding
        for comparison in comparisons
        for finding in judge(comparison.claims, [(run.label, run.summary) for run in comparison.runs])
    ]
    missing = [line for comparison in comparisons for line in comparison.missing]
    if not loaded:
        raise UsageError(f"no run in {', '.join(map(str, folders))} came far enough to have a plan")
    path = figure or tables or output or folders[0] / "report.html"
    try:
        if figure is not None:
            _write_figure(loaded, figure)
        elif tables is not None:
            export(tables, loaded, findings, _about(loaded, f"--tables {tables.name}"))
        else:
            path.write_text(render(loaded, findings, missing), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    click.echo(str(path))
    return 0


@contextmanager
def _all_kept() -> Iterator[None]:
    """Records by the hundred thousand are read here and all stay until the end: to look for garbage among them again
    and again would take a quarter of the time that a report takes.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _write_figure(runs: "Sequence[Run]", path: Path) -> None:
    from analysis import figures
    from analysis.groups import group

    figures.save(figures.overview(group(runs)), path, _about(runs, f"--figure {path.name}"))


def _about(runs: "Sequence[Run]", option: str) -> str:
    """What a figure by itself says of where it comes from: substrate, runs and the command."""
    substrates = ", ".join(dict.fromkeys(run.fact("substrate") for run in runs))
    ids = ", ".join(f"{run.label} {run.environment.get('run_id', '')}".strip() for run in runs)
    folders = " ".join(dict.fromkeys(run.directory.parent.name for run in runs))
    return f"{runs[0].name} on {substrates}, runs {ids}. Made by: edgebed report {folders} {option}"
