"""`edgebed runs`: list, show, remove and compare what has been run."""

import json
import shutil
from pathlib import Path
from typing import Any

import click

from orchestrator.commands.find import find_run, is_comparison, run_directories
from orchestrator.commands.options import json_option
from orchestrator.commands.results import HEADLINES, print_json, values
from orchestrator.errors import UsageError
from orchestrator.outcome import meaning
from orchestrator.quantities import words


@click.group()
def runs() -> None:
    """List, show, remove and compare runs."""


@runs.command("list")
@json_option
def list_runs(as_json: bool) -> int:
    """List the runs in runs/, oldest first, with what they ended with and their size."""
    from orchestrator import quantities
    from orchestrator.terminal import print_table

    found = [{"run": path.name, **_ended(path), "size_bytes": size_bytes(path)} for path in run_directories()]
    if as_json:
        print_json({"schema_version": 1, "runs": found})
    elif found:
        rows = [[run["run"], run["ended"], quantities.with_unit(run["size_bytes"], "B")] for run in found]
        print_table("", ["run", "ended", "size"], rows)
    else:
        click.echo("no runs yet; try: edgebed run smoke", err=True)
    return 0


@runs.command()
@click.argument("run", default="latest")
@json_option
def show(run: str, as_json: bool) -> int:
    """Show what came of RUN (`latest`, if not given)."""
    from orchestrator.terminal import print_line, print_table

    path = find_run(run)
    result = _result(path)
    if as_json:
        print_json({"schema_version": 1, "directory": str(path), "result": result})
        return 0
    if is_comparison(path):
        _compare(path.name, {entry["label"]: entry.get("summary", {}) for entry in result["runs"]})
    else:
        summary = result.get("summary", {})
        rows = [[metric, value] for metric, value in zip(summary, values(summary, list(summary)), strict=True)]
        print_table(path.name, ["figure", "value"], rows)
        for note in result.get("notes", ()):
            print_line(f"note: {note}")
    print_line(f"{_ended(path)['ended']}; directory: {path}")
    return 0


@runs.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN...")
@json_option
def compare(names: tuple[str, ...], as_json: bool) -> int:
    """Put RUNs side by side."""
    summaries: dict[str, dict[str, float | None]] = {}
    for name in names:
        path = find_run(name)
        if is_comparison(path):
            entries = _result(path)["runs"]
            summaries |= {f"{path.name} {entry['label']}": entry.get("summary", {}) for entry in entries}
        else:
            summaries[path.name] = _result(path).get("summary", {})
    if as_json:
        print_json({"schema_version": 1, "runs": summaries})
    else:
        _compare("", summaries)
    return 0


@runs.command()
@click.option("--keep", type=click.IntRange(min=0), default=20, show_default=True, help="How many of the newest stay.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed.")
def prune(keep: int, dry_run: bool) -> int:
    """Remove all but the newest runs. A run that lives, or that left something to clean, stays."""
    from orchestrator.journal import leftovers

    found = run_directories()
    for path in found[: max(0, len(found) - keep)]:
        if not _has_ended(path) or any(leftovers(path)):
            click.echo(f"kept {path}: it has no result; if it was killed: edgebed clean", err=True)
            continue
        if not dry_run:
            shutil.rmtree(path)
        click.echo(f"{'would remove' if dry_run else 'removed'} {path}")
    return 0


def size_bytes(path: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _compare(title: str, summaries: dict[str, dict[str, float | None]]) -> None:
    from orchestrator.terminal import print_table

    metrics = [metric for metric in HEADLINES if any(summary.get(metric) is not None for summary in summaries.values())]
    rows = [[name, *values(summary, metrics)] for name, summary in summaries.items()]
    print_table(title, ["run", *map(words, metrics)], rows)


def _has_ended(path: Path) -> bool:
    return (path / ("compare.json" if is_comparison(path) else "result.json")).is_file()


def _ended(path: Path) -> dict[str, Any]:
    if not _has_ended(path):
        return {"exit_code": None, "ended": "no result: lives, or was killed"}
    code = _result(path).get("exit_code")
    return {"exit_code": code, "ended": meaning(code) if isinstance(code, int) else "unknown"}


def _result(path: Path) -> dict[str, Any]:
    file = path / ("compare.json" if is_comparison(path) else "result.json")
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UsageError(f"{file} is broken: {error}") from error
    if not isinstance(result, dict):
        raise UsageError(f"{file} is broken: not an object")
    return result
