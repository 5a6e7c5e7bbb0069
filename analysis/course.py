"""The report's sections on how runs went: time lines, latencies, and who sent what to whom."""

from collections.abc import Sequence

from analysis import figures, markup, observations
from analysis.figures.timeline import MOST_LANES, resolution_s
from analysis.groups import Group, settings
from analysis.latencies import Observed
from analysis.load import Run
from analysis.traffic import matrix
from analysis.trust import Names
from orchestrator import quantities

MOST_SHOWN = 4  # time lines and matrices of one report; more would bury it
HOW_KNOWN = (
    "Computing is exact to the record: each local phase and each evaluation, from its begin to its end by the node's "
    "own clock; other work, such as aggregation, is not recorded and counts as waiting. A message is on its way from "
    "its hand-over to the sender's transport until all of it has arrived. Down and faults are the instants at which "
    "the orchestrator acted and saw it."
)

OF_PROGRAMS = (
    "What the programs of a workload did inside is not known: the time line has the instants at which the orchestrator "
    "acted and saw it, up, down and faults."
)


def shown_runs(groups: Sequence[Group]) -> list[Run]:
    """A run for each arm (its first seed with records), in the setting with the most faults; not more than four."""
    by_setting = list(settings(groups).values())
    most = max(
        by_setting, key=lambda members: max((len(run.acted) for each in members for run in each.runs), default=0)
    )
    first = [next((run for run in group.runs if run.records and run.plan.get("nodes")), None) for group in most]
    return [run for run in first if run is not None][:MOST_SHOWN]


def timelines(groups: Sequence[Group], names: Names) -> str:
    """The time line of one run of each arm, the first one open."""
    shown = shown_runs(groups)
    if not shown:
        return ""
    alien = all(run.is_workload for run in shown)
    parts = [markup.paragraph(OF_PROGRAMS if alien else HOW_KNOWN, "note")]
    busiest = max(range(len(shown)), key=lambda place: len(shown[place].of("sent_payload_bytes")))
    for place, run in enumerate(shown):
        few = f" The first {MOST_LANES} of its {len(run.plan['nodes'])} nodes." if _many(run) else ""
        caption = (
            f"{names[run.directory] or run.name}: what each node did ({run.fact('substrate')}). Gaps under "
            f"{quantities.seconds(resolution_s(run))} are not drawn.{few}"
        )
        drawn = markup.figure(figures.svg(figures.timeline(run)), caption)
        numbers = markup.details("The same in numbers", markup.tabular(observations.times_of_nodes(run)))
        below = drawn + ("" if alien else numbers)
        title = f"{names[run.directory] or run.name}"
        parts.append(below if len(shown) == 1 else markup.details(title, below, open=place == busiest))
    if len(shown) < sum(len(group.runs) for group in groups):
        parts.append(markup.paragraph("Any other run: edgebed report with its folder (see “Every run”).", "note"))
    return markup.section("Time line of devices", *parts)


def latencies(observed: Sequence[Observed]) -> str:
    """Distributions for each arm, and the same as numbers."""
    if not any(each.samples for each in observed):
        return ""
    caption = (
        "Share of samples that took at most so long, all seeds together; marks at the median, the 95th and the 99th "
        "percentile."
    )
    tables = [markup.tabular(observations.latencies(observed))]
    if any(each.delays for each in observed):
        tables.append(markup.heading("Delay of messages, by kind"))
        tables.append(markup.tabular(observations.delays_by_kind(observed)))
    return markup.section(
        "Latencies",
        markup.figure(figures.svg(figures.latencies(observed)), caption),
        markup.details("The same in numbers, and by kind of message", *tables),
    )


def traffic(groups: Sequence[Group]) -> str:
    """A matrix for each arm (of the first setting), and a table by direction and kind of all."""
    shown = next(iter(settings(groups).values()))[:MOST_SHOWN]
    table = observations.sent_to_whom(groups)
    if not table.rows:
        return ""
    sent = any(matrix(group.runs).cells for group in shown)
    caption = (
        "Payload of each node by where it went (or came from) and what it was, means over seeds, without handshakes."
    )
    return markup.section(
        "Who sent what to whom",
        markup.figure(figures.svg(figures.traffic(shown)), caption) if sent else "",
        markup.details("By direction and kind of message", markup.tabular(table))
        if len(groups) > 3
        else markup.tabular(table),
    )


def _many(run: Run) -> bool:
    return len(run.plan.get("nodes", ())) > MOST_LANES
