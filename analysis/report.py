"""The report: one HTML file that explains a run, or several side by side, to somebody who was not there.

Self-contained (inline style and SVG, no script, nothing fetched), readable on a phone and on paper, in light and in
dark. What one may believe comes before what was found: setting, endings and receipt first, figures after. Of several
seeds the means are shown; each run stays within reach. Everything that came from a file is escaped.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from analysis import (
    course,
    evidence,
    faults,
    figures,
    latencies,
    markup,
    programs,
    question,
    results,
    tables,
    trust,
    verdicts,
)
from analysis.claims import ClaimFinding
from analysis.curves import TIME, bytes_spent
from analysis.groups import Group, arms, group, most_seeds, settings
from analysis.headlines import headlines, short_labels
from analysis.load import Run
from analysis.trust import RUNS_BESIDE, Names
from orchestrator import quantities

SPENT = {"sent_payload_bytes": "the payload sent", "sent_wire_bytes": "the bytes on the wire"}
ABOUT_MACHINE = ("commit", "cpu", "cores", "kernel", "machine", "python")


def render(runs: Sequence[Run], findings: Sequence[ClaimFinding] = (), missing: Sequence[str] = ()) -> str:
    """The report of some runs (at least one) as HTML, with what came of the claims about them.

    `missing` says which runs of a comparison left nothing to show, and why.
    """
    first = runs[0]
    names = dict(zip((run.directory for run in runs), short_labels([run.label for run in runs]), strict=True))
    groups = group(runs)
    observed = [latencies.observe(each) for each in groups]
    sections = (
        question.section(runs, groups, findings),
        _setting(runs, groups),
        trust.section(runs, names, missing),
        verdicts.claims(findings),
        verdicts.expectations(runs, names),
        _results(runs, groups, names),
        _accuracy(groups),
        programs.section(groups, names),
        evidence.section(groups, missing),
        course.timelines(groups, names),
        faults.section(runs, names),
        course.latencies(observed),
        _bytes(runs, groups, names),
        course.traffic(groups),
        _energy(runs, groups),
        _every_run(runs, names),
        _repeat(runs),
    )
    style = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
    return (
        "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n"
        '<meta name=viewport content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(first.name)} - Edgebed report</title>\n<style>\n{style}</style>\n"
        f"<main>\n<header><h1>{escape(first.name)}</h1></header>\n"
        + figures.apart("\n".join(filter(None, sections)))
        + "\n</main>\n</html>\n"
    )


def _setting(runs: Sequence[Run], groups: Sequence[Group]) -> str:
    rows = [
        ("devices", _all(_devices(other) for other in runs)),
        ("directed links", _all(str(len(other.plan.get("links", ()))) for other in runs)),
        ("length", _all(quantities.seconds(other.stop_after_s) for other in runs)),
        ("seed" if most_seeds(groups) == 1 else "seeds", _all(str(other.plan.get("seed", "?")) for other in runs)),
        ("substrate", _all(other.fact("substrate") for other in runs)),
        ("shaper", _all(other.fact("shaper") for other in runs)),
    ]
    if any(other.fact("encryption") != "unknown" for other in runs):
        rows.append(("encryption of messages", _all(other.fact("encryption") for other in runs)))
    if any(each.setting for each in groups):
        rows.insert(0, ("settings", ", ".join(settings(groups))))
    if len(groups) > 1:
        rows.insert(0, ("arms", ", ".join(arms(groups))))
    if len(runs) > 1:
        rows.insert(0, ("runs", str(len(runs))))
    return markup.section("Setting", markup.definitions(rows))


def _devices(run: Run) -> str:
    members: dict[str, list[Mapping[str, Any]]] = {}
    for node in run.plan.get("nodes", ()):
        if node["role"] == "device":
            members.setdefault(node["group"], []).append(node)
    who = ", ".join(
        f"{len(nodes)} {name} ({nodes[0]['profile'].get('name', 'unknown')})" for name, nodes in members.items()
    )
    return f"{sum(map(len, members.values()))}: {who}" if members else "none"


def _results(runs: Sequence[Run], groups: Sequence[Group], names: Names) -> str:
    parts = []
    if most_seeds(groups) > 1 or len(runs) > RUNS_BESIDE:
        parts.append(markup.tabular(results.figures(groups)))
    else:
        metrics = headlines([run.summary for run in runs])
        cells = [[quantities.of_metric(metric, run.summary.get(metric)) for metric in metrics] for run in runs]
        labels = [names[run.directory] if len(runs) > 1 else "" for run in runs]
        titles = [quantities.words(metric) for metric in metrics]
        parts.append(markup.table(["", *labels], [list(row) for row in zip(titles, *cells, strict=True)]))
    if len(groups) > 1:
        intervals = (
            "bars are means, lines 95 % confidence intervals, dots the seeds"
            if most_seeds(groups) > 1
            else "one run each"
        )
        caption = f"What each arm reached and cost: {intervals}."
        parts.append(markup.figure(figures.svg(figures.per_arm(groups)), caption))
    return markup.section("Results", *parts)


def _accuracy(groups: Sequence[Group]) -> str:
    if all(run.is_workload and not run.of("test_accuracy") for each in groups for run in each.runs):
        return ""  # programs that do not learn
    band = ""
    if most_seeds(groups) > 1:
        band = " Lines are means over seeds; bands go from the lowest seed to the highest."
    shaded = " Shaded: faults, with how many nodes or links they hit." if any(g.runs[0].faults for g in groups) else ""
    where = _all(run.fact("substrate") for each in groups for run in each.runs)
    captions = [
        (TIME, "", f"Accuracy on the global test set over time ({where}).{band}{shaded}"),
        (spent := bytes_spent(groups), "", f"The same accuracy against {SPENT[spent]} so far."),
    ]
    for source in tables.sources(run for each in groups for run in each.runs):
        captions.append(("energy_joules", source, f"The same accuracy against the {tables.told_by(source)} so far."))
    drawn = [
        markup.figure(figures.svg(figures.accuracy(groups, against, source)), caption)
        for against, source, caption in captions
        if against == TIME or any(run.of(against) for each in groups for run in each.runs)
    ]
    return markup.section("Accuracy", *drawn)


def _bytes(runs: Sequence[Run], groups: Sequence[Group], names: Names) -> str:
    if all(run.is_workload for run in runs):
        return programs.bytes_of(groups)
    note = (
        "Payload is what the algorithm's messages take when encoded; the wire adds headers, acknowledgements and what "
        "had to be sent again. The two are counted apart and never mixed."
    )
    if any(run.summary.get("sent_tls_bytes") for run in runs):
        note += " " + results.of_tls(runs)
    sent = results.sent(groups)
    if most_seeds(groups) > 1 or len(runs) > RUNS_BESIDE:
        return markup.section("Bytes", markup.paragraph(note), markup.tabular(sent))
    labels = [names[run.directory] if len(runs) > 1 else "sent" for run in runs]
    kinds = sent.header[sent.texts :]
    columns = [row[sent.texts :] for row in sent.rows]
    table = markup.table(["sent", *labels], [list(row) for row in zip(kinds, *columns, strict=True)])
    return markup.section("Bytes", markup.paragraph(note), table)


def _energy(runs: Sequence[Run], groups: Sequence[Group]) -> str:
    sources = tables.sources(runs)
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
    means = ", means over seeds" if most_seeds(groups) > 1 else ""
    drawn = [
        markup.figure(
            figures.svg(figures.energy_by_component(groups, source)),
            f"Joules of all nodes by component{means}: {tables.told_by(source)}.",
        )
        for source in sources
    ]
    apart = "Sources tell the same joules, each in its own way: they are never added up."
    return markup.section(
        "Energy",
        markup.paragraph(apart) if len(sources) > 1 else "",
        *drawn,
        markup.table(["profile", "of", "source", "quality", "error"], rows, texts=5),
    )


def _provenance(provenance: Mapping[str, Any]) -> list[str]:
    error = provenance.get("error")
    shown = "not given" if error is None else f"± {quantities.percent(error)}"
    return [str(provenance["source"]), str(provenance["quality"]), shown]


def _every_run(runs: Sequence[Run], names: Names) -> str:
    """Each run by itself, for who wants to look behind a mean."""
    if len(runs) == 1:
        return ""
    shown = results.single_runs(runs, [names[run.directory] for run in runs])
    table = markup.tabular(shown)
    return markup.section("Every run", markup.details(f"{len(runs)} runs: folder, ending and receipt of each", table))


def _repeat(runs: Sequence[Run]) -> str:
    # The runs of a comparison have one scenario, and one command runs them all.
    commands: dict[tuple[str, str], str] = {}
    for run in runs:
        arguments = run.arguments
        if "substrate=" not in arguments and run.fact("substrate") != "unknown":
            arguments += f" --substrate {run.fact('substrate')}"
        if run.is_workload:
            arguments += " --trust"
        command = f"edgebed run {run.directory / 'scenario.yaml'} {arguments.strip()}"
        commands.setdefault((run.name, arguments), command)
    facts = runs[0].environment
    rows = [(key, str(facts[key])) for key in ABOUT_MACHINE if facts.get(key) is not None]
    packages = facts.get("packages")
    if isinstance(packages, Mapping):
        rows.append(("packages", ", ".join(f"{name} {version}" for name, version in packages.items())))
    if len(runs) == 1:
        rows.append(("run id", str(runs[0].environment.get("run_id", "unknown"))))
    return markup.section(
        "How to repeat", f"<pre>{escape(chr(10).join(commands.values()))}</pre>", markup.definitions(rows)
    )


def _all(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))
