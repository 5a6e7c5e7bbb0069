"""The report: one HTML file that explains a run, or several side by side, to somebody who was not there.

Self-contained (inline style and SVG, no script, nothing fetched), readable on a phone and on paper. What one may
believe comes before what was found: setting, verdict and receipt first, figures after. Everything that came from a
file is escaped.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import chain
from pathlib import Path
from typing import Any

from analysis import figures, markup, receipt, tables
from analysis.headlines import headlines, short_labels
from analysis.load import Run
from orchestrator import quantities

VERDICT_MARKS = {"met": "✓ met", "missed": "✗ missed", "unknown": "? unknown"}
RUNS_BESIDE = 5  # with more, runs are rows and not columns
REAL = """Accuracy, bytes and times are measured, on real processes and real packets; what is emulated is the links and
how slow the devices are, and the receipt says how truly. Energy is modelled, from the device profiles."""
SIMULATED = """Accuracy and payload are measured, on real learning. Times are those of a virtual clock: computing is charged
by the device profiles' cost model, links are simulated packet by packet, and so are the bytes on the wire. Energy is
modelled, from the device profiles."""
ABOUT_MACHINE = ("commit", "cpu", "cores", "kernel", "machine", "python")


def render(runs: Sequence[Run]) -> str:
    """The report of some runs (at least one) as HTML."""
    first = runs[0]
    names = dict(zip((run.directory for run in runs), short_labels([run.label for run in runs]), strict=True))
    sections = (
        _setting(runs),
        _verdict(runs, names),
        _results(runs, names),
        _trust(runs, names),
        _accuracy(runs),
        _bytes(runs, names),
        _energy(runs),
        _faults(runs, names),
        _repeat(runs),
    )
    style = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
    return (
        "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n"
        '<meta name=viewport content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(first.name)} - Edgebed report</title>\n<style>\n{style}</style>\n"
        f"<main>\n<header><h1>{escape(first.name)}</h1>\n{markup.paragraph(str(first.plan.get('about', '')), 'about')}"
        "</header>\n" + "\n".join(sections) + "\n</main>\n</html>\n"
    )


Names = Mapping[Path, str]  # short names of the runs, by their directories


def _setting(runs: Sequence[Run]) -> str:
    run = runs[0]
    devices = [node for node in run.plan.get("nodes", ()) if node["role"] == "device"]
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for node in devices:
        groups.setdefault(node["group"], []).append(node)
    who = ", ".join(f"{len(nodes)} {name} ({nodes[0]['profile']['name']})" for name, nodes in groups.items())
    rows = [
        ("devices", f"{len(devices)}: {who}" if devices else "none"),
        ("directed links", str(len(run.plan.get("links", ())))),
        ("length", quantities.seconds(run.stop_after_s)),
        ("seed", _all(str(other.plan.get("seed", "?")) for other in runs)),
        ("substrate", _all(_fact(other, "substrate") for other in runs)),
        ("shaper", _all(_fact(other, "shaper") for other in runs)),
    ]
    if len(runs) > 1:
        rows.insert(0, ("runs", ", ".join(other.label for other in runs)))
    return markup.section("Setting", markup.definitions(rows))


def _verdict(runs: Sequence[Run], names: Names) -> str:
    states: dict[str, list[str]] = {}
    for run in runs:
        states.setdefault(_status(run), []).append(names[run.directory])
    ended = "; ".join(f"{', '.join(who)}: {state}" if len(runs) > 1 else state for state, who in states.items())
    if len(states) == 1:
        ended = next(iter(states))
    rows = []
    for run in runs:
        for found in run.result.get("expectations", ()):
            metric = found["metric"]
            text = quantities.words(metric) + found["text"].removeprefix(metric)
            verdict = markup.coloured(VERDICT_MARKS.get(found["verdict"], found["verdict"]), found["verdict"])
            rows.append([text, names[run.directory], quantities.of_metric(metric, found["found"]), verdict])
    rows.sort(key=lambda row: row[0])
    if not rows:
        return markup.section("Verdict", markup.paragraph(f"{ended}. The scenario expects nothing in particular."))
    columns = ["expected", "run", "found", "verdict"]
    return markup.section("Verdict", markup.paragraph(f"{ended}."), markup.table(columns, rows, texts=4, html=(3,)))


def _results(runs: Sequence[Run], names: Names) -> str:
    metrics = headlines([run.summary for run in runs])
    titles = [quantities.words(metric) for metric in metrics]
    cells = [[quantities.of_metric(metric, run.summary.get(metric)) for metric in metrics] for run in runs]
    labels = [names[run.directory] if len(runs) > 1 else "" for run in runs]
    if len(runs) <= RUNS_BESIDE:
        table = markup.table(["", *labels], [list(row) for row in zip(titles, *cells, strict=True)])
    else:
        table = markup.table(["run", *titles], [[label, *row] for label, row in zip(labels, cells, strict=True)])
    return markup.section("Results", table)


def _trust(runs: Sequence[Run], names: Names) -> str:
    parts = [markup.paragraph(SIMULATED if _fact(runs[0], "substrate") == "simulation" else REAL)]
    parts.append(_receipt(runs, names))
    for run in runs:
        checks = run.receipt.get("checks", ())
        notes = [note for note in run.result.get("notes", ()) if not receipt.tells(checks, note)]
        lines = [*notes, *(f"run directory: {problem}" for problem in run.problems)]
        if lines:
            parts.append(markup.heading(f"Notes on {names[run.directory]}") + markup.items(lines))
    return markup.section("What to believe: receipt and notes", *parts)


def _receipt(runs: Sequence[Run], names: Names) -> str:
    """One table for all runs: a line for each group of checks that asked for the same, with the worst of them."""
    without = [names[run.directory] for run in runs if not run.receipt]
    parts = []
    if without:
        who = f" ({', '.join(without)})" if len(runs) > 1 else ""
        parts.append(f"No receipt{who}: nothing says that links and computing were as asked.")
    checks = [
        {**check, "run": names[run.directory] if len(runs) > 1 else ""}
        for run in runs
        for check in run.receipt.get("checks", ())
    ]
    if not checks and not without:
        parts.append("The receipt is empty: simulated links and computing are as asked by construction.")
    if not checks:
        return "".join(map(markup.paragraph, parts))
    rows = [
        [_mark(line.ok), line.title, _of(line), receipt.asked(line), _found(line), receipt.error(line), _worst(line)]
        for line in receipt.lines(checks)
    ]
    remedies = dict.fromkeys(line.remedy for line in receipt.failures(checks))
    parts.append(f"The receipt: {receipt.worth(checks)}.")
    parts += [f"What helps: {remedy}." for remedy in remedies]
    columns = ["", "what", "of", "asked", "found", "worst error", "where"]
    return "".join(map(markup.paragraph, parts)) + markup.table(columns, rows, texts=7, html=(0,))


def _mark(ok: bool | None) -> str:
    return "" if ok is None else markup.coloured("✓", "met") if ok else markup.coloured("✗", "missed")


def _of(line: receipt.Line) -> str:
    where = dict.fromkeys(line.where)
    kind = "links" if all(">" in each for each in where) else "nodes"
    return next(iter(where)) if len(where) == 1 else f"{len(where)} {kind}"


def _found(line: receipt.Line) -> str:
    if line.ok is None or line.found is None:
        return line.why or "nothing came back"
    least, most = (receipt.measured(line.what, value) for value in line.found)
    found = least if least == most else f"{least} to {most}"
    return f"{found}; {line.why}" if line.why and not line.ok else found


def _worst(line: receipt.Line) -> str:
    """Where it was worst, if that is not said already; nowhere, if all was exactly as asked."""
    if line.ok is None or line.worst["found"] == line.asked:
        return ""
    return ", ".join(filter(None, (line.worst["run"], line.worst["where"] if len(set(line.where)) > 1 else "")))


def _accuracy(runs: Sequence[Run]) -> str:
    over_time = markup.figure(
        figures.svg(figures.accuracy_over_time(runs)),
        "Accuracy on the global test set over time. Shaded: faults, with how many nodes or links they hit.",
    )
    against = markup.figure(
        figures.svg(figures.accuracy_against(runs, "sent_payload_bytes")),
        "The same accuracy against bytes sent so far.",
    )
    return markup.section("Accuracy", over_time, against)


def _bytes(runs: Sequence[Run], names: Names) -> str:
    payload = [tables.totals(run, "sent_payload_bytes", "kind") for run in runs]
    wire = [sum(tables.totals(run, "sent_wire_bytes", "node").values()) for run in runs]
    kinds = sorted(set(chain.from_iterable(payload)), key=lambda kind: -max(sums.get(kind, 0.0) for sums in payload))
    counts = [(f"payload: {kind}", [sums.get(kind, 0.0) for sums in payload]) for kind in kinds]
    counts.append(("payload, all kinds", [sum(sums.values()) for sums in payload]))
    counts.append(("on the wire, all interfaces", wire))
    note = (
        "Payload is what the algorithm's messages take when encoded; the wire adds headers, acknowledgements and what "
        "had to be sent again. The two are counted apart and never mixed."
    )
    labels = [names[run.directory] if len(runs) > 1 else "sent" for run in runs]
    if len(runs) <= RUNS_BESIDE:
        table = markup.table(["sent", *labels], [[name, *map(_bytes_text, row)] for name, row in counts])
    else:
        rows = zip(labels, *(map(_bytes_text, row) for _, row in counts), strict=True)
        table = markup.table(["run", *(name for name, _ in counts)], rows)
    return markup.section("Bytes", markup.paragraph(note), table)


def _bytes_text(value: float) -> str:
    return quantities.with_unit(value, "B") if value else "-"


def _energy(runs: Sequence[Run]) -> str:
    sources = sorted(set(chain.from_iterable(tables.totals(run, "energy_joules", "source") for run in runs)))
    if not sources:
        return markup.section("Energy", markup.paragraph("No energy was recorded."))
    profiles = {
        node["profile"]["name"]: node["profile"] for run in runs for node in run.plan.get("nodes", ())
    }  # the same profile in several runs is one row
    rows = []
    for name, profile in sorted(profiles.items()):
        for part in ("power", "radio"):
            if profile.get(part):
                rows.append([name, part, *_provenance(profile[part]["provenance"])])
    figure = markup.figure(
        figures.svg(figures.energy_by_component(runs)),
        f"Joules of all nodes by component. Source: {', '.join(sources)}.",
    )
    return markup.section(
        "Energy", figure, markup.table(["profile", "of", "source", "quality", "error"], rows, texts=5)
    )


def _provenance(provenance: Mapping[str, Any]) -> list[str]:
    error = provenance.get("error")
    shown = "not given" if error is None else f"± {quantities.percent(error)}"
    return [str(provenance["source"]), str(provenance["quality"]), shown]


def _faults(runs: Sequence[Run], names: Names) -> str:
    """A table for each fault, with a row for each run that it hit alike."""
    blocks: dict[str, list[list[str]]] = {}
    for run in runs:
        for fault in run.result.get("faults", ()):
            until = "to the end" if fault["asked_heal_s"] is None else f"to {fault['asked_heal_s']:g} s"
            victims = ", ".join(fault["nodes"] or fault["links"])
            title = f"{fault['kind']} of {victims}: {fault['asked_at_s']:g} s {until}"
            evidence = fault["error"] or "; ".join(filter(None, (fault["evidence"], fault["heal_evidence"])))
            row = [
                _instant(fault["asked_at_s"], fault["injected_at_s"]),
                _instant(fault["asked_heal_s"], fault["healed_at_s"]),
                evidence or "none: nobody can say that it acted",
            ]
            blocks.setdefault(title, []).append([names[run.directory], *row] if len(runs) > 1 else row)
    columns = [*(["run"] if len(runs) > 1 else []), "began", "ended", "evidence"]
    parts = [markup.heading(title) + markup.table(columns, rows, texts=4) for title, rows in blocks.items()]
    return markup.section("Faults", *(parts or [markup.paragraph("Nothing was made to go wrong.")]))


def _instant(asked_s: float | None, done_s: float | None) -> str:
    """When it happened; the plan's instant, where that makes a difference."""
    if done_s is None:
        return "never" if asked_s is None else "did not happen"
    return f"{done_s:.3f} s, with the run" if asked_s is None else f"{done_s:.3f} s"


