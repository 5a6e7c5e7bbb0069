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

from analysis import figures, markup, tables, trust
from analysis.headlines import headlines, short_labels
from analysis.load import Run
from analysis.trust import Names
from orchestrator import quantities

VERDICT_MARKS = {"met": "✓", "missed": "✗ missed", "unknown": "? unknown"}
RUNS_BESIDE = 5  # with more, runs are rows and not columns
ABOUT_MACHINE = ("commit", "cpu", "cores", "kernel", "machine", "python")


def render(runs: Sequence[Run]) -> str:
    """The report of some runs (at least one) as HTML."""
    first = runs[0]
    names = dict(zip((run.directory for run in runs), short_labels([run.label for run in runs]), strict=True))
    sections = (
        _setting(runs, names),
        _verdict(runs, names),
        _results(runs, names),
        trust.section(runs, names),
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


def _setting(runs: Sequence[Run], names: Names) -> str:
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
        ("substrate", _all(other.fact("substrate") for other in runs)),
        ("shaper", _all(other.fact("shaper") for other in runs)),
    ]
    if len(runs) > 1:
        rows.insert(0, ("runs", ", ".join(names.values())))
    return markup.section("Setting", markup.definitions(rows))


def _verdict(runs: Sequence[Run], names: Names) -> str:
    states: dict[str, list[str]] = {}
    for run in runs:
        states.setdefault(_status(run), []).append(names[run.directory])
    if len(states) == 1:
        ended = markup.paragraph("".join(f"{state[:1].upper()}{state[1:]}." for state in states))
    else:
        ended = markup.items(f"{', '.join(who)}: {state}" for state, who in states.items())
    rows: dict[str, dict[Path, str]] = {}
    for run in runs:
        for found in run.result.get("expectations", ()):
            metric = found["metric"]
            text = quantities.words(metric) + found["text"].removeprefix(metric)
            cell = f"{escape(quantities.of_metric(metric, found['found']))} {_verdict_mark(found['verdict'])}"
            rows.setdefault(text, {})[run.directory] = cell
    if not rows:
        return markup.section("Verdict", ended, markup.paragraph("The scenario expects nothing in particular."))
    cells = [[text, *(found.get(run.directory, "-") for run in runs)] for text, found in rows.items()]
    labels = [names[run.directory] if len(runs) > 1 else "found" for run in runs]
    table = markup.table(["expected", *labels], cells, html=range(1, len(runs) + 1))
    return markup.section("Verdict", ended, table)


def _verdict_mark(verdict: str) -> str:
    return markup.coloured(VERDICT_MARKS.get(verdict, verdict), verdict)


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
    instants = (len(columns) - 3, len(columns) - 2)
    parts = [
        markup.heading(title) + markup.table(columns, rows, texts=4, whole=instants) for title, rows in blocks.items()
    ]
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
        if "substrate=" not in arguments and run.fact("substrate") != "unknown":
            arguments += f" --substrate {run.fact('substrate')}"
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


def _all(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))
