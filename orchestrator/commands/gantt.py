"""`edgebed gantt`: what every device of a run did when, with the faults over it, as text or as a figure."""

import shutil
import sys
from pathlib import Path

import click

from orchestrator.commands.find import find_single_run
from orchestrator.commands.options import option
from orchestrator.commands.report import FIGURE_KINDS
from orchestrator.errors import UsageError

PAPER_COLUMNS = 100  # where nobody's window sets a width


@click.command()
@click.argument("run", default="latest")
@option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write it as a figure to this file: .svg, .png or .pdf. [default: as text on stdout, as wide as the window]",
)
def gantt(run: str, output: Path | None) -> int:
    """Show the time line of RUN: when each device computed, had messages on the way, waited or was down, and the
    faults.
    """
    from analysis import gantt as chart
    from analysis.load import load_runs

    if output is not None and output.suffix not in FIGURE_KINDS:
        raise UsageError(f"--output {output}: the name must end with {', '.join(FIGURE_KINDS)}")
    directory = find_single_run(run)
    (loaded,) = load_runs([directory])
    if not loaded.plan.get("nodes"):
        raise UsageError(f"{directory}: there is no time line to draw; {'; '.join(loaded.problems)}")
    if output is None:
        from orchestrator.terminal import print_line

        width = shutil.get_terminal_size((PAPER_COLUMNS, 0)).columns
        marks = chart.BLOCKS if _can_write("".join(chart.BLOCKS.values())) else chart.ASCII
        for line in chart.lines(loaded, width, marks):
            print_line(line)
        return 0
    from analysis import figures

    try:
        title = chart.title(loaded)
        figures.save(figures.timeline(loaded, title), output, f"{title}. Made by: edgebed gantt {directory.name}")
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}") from error
    click.echo(str(output))
    return 0


def _can_write(text: str) -> bool:
    """Whether stdout has these letters."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
