"""The tables of a report as plain texts: what each arm reached and cost, what was claimed, and every single run."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from analysis import claims, receipt, tables, tabular
from analysis.claims import ClaimFinding
from analysis.groups import FEW_SEEDS, Group, most_seeds, settings
from analysis.headlines import headlines
from analysis.load import Run
from analysis.statistics import mean
from analysis.tabular import Table
from orchestrator import quantities

VERDICTS = {
    "holds": "✓ holds",
    "holds on average": "≈ holds on average",
    "does not hold": "✗ does not hold",
    "unknown": "? unknown",
}


def figures(groups: Sequence[Group]) -> Table:
    """A row for each arm (and setting), with the headlines of its runs."""
    runs = [run for group in groups for run in group.runs]
    metrics = headlines([run.summary for run in runs])
    titles = [quantities.words(metric) for metric in metrics]
    rows = _rows(groups, lambda group: [_cell(group, metric) for metric in metrics])
    notes = [f"Substrate: {', '.join(dict.fromkeys(run.fact('substrate') for run in runs))}.", *_about_seeds(groups)]
    if partly := [cell for row in rows for cell in row[leading(groups) :] if " of " in cell]:
        notes.append(f"“{partly[0]}”: only so many seeds got that far; a mean of these alone would flatter the arm.")
    if degraded := [run for run in runs if run.result.get("status") == "degraded"]:
        count = "One run" if len(degraded) == 1 else f"{len(degraded)} of the runs"
        notes.append(f"{count} behind these figures ended degraded: not all was as the plan asked.")
    return Table("results", "Results", (*heads(groups), *titles), rows, leading(groups), tuple(notes))


def sent(groups: Sequence[Group]) -> Table:
    """Bytes sent by all nodes: payload by kind of message, all payload, and what that was on the wire."""
    payload = {group.name: [tables.totals(run, "sent_payload_bytes", "kind") for run in group.runs] for group in groups}
    wire = {
        group.name: [sum(e.record.value for e in run.of("sent_wire_bytes")) for run in group.runs] for group in groups
    }
    sums = list(chain.from_iterable(payload.values()))
    of_programs = all(run.is_workload for group in groups for run in group.runs)  # whose payload nobody knows
    kinds = sorted(set(chain.from_iterable(sums)), key=lambda kind: -max(each.get(kind, 0.0) for each in sums))

    def cells(group: Group) -> list[str]:
        runs = payload[group.name]
        by_kind = [sum(each.get(kind, 0.0) for each in runs) / len(runs) for kind in kinds]
        parts = [quantities.with_unit(each, "B") if each else "-" for each in by_kind]
        all_payload = [] if of_programs else [_bytes([sum(each.values()) for each in runs])]
        return [*parts, *all_payload, _bytes(wire[group.name])]

    sums_of = () if of_programs else ("all payload",)
    header = (*heads(groups), *(kind.replace("_", " ") for kind in kinds), *sums_of, "on the wire")
    return Table("bytes", "Bytes sent, by kind of message", header, _rows(groups, cells), leading(groups))


def claimed(findings: Sequence[ClaimFinding]) -> Table:
    """Each claim with what was found."""
    rows = []
    for finding, p in zip(findings, claims.adjusted(findings), strict=True):
        interval = finding.interval.removeprefix(", ").removeprefix("95 % CI ").rpartition(" of ")[0]
        if finding.found is not None and finding.found.low is None:
            interval = "none: one seed"
        count = "-" if finding.found is None else str(finding.found.count)
        shown = finding.why or finding.shown
        rows.append((finding.text, shown, interval or "-", count, p_value(p), VERDICTS[finding.verdict]))
    header = ("claim", "found", "95 % interval", "n", "p (Holm)", "verdict")
    notes = (
        "A claim holds if the whole 95 % confidence interval of the mean is on the good side of its bound, and "
        "holds on average if the mean alone is. n counts what was compared in pairs of the same seed and setting. p is "
        "of the paired t-test that both arms are equal (not that the bound is met), corrected by Holm for all claims.",
    )
    return Table("claims", "Claims", header, tuple(rows), 6, notes)


def of_tls(runs: Sequence[Run]) -> str:
    """What encryption added to the bytes of all runs, as sentences."""
    payload, added, greeting = (
        sum(run.summary.get(metric) or 0.0 for run in runs)
        for metric in ("sent_payload_bytes", "sent_tls_bytes", "sent_tls_bytes.handshake")
    )
    share = f" ({quantities.percent(added / payload)} of it)" if payload else ""
    return (
        f"Of the wire, {quantities.of_metric('sent_tls_bytes', added)} are what TLS added to the payload{share}, "
        f"{quantities.of_metric('sent_tls_bytes', greeting)} of them for handshakes: counted where nodes encrypt, on "
        "connections that came about, before TCP sends anything again."
    )


def single_runs(runs: Sequence[Run], names: Sequence[str]) -> Table:
    """A row for each run: where it lies, how it ended, what its receipt is worth, and what it reached."""
    rows = []
    for run, name in zip(runs, names, strict=True):
        ended = (
            f"{run.result.get('status', 'unknown')}, exit {run.result.get('exit_code')}" if run.result else "no result"
        )
        checks = run.receipt.get("checks", ())
        trusted = receipt.worth(checks) if checks else "as asked by construction" if run.receipt else "no receipt"
        reached = quantities.of_metric("test_accuracy", run.summary.get("test_accuracy"))
        run_id = str(run.environment.get("run_id", "unknown"))
        rows.append((name, run.directory.name, run_id, ended, trusted, str(run.plan.get("seed", "?")), reached))
    header = ("run", "folder", "run id", "ended", "links and computing", "seed", "accuracy")
    return Table("runs", "Every single run", header, tuple(rows), 5)


def said(verdict: str, count: int) -> str:
    """A verdict as the verb of a sentence about so many claims."""
    one = {"holds": "holds", "holds on average": "holds on average only", "does not hold": "does not hold"}
    many = {"holds": "hold", "holds on average": "hold on average only", "does not hold": "do not hold"}
    return (one if count == 1 else many).get(verdict, "cannot be told")


def p_value(p: float | None) -> str:
    """A p-value as papers print it."""
    return "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _rows(groups: Sequence[Group], cells: Callable[[Group], Iterable[str]]) -> tuple[tuple[str, ...], ...]:
    """Settings one after another, each with its arms."""
    several = leading(groups) > 1
    return tuple(
        (*((setting,) if several else ()), group.arm, *cells(group))
        for setting, members in settings(groups).items()
        for group in members
    )


def heads(groups: Sequence[Group]) -> tuple[str, ...]:
    """The first columns of a table of groups: settings, if there are any, and arms."""
    return ("setting", "arm") if leading(groups) > 1 else ("arm",)


def leading(groups: Sequence[Group]) -> int:
    """How many columns that is."""
    return 2 if any(group.setting for group in groups) else 1


def _cell(group: Group, metric: str) -> str:
    known = group.known(metric)
    found = group.mean(metric)
    if found is not None:
        return tabular.plus_minus(metric, found)
    return f"{len(known)} of {len(group.runs)}" if known else "-"


def _bytes(values: Sequence[float]) -> str:
    return tabular.plus_minus("sent_payload_bytes", mean(values)) if any(values) else "-"


def _about_seeds(groups: Sequence[Group]) -> Iterable[str]:
    counts = sorted({len(group.runs) for group in groups})
    if counts[-1] < 2:
        return
    seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    yield f"Means over {seeds} seeds, ± half of the 95 % confidence interval (Student's t)."
    if len(counts) > 1:
        fewest = [f"{group.name} ({len(group.runs)})" for group in groups if len(group.runs) < most_seeds(groups)]
        yield f"With fewer seeds than the others: {', '.join(fewest)}."
    if counts[0] < FEW_SEEDS:
        yield f"Fewer than {FEW_SEEDS} seeds: intervals are wide, and small differences cannot be told from chance."
