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

from matplotlib.figure import Figure

from analysis import figures, tables
from analysis.load import Run
from orchestrator import quantities

VERDICT_MARKS = {"met": "✓ met", "missed": "✗ missed", "unknown": "? unknown"}
_CHECK_MARKS = {True: "✓", False: "✗", None: ""}
_CHECK_ORDER = {False: 0, True: 1, None: 2}  # what is out of tolerance comes first
WHAT_IS_MEASURED = """<p>Accuracy, payload bytes and times are measured. In simulation, times are those of its virtual
clock, computing is charged by the device profile's cost model, and bytes on the wire are counted by IP packet. Energy
is always <b>modelled</b> here, from the device profile.</p>"""
RECEIPT_ROWS = 60  # links shown of a receipt; the file holds them all


def render(runs: Sequence[Run]) -> str:
    """The report of some runs (at least one) as HTML."""
    first = runs[0]
    sections = (
        _setting(runs),
        _verdict(runs),
        _results(runs),
        _honesty(runs),
        _accuracy(runs),
        _bytes(runs),
        _energy(runs),
        _faults(runs),
        _repeat(runs),
    )
    style = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
    about = f"<p class=about>{escape(str(first.plan.get('about', '')))}</p>"
    return (
        "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n"
        '<meta name=viewport content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(first.name)} - Edgebed report</title>\n<style>\n{style}</style>\n"
        f"<main>\n<header><h1>{escape(first.name)}</h1>\n{about}</header>\n"
        + "\n".join(sections)
        + "\n</main>\n</html>\n"
    )


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
        ("runs", ", ".join(other.label for other in runs)),
        ("length", quantities.seconds(run.stop_after_s)),
        ("seed", ", ".join(dict.fromkeys(str(other.plan.get("seed", "?")) for other in runs))),
        ("substrate", ", ".join(dict.fromkeys(_fact(other, "substrate") for other in runs))),
        ("shaper", ", ".join(dict.fromkeys(_fact(other, "shaper") for other in runs))),
    ]
    return _section("Setting", _definitions(rows))


def _verdict(runs: Sequence[Run]) -> str:
    rows = []
    for run in runs:
        for found in run.result.get("expectations", ()):
            mark = VERDICT_MARKS.get(found["verdict"], found["verdict"])
            value = quantities.of_metric(found["metric"], found["found"])
            cells = [escape(run.label), escape(found["text"]), escape(value)]
            rows.append([*cells, f"<b class={escape(found['verdict'], quote=True)}>{escape(mark)}</b>"])
    states = _definitions([(run.label, _status(run)) for run in runs])
    if not rows:
        return _section("Verdict", states + "<p>The scenario expects nothing in particular.</p>")
    return _section("Verdict", states + _table(["run", "expected", "found", "verdict"], rows, texts=5))


def _results(runs: Sequence[Run]) -> str:
    metrics, values = tables.headline_rows(runs)
    rows = [
        [
            escape(run.label),
            *(escape(quantities.of_metric(name, value)) for name, value in zip(metrics, row, strict=True)),
        ]
        for run, row in zip(runs, values, strict=True)
    ]
    return _section("Results", _table(["run", *map(quantities.words, metrics)], rows))


def _honesty(runs: Sequence[Run]) -> str:
    parts = [WHAT_IS_MEASURED]
    for run in runs:
        lines = [*run.result.get("notes", ()), *(f"run directory: {problem}" for problem in run.problems)]
        if lines:
            parts.append(f"<h3>{escape(run.label)}</h3>{_list(lines)}")
        parts.append(_receipt(run, titled=len(runs) > 1))
    return _section("What to believe: receipt and notes", "".join(parts))


def _receipt(run: Run, titled: bool) -> str:
    title = f"Receipt of {run.label}" if titled else "Receipt"
    if not run.receipt:
        return f"<p>{escape(title)}: none, so nothing says that links and computing were as asked.</p>"
    if not run.receipt.get("checks") and _fact(run, "substrate") == "simulation":
        return f"<p>{escape(title)}: empty, since simulated links and computing are as asked by construction.</p>"
    checks = sorted(run.receipt.get("checks", ()), key=lambda check: _CHECK_ORDER[check["ok"]])
    compared = [check for check in checks if check["ok"] is not None]
    failed = [check for check in compared if not check["ok"]]
    worth = f"{len(compared)} checks, {len(failed) or 'none'} out of tolerance" if compared else "nothing was measured"
    rows = [
        [
            _CHECK_MARKS[check["ok"]],
            escape(check["where"]),
            escape(_check_words(check)),
            *(escape(_measured(check["what"], check[key])) for key in ("asked", "found", "tolerance")),
        ]
        for check in checks[:RECEIPT_ROWS]
    ]
    table = _table(["", "where", "what", "asked", "found", "tolerance (±)"], rows, texts=3) if rows else ""
    more = f"<p>… and {len(checks) - RECEIPT_ROWS} more in receipt.json.</p>" if len(checks) > RECEIPT_ROWS else ""
    facts = _definitions([(key.replace("_", " "), _text(value)) for key, value in run.receipt.get("facts", {}).items()])
    is_open = " open" if failed else ""
    return f"<details{is_open}><summary>{escape(title)}: {worth}</summary>{table}{more}{facts}</details>"


