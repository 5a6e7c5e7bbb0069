"""`edgebed trace`: one run as a time line for Perfetto."""

import json
from pathlib import Path

import click

from orchestrator.commands.find import find_single_run
from orchestrator.commands.options import option
from orchestrator.errors import UsageError


@click.command()
@click.argument("run", default="latest")
@option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="The file. [default: stdout]")
def trace(run: str, output: Path | None) -> int:
    """Write RUN as Chrome trace events (JSON), one track a node: computing, messages, faults, what is on its way.

    Open the file at ui.perfetto.dev, which shows it without sending it anywhere. Times are microseconds of the
    scenario's clock since the run began.
    """
    from analysis.load import load_runs
    from analysis.trace_events import trace as traced

    directory = find_single_run(run)
    (loaded,) = load_runs([directory])
    text = json.dumps(traced(loaded), separators=(",", ":"))
    if output is None:
        click.echo(text)
        return 0
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}") from error
    click.echo(str(output))
    return 0
