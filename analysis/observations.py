"""Tables of how runs went: latencies in numbers, who sent what to whom, and what each node did with its time."""

from collections.abc import Sequence

from analysis import activity
from analysis.groups import Group, settings
from analysis.latencies import DELAY, TITLES, Observed, quantiles
from analysis.load import Run
from analysis.messages import HELLO, sent_between
from analysis.results import heads, leading
from analysis.tabular import Table
from analysis.traffic import by_group, summed
from orchestrator import quantities


def latencies(observed: Sequence[Observed]) -> Table:
    """A row for each metric and arm: samples, median, 95th and 99th percentile and the largest."""
    groups = [each.group for each in observed]
    rows = []
    for setting in settings(groups):
        for metric in TITLES:
            for each in observed:
                if each.group.setting == setting and metric in each.samples:
                    front = ((setting,) if leading(groups) > 1 else ()) + (TITLES[metric], each.group.arm)
                    rows.append((*front, *_quantiles(metric, each.samples[metric])))
    lost, of = sum(each.unmatched for each in observed), sum(each.messages for each in observed)
    notes = [
        "Samples of all seeds together. A message's delay lasts from its hand-over to the sender's transport until all "
        "of it is with the receiver, by the clocks of both nodes."
    ]
    if lost:
        notes.append(
            f"{lost} of {of} messages have no known arrival (lost with a connection, on the way at the end, or not "
            "to be told apart) and are not in it."
        )
    header = (
        *(("setting",) if leading(groups) > 1 else ()),
        "what",
        "arm",
        "samples",
        "median",
        "95th",
        "99th",
        "largest",
    )
    return Table("latencies", "Latencies", header, tuple(rows), leading(groups) + 1, tuple(notes))


def delays_by_kind(observed: Sequence[Observed]) -> Table:
    """A row for each arm and kind of message."""
    groups = [each.group for each in observed]
    rows = [
        (
            *((each.group.setting,) if leading(groups) > 1 else ()),
            each.group.arm,
            kind.replace("_", " "),
            *_quantiles(DELAY, each.delays[kind]),
        )
        for each in observed
        for kind in sorted(each.delays)
    ]
    header = (*heads(groups), "kind", "samples", "median", "95th", "99th", "largest")
    return Table("delays", "Delay of messages, by kind", header, tuple(rows), leading(groups) + 1)


def sent_to_whom(groups: Sequence[Group]) -> Table:
    """Payload between groups of nodes, a row for each arm and direction, a column for each kind; means over seeds."""
    found = {group.name: summed(sent_between(group.runs), by_group(group.runs)) for group in groups}
    totals: dict[str, float] = {}
    for between in found.values():
        for (_, _, kind), size_bytes in between.items():
            totals[kind] = totals.get(kind, 0.0) + size_bytes
    kinds = sorted((kind for kind in totals if kind != HELLO), key=lambda kind: -totals[kind])
    rows = []
    for setting, members in settings(groups).items():
        for group in members:
            between = found[group.name]
            for sender, receiver in dict.fromkeys((a, b) for a, b, _ in between):
                sizes = [between.get((sender, receiver, kind), 0.0) for kind in kinds]
                if any(sizes):
                    front = ((setting,) if leading(groups) > 1 else ()) + (group.arm, f"{sender} → {receiver}")
                    cells = [quantities.with_unit(size, "B") if size else "-" for size in (*sizes, sum(sizes))]
                    rows.append((*front, *cells))
    header = (*heads(groups), "from → to", *(kind.replace("_", " ") for kind in kinds), "all")
    return Table("traffic", "Payload by direction and kind", header, tuple(rows), leading(groups) + 1)


def times_of_nodes(run: Run) -> Table:
    """What share of the run each node computed, had a message on the way, was paused or was down."""
    rows = []
    for lane in activity.lanes(run):
        shares = activity.shares(lane, run.length_s)
        rows.append((lane.node, *(quantities.percent(shares[state]) if shares else "-" for state in activity.STATES)))
    header = ("node", *activity.STATES)
    note = "Shares of the run's length; a node may compute and send at once, so they do not add up to a whole."
    return Table("nodes", "What each node did with its time", header, tuple(rows), 1, (note,))


def _quantiles(metric: str, values: Sequence[float]) -> tuple[str, ...]:
    found = quantiles(values)
    shown = (found.p50, found.p95, found.p99, found.largest)
    if metric == "staleness":
        return (f"{found.count:,}", *(f"{each:g}" for each in shown))
    return (f"{found.count:,}", *(quantities.seconds(each) for each in shown))