def _check_words(check: Mapping[str, Any]) -> str:
    words = check["what"].removesuffix("_s").removesuffix("_bps").removesuffix("_ratio").replace("_", " ")
    return f"{words}: {check['why']}" if check["why"] else str(words)


def _measured(what: str, value: float | None) -> str:
    if value is None:
        return "-"
    if what.endswith("_bps"):
        return quantities.with_unit(value, "bit/s")
    return quantities.percent(value) if what == "loss" else quantities.of_metric(what, value)


def _accuracy(runs: Sequence[Run]) -> str:
    over_time = _figure(figures.accuracy_over_time(runs), "Accuracy over time. Shaded: faults, with how many they hit.")
    against = _figure(
        figures.accuracy_against(runs, "sent_payload_bytes"), "The same accuracy against bytes sent so far."
    )
    return _section("Accuracy", over_time + against)


def _bytes(runs: Sequence[Run]) -> str:
    rows = []
    for run in runs:
        for kind, count in tables.totals(run, "sent_payload_bytes", "kind").items():
            rows.append([escape(run.label), f"payload: {escape(kind)}", quantities.with_unit(count, "B")])
        wire = sum(tables.totals(run, "sent_wire_bytes", "node").values())
        rows.append([escape(run.label), "on the wire, all interfaces", quantities.with_unit(wire, "B")])
    note = (
        "<p>Payload is what the algorithm's messages take when encoded; the wire adds headers, acknowledgements and "
        "what had to be sent again. The two are counted apart and never mixed.</p>"
    )
    return _section("Bytes", note + _table(["run", "what", "sent"], rows, texts=2))


def _energy(runs: Sequence[Run]) -> str:
    sources = sorted(set(chain.from_iterable(tables.totals(run, "energy_joules", "source") for run in runs)))
    if not sources:
        return _section("Energy", "<p>No energy was recorded.</p>")
    profiles = {
        node["profile"]["name"]: node["profile"] for run in runs for node in run.plan.get("nodes", ())
    }  # the same profile in several runs is one row
    rows = []
    for name, profile in sorted(profiles.items()):
        for part in ("power", "radio"):
            if profile.get(part):
                rows.append([escape(name), part, *_provenance(profile[part]["provenance"])])
    figure = _figure(
        figures.energy_by_component(runs), f"Joules of all nodes by component. Source: {', '.join(sources)}."
    )
    return _section("Energy", figure + _table(["profile", "of", "source", "quality", "error"], rows, texts=5))


def _provenance(provenance: Mapping[str, Any]) -> list[str]:
    error = provenance.get("error")
    shown = "not given" if error is None else f"± {quantities.percent(error)}"
    return [escape(str(provenance["source"])), escape(str(provenance["quality"])), shown]


def _faults(runs: Sequence[Run]) -> str:
    blocks = []
    for run in runs:
        rows = []
        for fault in run.result.get("faults", ()):
            victims = fault["nodes"] or fault["links"]
            evidence = fault["error"] or "; ".join(filter(None, (fault["evidence"], fault["heal_evidence"])))
            began = _asked_and_done(fault["asked_at_s"], fault["injected_at_s"])
            ended = _asked_and_done(fault["asked_heal_s"], fault["healed_at_s"])
            said = evidence or "none: nobody can say that it acted"
            rows.append([escape(text) for text in (fault["kind"], ", ".join(victims), began, ended, said)])
        if rows:
            title = f"<h3>{escape(run.label)}</h3>" if len(runs) > 1 else ""
            blocks.append(title + _table(["kind", "victims", "began", "ended", "evidence"], rows, texts=5))
    return _section("Faults", "".join(blocks) or "<p>Nothing was made to go wrong.</p>")


def _asked_and_done(asked_s: float | None, done_s: float | None) -> str:
    if asked_s is None:
        return "never" if done_s is None else f"{done_s:.3f} s (with the run)"
    return f"asked {asked_s:g} s, did not happen" if done_s is None else f"{done_s:.3f} s (asked {asked_s:g} s)"


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
    rows = [(key.replace("_", " "), _text(value)) for key, value in facts.items() if not isinstance(value, dict | list)]
    return _section("How to repeat", f"<pre>{escape(chr(10).join(commands.values()))}</pre>" + _definitions(rows))


def _status(run: Run) -> str:
    code = run.result.get("exit_code")
    if not run.result:
        return "no result: the run was killed, or is still running"
    return f"{run.result.get('status', 'unknown')} (exit code {code})"


def _fact(run: Run, key: str) -> str:
    for source in (run.environment, run.environment.get("substrate_facts", {}), run.result):
        if isinstance(source, Mapping) and isinstance(source.get(key), str):
            return str(source[key])
    return "unknown"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{body}</section>"


def _figure(figure: Figure, caption: str) -> str:
    return f"<figure>{figures.svg(figure)}<figcaption>{escape(caption)}</figcaption></figure>"


def _definitions(rows: Iterable[tuple[str, str]]) -> str:
    inner = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in rows)
    return f"<dl>{inner}</dl>"


def _list(lines: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1) -> str:
    """A table of cells that are HTML already; the columns after the first `texts` are numbers, and flush right."""
    kinds = ["" if index < texts else " class=number" for index in range(len(header))]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for kind, name in zip(kinds, header, strict=True))
    lines = ("".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True)) for row in rows)
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>"


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
