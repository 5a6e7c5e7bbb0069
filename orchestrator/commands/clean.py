"""`edgebed clean`: remove what killed runs left behind."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from orchestrator.commands.find import RUNS
from orchestrator.commands.options import json_option, option


@click.command()
@option("--runs", "folder", type=click.Path(path_type=Path), default=RUNS, show_default=True, help="Folder of runs.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed.")
@json_option
def clean(folder: Path, dry_run: bool, as_json: bool) -> int:
    """Remove what killed runs left behind.

    Only what their own journals list. Runs that are still alive are left alone, and so are run directories.
    """
    from orchestrator import journal

    removed = journal.clean(folder, dry_run=dry_run)
    if as_json:
        found = [{key: str(value) for key, value in asdict(leftover).items()} for leftover in removed]
        click.echo(json.dumps({"schema_version": 1, "dry_run": dry_run, "removed": found}, indent=1))
        return 0
    for leftover in removed:
        click.echo(f"{'would remove' if dry_run else 'removed'} {leftover.kind} {leftover.path}")
    if not removed:
        click.echo("nothing was left behind", err=True)
    return 0
