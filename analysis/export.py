"""A report as files for a paper: tables in Markdown and LaTeX, figures in SVG and PDF, with their numbers as CSV."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from analysis import course, evidence, figures, latencies, observations, results, tables, tabular
from analysis.activity import lanes
from analysis.claims import ClaimFinding
from analysis.curves import TIME, bytes_spent, curve
from analysis.figures.programs import told
from analysis.groups import Group, group
from analysis.headlines import short_labels
from analysis.latencies import Observed
from analysis.load import Run
from analysis.messages import sent_between
from analysis.statistics import Mean, mean

ENERGY = "energy_joules"
WITH_ROWS = 2  # lines of a CSV that has more than its header


def export(folder: Path, runs: Sequence[Run], findings: Sequence[ClaimFinding], about: str) -> None:
    """Write all that have something in them to the folder, which is made if it is not there. SVGs say what they are
    `about`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    groups = group(runs)
    shown = [results.figures(groups), results.sent(groups)]
    shown.append(results.single_runs(runs, short_labels([run.label for run in runs])))
    if findings:
        shown.append(results.claimed(findings))
    shown += evidence.tables(groups)
    observed = [latencies.observe(each) for each in groups]
    shown += [
        observations.latencies(observed),
        observations.delays_by_kind(observed),
        observations.sent_to_whom(groups),
    ]
    for table in filter(lambda each: each.rows, shown):
        (folder / f"{table.name}.md").write_text(tabular.markdown(table), encoding="utf-8")
        (folder / f"{table.name}.tex").write_text(tabular.latex(table), encoding="utf-8")
    for name, (text, draw) in _figures(groups, runs, observed).items():
        if text.count("\n") < WITH_ROWS:
            continue  # nothing of it was recorded: an empty figure would look like a finding
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
        figure = draw()
        for kind in ("svg", "pdf"):
            figures.save(figure, folder / f"{name}.{kind}", about)


def _figures(
    groups: Sequence[Group], runs: Sequence[Run], observed: Sequence[Observed]
) -> dict[str, tuple[str, figures.Drawing]]:
    """By the name of its files: the numbers of a figure, and what draws it."""
    sources = tables.sources(runs)
    curves = {("accuracy_over_time", ""): TIME, ("accuracy_against_bytes", ""): bytes_spent(groups)}
    curves |= {(_apart("accuracy_against_energy", source), source): ENERGY for source in sources}
    found: dict[str, tuple[str, figures.Drawing]] = {
        name: (_curves(groups, against, source), partial(figures.accuracy, groups, against, source))
        for (name, source), against in curves.items()
    }
    for source in sources:
        drawn = partial(figures.energy_by_component, groups, source)
        found[_apart("energy", source)] = (_components(groups, source), drawn)
    found["per_arm"] = (_means(groups), partial(figures.per_arm, groups))
    found["latencies"] = (_samples(observed), partial(figures.latencies, observed))
    found["traffic"] = (_sent(groups), partial(figures.traffic, groups[: course.MOST_SHOWN]))
    shown = course.shown_runs(groups)
    labels = short_labels([run.label for run in shown])
    found["programs"] = (_told(shown, labels), partial(figures.programs, shown, labels))
    for run in shown:
        found[_file(f"timeline_{run.label}")] = (_spans(run), partial(figures.timeline, run))
    return found


def _curves(groups: Sequence[Group], against: str, source: str) -> str:
    header = ("arm", "setting", "seeds", against, "accuracy_mean", "accuracy_min", "accuracy_max")
    rows = [
        (each.arm, each.setting, each.seeds, *point)
        for each in (curve(members, against, source) for members in groups)
        for point in zip(each.at, each.mean, each.low, each.high, strict=True)
    ]
    return tabular.comma_separated(header, rows)


def _means(groups: Sequence[Group]) -> str:
    header = ("arm", "setting", "metric", "seeds", "mean", "ci95_low", "ci95_high", "each_seed")
    rows = []
    for members in groups:
        for metric in figures.measured(groups):
            known, found = members.known(metric), members.mean(metric)
            values = " ".join(map(str, known))
            rows.append((members.arm, members.setting, metric, len(known), *_interval(found), values))
    return tabular.comma_separated(header, rows)


def _components(groups: Sequence[Group], source: str) -> str:
    components = tables.components([run for members in groups for run in members.runs], source)
    rows = []
    for members in groups:
        sums = [tables.energy(run, source) for run in members.runs]
        for component in components:
            found = mean([each.get(component, 0.0) for each in sums])
            rows.append((members.arm, members.setting, source, component, found.count, *_interval(found)))
    header = ("arm", "setting", "source", "component", "seeds", "joules_mean", "ci95_low", "ci95_high")
    return tabular.comma_separated(header, rows)


def _samples(observed: Sequence[Observed]) -> str:
    rows = [
        (each.group.arm, each.group.setting, metric, value)
        for each in observed
        for metric, values in each.samples.items()
        for value in sorted(values)
    ]
    return tabular.comma_separated(("arm", "setting", "metric", "value"), rows)


def _sent(groups: Sequence[Group]) -> str:
    rows = [
        (members.arm, members.setting, *key, size_bytes)
        for members in groups
        for key, size_bytes in sorted(sent_between(members.runs).items())
    ]
    return tabular.comma_separated(("arm", "setting", "sender", "receiver", "kind", "payload_bytes_mean"), rows)


def _told(runs: Sequence[Run], labels: Sequence[str]) -> str:
    rows = [
        (label, entry.node, name, entry.record.t, entry.record.value)
        for run, label in zip(runs, labels, strict=True)
        for name, entry in told(run)
    ]
    return tabular.comma_separated(("run", "node", "metric", "t_s", "value"), rows)


def _spans(run: Run) -> str:
    rows = [
        (lane.node, state, begin, end)
        for lane in lanes(run)
        for state, spans in lane.spans.items()
        for begin, end in spans
    ]
    rows += [
        (node, f"fault: {fault.kind}", fault.at_s, run.length_s if fault.heal_s is None else fault.heal_s)
        for fault in run.acted
        for node in fault.touched
    ]
    return tabular.comma_separated(("node", "state", "begin_s", "end_s"), rows)


def _apart(name: str, source: str) -> str:
    """The name of a file of one source of energy; the model's is the plain one."""
    return name if source == "model" else _file(f"{name}_{source}")


def _file(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_=.-]+", "_", name)


def _interval(found: Mean | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if found is None else (found.mean, found.low, found.high)
