"""What commands print of plans and outcomes: tables for people, or JSON."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator import quantities
from orchestrator.outcome import Finding, Outcome, meaning
from orchestrator.terminal import print_line, print_table

if TYPE_CHECKING:
    from orchestrator.compare import Comparison

HEADLINES = ("test_accuracy", "sent_payload_bytes", "sent_wire_bytes", "energy_joules", "round_s")
STYLES = {"met": "green", "missed": "red", "unknown": "yellow"}
MARKS = {"met": "✓", "missed": "✗", "unknown": "?"}


def show_outcome(name: str, outcome: Outcome, *, as_json: bool) -> int:
    """The end of one run; returns its exit code."""
    if as_json:
        click.echo(json.dumps({"event": "result", "schema_version": 1, "name": name, **outcome.to_json()}))
        return outcome.exit_code
    figures = [metric for metric in HEADLINES if outcome.summary.get(metric) is not None]
    rows = [list(row) for row in zip(map(quantities.words, figures), values(outcome.summary, figures), strict=True)]
    print_table("", [name, ""], rows)
    _show_findings([(None, finding) for finding in outcome.expectations])
    for note in outcome.notes:
        print_line(f"note: {note}")
    _show_end(outcome.status, outcome.exit_code, outcome.directory)
    return outcome.exit_code


def show_comparison(comparison: "Comparison", *, as_json: bool) -> int:
    """The end of several runs; returns the exit code of the worst."""
    if as_json:
        click.echo(json.dumps({"event": "result", **comparison.to_json(), "directory": str(comparison.directory)}))
        return comparison.exit_code
    summaries = [result.outcome.summary if result.outcome else {} for result in comparison.results]
    figures = [metric for metric in HEADLINES if any(summary.get(metric) is not None for summary in summaries)]
    rows = [
        [result.label, *values(summary, figures), meaning(result.exit_code)]
        for result, summary in zip(comparison.results, summaries, strict=True)
    ]
    print_table(comparison.name, ["run", *map(quantities.words, figures), "ended"], rows)
    outcomes = [(result.label, result.outcome) for result in comparison.results if result.outcome]
    _show_findings([(label, finding) for label, outcome in outcomes for finding in outcome.expectations])
    for note in dict.fromkeys(note for _, outcome in outcomes for note in outcome.notes):
        print_line(f"note: {note}")
    for result in comparison.results:
        if result.error:
            print_line(f"{result.label}: {result.error}", style="red")
    done = f"{len(comparison.results)} of {comparison.planned} runs"
    _show_end(done, comparison.exit_code, comparison.directory)
    return comparison.exit_code


def values(summary: Mapping[str, float | None], metrics: Sequence[str]) -> list[str]:
    """Figures of a summary as texts."""
    return [quantities.of_metric(metric, summary.get(metric)) for metric in metrics]


def _show_findings(findings: Sequence[tuple[str | None, Finding]]) -> None:
    for label, finding in findings:
        found = "nothing measured" if finding.found is None else quantities.of_metric(finding.metric, finding.found)
        who = f"{label}: " if label else ""
        text = f"{MARKS[finding.verdict]} {who}{finding.text}: {found} ({finding.verdict})"
        print_line(text, style=STYLES[finding.verdict])


def _show_end(what: str, exit_code: int, directory: Path) -> None:
    print_line(f"{what}: {meaning(exit_code)} (exit code {exit_code})")
    print_line(f"run directory: {directory}")
    print_line(f"report:        edgebed report {directory}")


def listed(names: Sequence[str], most: int = 6) -> str:
    """Some names and how many more."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"


def print_json(value: Any) -> None:
    """A JSON document on stdout."""
    click.echo(json.dumps(value, indent=1))
