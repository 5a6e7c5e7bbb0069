"""`edgebed runs`: list, show, remove and compare what has been run."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from orchestrator.commands.find import find_run, is_comparison, run_directories
from orchestrator.commands.options import json_option
from orchestrator.commands.results import Shown, claims_found, print_json, show_figures, show_runs, shown, values
from orchestrator.commands.sweep_table import print_rows
from orchestrator.errors import UsageError
from orchestrator.outcome import meaning

_TIME = re.compile(r"^\d{8}-\d{6}-")
_ENDINGS = {"met": "complete, expectations met", "missed": "complete, expectations missed"}


@click.group()
def runs() -> None:
    """List, show, remove and compare runs."""


@runs.command("list")
@json_option
def list_runs(as_json: bool) -> int:
    """List the runs in runs/, oldest first, with how they ended and their size."""
    from orchestrator import quantities
    from orchestrator.terminal import Column, print_table

    found = [{"run": path.name, **_ended(path), "size_bytes": size_bytes(path)} for path in run_directories()]
    if as_json:
        print_json({"schema_version": 1, "runs": found})
    elif found:
        rows = [
            [run["run"], _ENDINGS.get(run["ended"], run["ended"]), quantities.with_unit(run["size_bytes"], "B")]
            for run in found
        ]
        print_table("", [Column("run"), Column("ended"), Column("size", number=True)], rows)
    else:
        click.echo("no runs yet; try: edgebed run smoke", err=True)
    return 0


@runs.command()
@click.argument("run", default="latest")
@click.option("--all", "everything", is_flag=True, help="Every figure, by the name that `expect` takes.")
@json_option
def show(run: str, everything: bool, as_json: bool) -> int:
    """Show what came of RUN (`latest`, if not given)."""
    from orchestrator.rundir import SCHEMA_VERSION

    path = find_run(run)
    result = _result(path)
    version = result.get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        text = f"what {path} holds is of version {version}, and this Edgebed reads version {SCHEMA_VERSION}"
        click.echo(f"edgebed: {text}: it may be misunderstood", err=True)
    if as_json:
        print_json({"schema_version": 1, "directory": str(path), "result": result})
    elif everything:
        _show_everything(_shown(path))
    else:
        found = _shown(path)
        claims = claims_found(result.get("claims", ()), found)
        show_runs(path.name, found, _ended(path)["exit_code"], path, planned=result.get("planned"), claims=claims)
    return 0


@runs.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN...")
@json_option
def compare(names: tuple[str, ...], as_json: bool) -> int:
    """Put RUNs side by side."""
    paths = [find_run(name) for name in names]
    found = {f"{path.name} {run.label}".strip(): run for path in paths for run in _shown(path)}
    if as_json:
        print_json({"schema_version": 1, "runs": {label: run.summary for label, run in found.items()}})
    elif len(paths) == 1:
        show_figures(paths[0].name, list(found.values()))
    else:
        labels = _without_time(list(found))
        show_figures("", [replace(run, label=label) for label, run in zip(labels, found.values(), strict=True)])
    return 0


@runs.command()
@click.argument("run", default="latest")
@click.option("--csv", "as_csv", is_flag=True, help="All figures as CSV, in base units.")
@json_option
def table(run: str, as_csv: bool, as_json: bool) -> int:
    """Print the table of a sweep again: mean, standard deviation and n of each combination."""
    from analysis import matrix

    path = find_run(run)
    if not is_comparison(path):
        raise UsageError(f"{path} is a single run; its figures: edgebed runs show {run}")
    result = _result(path)
    rows = matrix.rows(result.get("runs", ()))
    if as_csv:
        click.echo(matrix.to_csv(rows), nl=False)
    elif as_json:
        print_json({"schema_version": 1, "name": result.get("name"), "rows": matrix.to_json(rows)})
    else:
        print_rows(str(result.get("name", path.name)), rows)
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
            click.echo(f"kept {path}: it has no result; if it was killed: edgebed run --resume, or clean", err=True)
            continue
        if not dry_run:
            shutil.rmtree(path)
        click.echo(f"{'would remove' if dry_run else 'removed'} {path}")
    return 0


def size_bytes(path: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _shown(path: Path) -> list[Shown]:
    """The run of a directory, or the runs of a comparison's."""
    result = _result(path)
    if not is_comparison(path):
        return [shown("", result, path)]
    return [shown(each["label"], each, path / each["directory"], each.get("error")) for each in result["runs"]]


def _without_time(labels: list[str]) -> list[str]:
    """Labels without the time at which their runs began, where they are told apart without it."""
    short = [_TIME.sub("", label).replace(" algorithm=", " ") for label in labels]
    return short if len(set(short)) == len(short) else labels


def _show_everything(found: list[Shown]) -> None:
    from orchestrator.terminal import Column, print_table

    metrics = sorted({metric for run in found for metric in run.summary})
    columns = [values(run.summary, metrics) for run in found]
    names = [Column("figure"), *(Column(run.label or "value", number=True) for run in found)]
    print_table("", names, [list(row) for row in zip(metrics, *columns, strict=True)])


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
        raise UsageError(f"{file} is broken: {error}; {_rest(path)}") from error
    if not isinstance(result, dict):
        raise UsageError(f"{file} is broken: not an object; {_rest(path)}")
    return result


def _rest(path: Path) -> str:
    return f"what can still be read is in: edgebed report {path}"