def _repeat(runs: Sequence[Run]) -> str:
    # The runs of a comparison have one scenario, and one command runs them all.
    commands: dict[tuple[str, str], str] = {}
    for run in runs:
        arguments = run.arguments
        if "substrate=" not in arguments and _fact(run, "substrate") != "unknown":
            arguments += f" --substrate {_fact(run, 'substrate')}"
        command = f"edgebed run {run.directory / 'scenario.yaml'} {arguments.strip()}"
        commands.setdefault((run.name, arguments), command)
    facts = runs[0].environment
    rows = [(key, str(facts[key])) for key in ABOUT_MACHINE if facts.get(key) is not None]
    packages = facts.get("packages")
    if isinstance(packages, Mapping):
        rows.append(("packages", ", ".join(f"{name} {version}" for name, version in packages.items())))
    rows.append(("run ids", ", ".join(str(run.environment.get("run_id", "unknown")) for run in runs)))
    return markup.section(
        "How to repeat", f"<pre>{escape(chr(10).join(commands.values()))}</pre>", markup.definitions(rows)
    )


def _status(run: Run) -> str:
    if not run.result:
        return "no result: the run was killed, or is still running"
    status = str(run.result.get("status", "unknown"))
    if status == "degraded":
        status = "degraded: not all was as the plan asked, so the figures may mislead"
    return f"{status} (exit code {run.result.get('exit_code')})"


def _fact(run: Run, key: str) -> str:
    for source in (run.environment, run.environment.get("substrate_facts", {}), run.result):
        if isinstance(source, Mapping) and isinstance(source.get(key), str):
            return str(source[key])
    return "unknown"


def _all(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))
