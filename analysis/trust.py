"""What to believe: the report's section on how its figures are known, with the receipt of all runs as one table."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis import markup, receipt
from analysis.groups import listed
from analysis.load import Run

Names = Mapping[Path, str]  # short names of the runs, by their directories
RUNS_BESIDE = 5  # with more, runs are rows and not columns
REAL = """Accuracy, bytes and times are measured, on real processes and real packets; what is emulated is the links and
how slow the devices are, and the receipt says how truly. Energy is modelled, from the device profiles, unless it is
said to be measured."""
OF_PROGRAMS = """Bytes and times are measured, on real processes and real packets, and so is what the programs told of
themselves; what is emulated is the links and how slow the devices are, and the receipt says how truly. Energy is
modelled, from the device profiles, unless it is said to be measured."""
SIMULATED = """Accuracy and payload are measured, on real learning. Times are those of a virtual clock: computing is
charged by the device profiles' cost model, links are simulated packet by packet, and so are the bytes on the wire.
Energy is modelled, from the device profiles."""


def section(runs: Sequence[Run], names: Names, missing: Sequence[str] = ()) -> str:
    """The section: how each run ended, how the figures are known, the receipt, and the notes."""
    simulated = [run.fact("substrate") == "simulation" for run in runs]
    parts = [_ended(runs, names, missing)]
    if any(simulated) and not all(simulated):
        parts += [markup.paragraph(f"On real processes: {REAL}"), markup.paragraph(f"In simulation: {SIMULATED}")]
    else:
        real = OF_PROGRAMS if all(run.is_workload for run in runs) else REAL
        parts.append(markup.paragraph(SIMULATED if all(simulated) else real))
    parts.append(_receipt(runs, names))
    notes: dict[str, list[str]] = {}
    for run in runs:
        checks = run.receipt.get("checks", ())
        said = [note for note in run.result.get("notes", ()) if not receipt.tells(checks, note)]
        for note in dict.fromkeys([*said, *(f"run directory: {problem}" for problem in run.problems)]):
            notes.setdefault(note, []).append(names[run.directory])
    if notes:
        parts.append(markup.heading("Notes"))
        parts.append(
            markup.items(note if len(runs) == 1 else f"{listed(who, len(runs))}: {note}" for note, who in notes.items())
        )
    return markup.section("What to believe: receipt and notes", *parts)


def status(run: Run) -> str:
    """How a run ended, in words."""
    if not run.result:
        return "no result: the run was killed, or is still running"
    ended = str(run.result.get("status", "unknown"))
    if ended == "degraded":
        ended = "degraded: not all was as the plan asked, so the figures may mislead"
    return f"{ended} (exit code {run.result.get('exit_code')})"


def _ended(runs: Sequence[Run], names: Names, missing: Sequence[str]) -> str:
    """The one way in which all runs ended, or each way with its runs; those that left nothing are never dropped."""
    states: dict[str, list[str]] = {}
    for run in runs:
        states.setdefault(status(run), []).append(names[run.directory])
    lines = [
        f"{f'{len(who)} of {len(runs)} runs' if state.startswith('complete') else ', '.join(who)}: {state}"
        for state, who in states.items()
    ]
    if len(lines) == 1 and not missing:
        state = next(iter(states))
        who = f"All {len(runs)} runs ended: " if len(runs) > 1 else ""
        return markup.paragraph(f"{who}{state}." if who else f"{state[:1].upper()}{state[1:]}.")
    lines += [f"without figures: {each}" for each in missing]
    return markup.items(lines, "ended")


def _receipt(runs: Sequence[Run], names: Names) -> str:
    """One table for all runs: a line for each group of checks that asked for the same, with the worst of them."""
    without = [names[run.directory] for run in runs if not run.receipt]
    parts = []
    if without:
        who = f" ({listed(without, len(runs))})" if len(runs) > 1 else ""
        parts.append(f"No receipt{who}: nothing says that links and computing were as asked.")
    unfinished = [names[run.directory] for run in runs if run.receipt.get("pending")]
    if unfinished:
        who = f" of {listed(unfinished, len(runs))}" if len(runs) > 1 else ""
        parts.append(
            f"The receipt{who} is not finished: it holds what was measured before the run, and nothing of how true "
            "links and computing were during it."
        )
    checks = [
        {**check, "run": names[run.directory] if len(runs) > 1 else ""}
        for run in runs
        for check in run.receipt.get("checks", ())
    ]
    if not checks and not without and not unfinished:
        parts.append("The receipt is empty: simulated links and computing are as asked by construction.")
    if not checks:
        return "".join(map(markup.paragraph, parts))
    rows = [
        [
            _mark(line.ok),
            f"{line.title}: {_of(line)}",
            receipt.asked(line),
            _found(line),
            receipt.error(line),
            _worst(line),
        ]
        for line in receipt.lines(checks)
        if line.ok is not None
    ]
    left_out = [
        f"{line.title}, {_of(line)}: {line.why or 'not compared'}" for line in receipt.lines(checks) if line.ok is None
    ]
    remedies = dict.fromkeys(line.remedy for line in receipt.failures(checks))
    parts.append(f"The receipt: {receipt.worth(checks)}.")
    parts += [f"What helps: {remedy}." for remedy in remedies]
    columns = ["", "what", "asked", "found", "worst error", "where"]
    table = markup.table(columns, rows, texts=6, html=(0,), whole=(2, 4, 5))
    below = table + (markup.items(left_out) if left_out else "")
    failed = bool(receipt.failures(checks))
    shown = below if failed or len(runs) == 1 else markup.details("The receipt, line by line", below)
    return "".join(map(markup.paragraph, parts)) + shown


def _mark(ok: bool | None) -> str:
    return markup.coloured("✓", "met") if ok else markup.coloured("✗", "missed")


def _of(line: receipt.Line) -> str:
    where = dict.fromkeys(line.where)
    kind = "profiles" if line.what == "step_time_ratio" else "links" if all(">" in each for each in where) else "nodes"
    return next(iter(where)) if len(where) == 1 else f"{len(where)} {kind}"


def _found(line: receipt.Line) -> str:
    """Figures are not broken into lines; reasons are."""
    found = receipt.found(line)
    return found if line.ok is False else found.replace(" ", "\N{NO-BREAK SPACE}")


def _worst(line: receipt.Line) -> str:
    """Where it was worst, if that is not said already; with the run, if it was out of tolerance."""
    if line.worst["found"] == line.asked:
        return ""
    where = line.worst["where"] if len(set(line.where)) > 1 else ""
    return ", ".join(filter(None, (line.worst["run"] if line.ok is False else "", where)))
