"""The report's sections on what was claimed of arms and expected of runs, each verdict with a word and a mark."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from analysis import markup, results
from analysis.claims import ClaimFinding
from analysis.groups import listed
from analysis.load import Run
from analysis.trust import RUNS_BESIDE, Names
from orchestrator import quantities

VERDICT_MARKS = {"met": "✓", "missed": "✗ missed", "unknown": "? unknown"}
CLAIM_CLASSES = {"holds": "met", "holds on average": "partly", "does not hold": "missed", "unknown": "unknown"}


def claims(findings: Sequence[ClaimFinding]) -> str:
    """What the scenario claims of its arms, with the verdict on each in a word, a mark and a colour."""
    if not findings:
        return ""
    shown = results.claimed(findings)
    counts = {verdict: sum(finding.verdict == verdict for finding in findings) for verdict in results.VERDICTS}
    said = ", ".join(f"{count} {results.said(verdict, count)}" for verdict, count in counts.items() if count)
    rows = [
        (*map(escape, row[:-1]), markup.coloured(row[-1], CLAIM_CLASSES[finding.verdict]))
        for row, finding in zip(shown.rows, findings, strict=True)
    ]
    table = markup.table(shown.header, rows, texts=shown.texts, html=range(len(shown.header)), whole=(2, 4, 5))
    notes = "".join(markup.paragraph(note, "note") for note in shown.notes)
    total = "One claim" if len(findings) == 1 else f"{len(findings)} claims"
    return markup.section("Claims", markup.paragraph(f"{total}: {said}."), table, notes)


def expectations(runs: Sequence[Run], names: Names) -> str:
    """What the scenario expects of each run; of many runs, who met it and who did not."""
    rows: dict[str, dict[Path, tuple[str, str]]] = {}
    for run in runs:
        for found in run.result.get("expectations", ()):
            metric = found["metric"]
            text = quantities.words(metric) + found["text"].removeprefix(metric)
            value = quantities.of_metric(metric, found["found"])
            rows.setdefault(text, {})[run.directory] = (value, found["verdict"])
    if not rows:
        return "" if len(runs) > 1 else markup.section("Verdict", markup.paragraph("The scenario expects nothing."))
    if len(runs) > RUNS_BESIDE:
        table = markup.table(
            ["expected", "verdicts"],
            [[text, _verdicts(found, names, len(runs))] for text, found in rows.items()],
            texts=2,
            html=(1,),
        )
        return markup.section("Verdict", table)
    cells = [[text, *(_verdict_cell(found.get(run.directory)) for run in runs)] for text, found in rows.items()]
    labels = [names[run.directory] if len(runs) > 1 else "found" for run in runs]
    return markup.section("Verdict", markup.table(["expected", *labels], cells, html=range(1, len(runs) + 1)))


def _verdict_cell(found: tuple[str, str] | None) -> str:
    return "-" if found is None else f"{escape(found[0])} {_verdict_mark(found[1])}"


def _verdicts(found: Mapping[Path, tuple[str, str]], names: Names, of: int) -> str:
    """Each verdict with the runs that earned it."""
    who: dict[str, list[str]] = {}
    for directory, (_, verdict) in found.items():
        who.setdefault(verdict, []).append(names[directory])
    return "; ".join(f"{_verdict_mark(verdict)} {escape(listed(runs, of))}" for verdict, runs in who.items())


def _verdict_mark(verdict: str) -> str:
    return markup.coloured(VERDICT_MARKS.get(verdict, verdict), verdict)
