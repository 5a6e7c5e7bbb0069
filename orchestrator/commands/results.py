"""What commands print of runs: the figures, the verdict on each expectation, and whether to believe them; or JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator import quantities
from orchestrator.outcome import INTERRUPTED, Outcome

if TYPE_CHECKING:
    from analysis.claims import ClaimFinding
    from orchestrator.compare import Comparison

STYLES = {"met": "green", "missed": "red", "unknown": "yellow"}
MARKS = {"met": "✓", "missed": "✗", "unknown": "?"}
HELD = ("holds", "holds on average")
RUNS_BESIDE = 5  # with more, runs are rows and not columns
REAL = (
    "Measured: real processes, real packets on emulated links. Energy is modelled from the device profiles, unless its "
    "name says that it was measured."
)
SIMULATED = (
    "Simulated: accuracy and payload are measured, on real learning; times and bytes on the wire are those of "
    "simulated links and computing. Energy is modelled from the device profiles."
)


@dataclass(frozen=True)
class Shown:
    """One run to be shown: what `result.json` says of it, and what else its directory holds."""

    label: str
    result: Mapping[str, Any]
    checks: tuple[Mapping[str, Any], ...] = ()  # of its receipt
    error: str | None = None  # why there is no result

    @property
    def summary(self) -> Mapping[str, float | None]:
        """Its figures by metric."""
        summary: Mapping[str, float | None] = self.result.get("summary", {})
        return summary

    @property
    def simulated(self) -> bool:
        """Whether its clock was virtual."""
        return self.result.get("substrate") == "simulation"


def shown(label: str, result: Mapping[str, Any], directory: Path, error: str | None = None) -> Shown:
    """A run with what its directory adds to its result; files that are missing add nothing."""
    checks = _read(directory / "receipt.json").get("checks", ())
    return Shown(label, {**_read(directory / "result.json"), **result}, tuple(checks), error)


def show_outcome(name: str, outcome: Outcome, *, as_json: bool) -> int:
    """The end of one run; returns its exit code."""
    if as_json:
        click.echo(json.dumps({"event": "result", "schema_version": 1, "name": name, **outcome.to_json()}))
        return outcome.exit_code
    show_runs(name, [shown("", outcome.to_json(), outcome.directory)], outcome.exit_code, outcome.directory)
    return outcome.exit_code


def show_comparison(comparison: "Comparison", *, as_json: bool) -> int:
    """The end of several runs; returns the exit code of the worst, or 1 where a claim does not hold."""
    entries = comparison.to_json()["runs"]
    runs = [shown(each["label"], each, comparison.directory / each["directory"], each["error"]) for each in entries]
    findings = claims_found(comparison.claims, runs)
    held = all(finding.verdict in HELD for finding in findings)
    exit_code = comparison.exit_code or (0 if held else 1)
    if as_json:
        event = {"event": "result", **comparison.to_json(), "directory": str(comparison.directory)}
        found = [asdict(finding) for finding in findings]
        click.echo(json.dumps({**event, "exit_code": exit_code, "claims_found": found}))
        return exit_code
    show_runs(comparison.name, runs, exit_code, comparison.directory, planned=comparison.planned, claims=findings)
    return exit_code


def claims_found(claims: Sequence[Mapping[str, Any]], runs: Sequence[Shown]) -> "list[ClaimFinding]":
    """What came of the claims of a comparison."""
    from analysis.claims import judge

    return judge(claims, [(run.label, run.summary) for run in runs])


def show_runs(
    title: str,
    runs: Sequence[Shown],
    exit_code: int | None,
    directory: Path,
    *,
    planned: int | None = None,
    claims: "Sequence[ClaimFinding]" = (),
) -> None:
    """Everything that is said at the end: figures, verdicts, notes, trust, and where to look further."""
    from orchestrator.terminal import print_line

    show_figures(title, runs)
    print_line()
    _show_verdicts(runs)
    show_claims(claims)
    for note in dict.fromkeys(note for run in runs for note in _notes(run)):
        print_line(f"note: {note}", indent=6)
    for run in runs:
        if run.error:
            print_line(f"{run.label}: {run.error}", "red", indent=2)
    _show_trust(runs)
    if planned is not None and len(runs) < planned:
        print_line(f"{planned - len(runs)} of {planned} runs did not begin.", "yellow")
    print_line(_ending(runs, exit_code, bool(claims)), "green" if exit_code == 0 else "yellow", indent=2)
    print_line()
    print_line(f"run directory: {directory}")
    print_line(f"report:        edgebed report {directory}")


def show_figures(title: str, runs: Sequence[Shown]) -> None:
    """The headlines of some runs: a column for each run, or a row, where there are many; and how they are known."""
    from analysis.headlines import family, headlines, mean_with_interval, short_labels
    from orchestrator.terminal import Column, print_line, print_table

    metrics = headlines([run.summary for run in runs])
    labels = short_labels([run.label for run in runs])
    names = [quantities.words(metric) for metric in metrics]
    figures = [values(run.summary, metrics) for run in runs]
    if len(runs) <= RUNS_BESIDE:
        rows = [list(row) for row in zip(names, *figures, strict=True)]
        endings = [str(run.result.get("status", "no result")) for run in runs]
        if len(runs) > 1 and set(endings) != {"complete"}:
            rows.append(["ended", *endings])
        columns = [Column(""), *(Column(label, number=True) for label in labels)]
    else:
        rows = [[label, *cells] for label, cells in zip(labels, figures, strict=True)]
        columns = [Column("run"), *(Column(name, number=True) for name in names)]
        families = list(dict.fromkeys(family(run.label) for run in runs))
        if len(families) < len(runs):
            rows = [
                [short, *(mean_with_interval(each, _of_family(name, runs, each)) for each in metrics)]
                for short, name in zip(short_labels(families), families, strict=True)
            ]
            columns = [Column(f"mean of {len(runs) / len(families):g} seeds, ± 95 % CI"), *columns[1:]]
    print_table(title, columns, rows)
    for text, kind in ((REAL, False), (SIMULATED, True)):
        if any(run.simulated is kind for run in runs):
            print_line(text, "dim", indent=2)


def _of_family(name: str, runs: Sequence[Shown], metric: str) -> list[float | None]:
    """A metric in the runs that differ by the seed alone."""
    from analysis.headlines import family

    return [run.summary.get(metric) for run in runs if family(run.label) == name]


def values(summary: Mapping[str, float | None], metrics: Sequence[str]) -> list[str]:
    """Figures of a summary as texts."""
    return [quantities.of_metric(metric, summary.get(metric)) for metric in metrics]


def listed(names: Sequence[str], most: int = 6) -> str:
    """Some names and how many more."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"


