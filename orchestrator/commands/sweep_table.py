"""What is printed at the end of a sweep: the table, what failed, what was claimed; and the table as files."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from orchestrator import quantities
from orchestrator.commands.results import HELD, MARKS, REAL, SIMULATED, STYLES, claims_found, show_claims, shown
from orchestrator.outcome import INTERRUPTED, meaning

if TYPE_CHECKING:
    from analysis.matrix import Row
    from orchestrator.compare import Comparison

CSV, JSON = "table.csv", "table.json"
ENDED = ("complete", "degraded")
MOST_FAILED = 10  # named one by one
FIRM = 3  # headlines that stay where the window is narrow; the others go, and are in the files


def show_sweep(comparison: "Comparison", *, as_json: bool) -> int:
    """The end of a sweep; returns the exit code of the worst run, or 1 where a claim does not hold."""
    from analysis import matrix

    content = comparison.to_json()
    runs = [
        shown(each["label"], each, comparison.directory / each["directory"], each["error"]) for each in content["runs"]
    ]
    table = matrix.rows(content["runs"])
    findings = claims_found(comparison.claims, runs)
    exit_code = comparison.exit_code or (0 if all(finding.verdict in HELD for finding in findings) else 1)
    (comparison.directory / CSV).write_text(matrix.to_csv(table), encoding="utf-8")
    rows = matrix.to_json(table)
    (comparison.directory / JSON).write_text(
        json.dumps({"schema_version": 1, "rows": rows}, indent=1) + "\n", encoding="utf-8"
    )
    if as_json:
        event = {"event": "result", **content, "directory": str(comparison.directory), "exit_code": exit_code}
        click.echo(json.dumps({**event, "claims_found": [asdict(each) for each in findings], "table": rows}))
        return exit_code
    from orchestrator.terminal import print_line

    print_rows(comparison.name, table)
    for kind, text in ((False, REAL), (True, SIMULATED)):
        if any(run.simulated is kind for run in runs if run.summary):
            print_line(text, "dim", indent=2)
    print_line()
    _show_expected(content["runs"])
    show_claims(findings)
    _show_failed(content["runs"])
    _show_ending(comparison, exit_code)
    return exit_code


def print_rows(title: str, table: "Sequence[Row]") -> None:
    """The table on stdout: mean and standard deviation over the seeds."""
    from analysis import matrix
    from orchestrator.terminal import Column, print_table

    if not table:
        return  # nothing has ended
    names, cells, varied = matrix.texts(table)
    counts = ("n", "failed", "degraded")
    columns = [
        Column(name, number=index >= varied, soft=index >= varied + FIRM and name not in counts)
        for index, name in enumerate(names)
    ]
    print_table(f"{title}: mean ± SD over n runs", columns, cells)


def _show_expected(runs: Sequence[Mapping[str, Any]]) -> None:
    """A line for each expectation: in how many runs it was met."""
    from orchestrator.terminal import print_line

    found: dict[tuple[str, str], Counter[str]] = {}
    for run in runs:
        for each in run.get("expectations", ()):
            found.setdefault((each["metric"], each["text"]), Counter())[each["verdict"]] += 1
    for (metric, said), counts in found.items():
        text = quantities.words(metric) + said.removeprefix(metric)
        verdict = "missed" if counts["missed"] else "unknown" if counts["unknown"] else "met"
        met = f"met in {counts['met']} of {counts.total()} runs"
        print_line(f"{MARKS[verdict]} {text}: {met}", STYLES[verdict], indent=2)


def _show_failed(runs: Sequence[Mapping[str, Any]]) -> None:
    """A line for each run without figures, with the reason, and for each that was lost and made again."""
    from orchestrator.terminal import print_line

    failed = [run for run in runs if run.get("status") not in ENDED]
    for run in failed[:MOST_FAILED]:
        why = run["error"] or " | ".join(run.get("notes", ())) or meaning(run["exit_code"])
        print_line(f"✗ {run['label']}: {why}", "red", indent=2)
    if len(failed) > MOST_FAILED:
        print_line(f"✗ and {len(failed) - MOST_FAILED} more", "red", indent=2)
    for run in runs:
        if run.get("lost") and run not in failed:
            print_line(f"! {run['label']}: made again, since {'; '.join(run['lost'])}", "yellow", indent=2)


def _show_ending(comparison: "Comparison", exit_code: int) -> None:
    """How it ended, and where to look further."""
    from orchestrator.terminal import print_line

    missing = comparison.planned - len(comparison.results)
    if missing:
        text = f"{missing} of {comparison.planned} runs have not ended. To go on: the same command with --resume"
        print_line(f"{text} --out {comparison.directory}", "yellow", indent=2)
    ending = "interrupted" if exit_code == INTERRUPTED else meaning(exit_code)
    print_line(f"The worst of all: {ending}. Exit code {exit_code}.", "green" if exit_code == 0 else "yellow")
    print_line()
    print_line(f"table:  {comparison.directory / CSV}, and as {JSON}")
    print_line(f"report: edgebed report {comparison.directory}")