def print_json(value: Any) -> None:
    """A JSON document on stdout."""
    click.echo(json.dumps(value, indent=1))


def _show_verdicts(runs: Sequence[Shown]) -> None:
    """A line for each expectation and verdict, with what each run found."""
    from analysis.headlines import short_labels
    from orchestrator.terminal import print_line

    found: dict[tuple[str, str], list[str]] = {}
    for label, run in zip(short_labels([run.label for run in runs]), runs, strict=True):
        for each in run.result.get("expectations", ()):
            metric = each["metric"]
            text = quantities.words(metric) + each["text"].removeprefix(metric)
            value = "nothing measured" if each["found"] is None else quantities.of_metric(metric, each["found"])
            found.setdefault((text, each["verdict"]), []).append(f"{label} {value}".strip())
    for (text, verdict), texts in found.items():
        print_line(f"{MARKS[verdict]} {text}: {verdict} ({', '.join(texts)})", STYLES[verdict], indent=2)


def show_claims(claims: "Sequence[ClaimFinding]") -> None:
    """A line for each claim of the comparison: the figure over all seeds, its interval, and whether it holds."""
    from orchestrator.terminal import print_line

    for claim in claims:
        found = claim.why or f"found {claim.shown}{claim.interval}"
        style = {"holds": "green", "holds on average": "green", "does not hold": "red"}.get(claim.verdict, "yellow")
        mark = {"green": "✓", "red": "✗", "yellow": "?"}[style]
        print_line(f"{mark} {claim.text}: {claim.verdict} ({found})", style, indent=2)


def _notes(run: Shown) -> list[str]:
    """Its notes, but for those that the receipt says better."""
    from analysis import receipt

    return [note for note in run.result.get("notes", ()) if not receipt.tells(run.checks, note)]


def _show_trust(runs: Sequence[Shown]) -> None:
    from analysis import receipt
    from analysis.headlines import short_labels
    from orchestrator.terminal import print_line

    remedies: dict[str, None] = {}
    for label, run in zip(short_labels([run.label for run in runs]), runs, strict=True):
        who = f"{label}: " if label else ""
        for line in receipt.failures(run.checks):
            print_line(f"! {who}{receipt.sentence(line)}", "yellow", indent=2)
            remedies[line.remedy] = None
    checked = [run for run in runs if run.checks]
    if checked and not remedies:
        checks = [check for run in checked for check in run.checks]
        ended = all(run.result for run in checked)
        what = "links and computing were as asked" if ended else "links were as asked before the run, which has no end"
        print_line(f"✓ {what}: {receipt.worth(checks)}", "green", indent=2)
    for remedy in remedies:
        print_line(f"  What helps: {remedy}.", indent=2)


def _ending(runs: Sequence[Shown], exit_code: int | None, claimed: bool) -> str:
    """How it all ended, in words, with the exit code."""
    degraded = any(run.result.get("status") == "degraded" for run in runs)
    accepted = "; degraded, as --allow-degraded accepts" if degraded else ""
    expected = claimed or any(run.result.get("expectations") for run in runs)
    endings = {
        None: "No result: the run is still running, or was killed.",
        0: f"Complete, {'everything expected was met' if expected else 'nothing was expected'}{accepted}.",
        1: f"Complete, but not everything expected was met{accepted}.",
        3: "This machine cannot do that.",
        4: "The run broke before its end.",
        5: "The run took longer than it may.",
        6: "Complete, but degraded: not all was as the plan asked (see above), so the figures may mislead. "
        "To take them as they are: --allow-degraded.",
        INTERRUPTED: "Interrupted: the figures cover the time until then.",
    }
    ending = endings.get(exit_code, "Ended.")
    return ending if exit_code is None else f"{ending} Exit code {exit_code}."


def _read(path: Path) -> dict[str, Any]:
    """A file of a run directory; empty where it is missing or broken, since the run itself is what is shown."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
