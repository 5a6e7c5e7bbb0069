"""Who sent what to whom, as matrices. Nodes stand for themselves, or for their group where there are too many to name.

Where one node is part of every exchange (a coordinator's star), rows are the others and columns the kinds of message
to and from it (those with 0.1 % of the bytes at least); else rows are senders and columns receivers. Handshakes are
left out.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.load import Run
from analysis.messages import HELLO, sent_between

MOST_NODES = 24
LEAST_SHARE = 1e-3  # of all bytes; a kind of message with less has no column in a star
Traffic = Mapping[tuple[str, str, str], float]  # bytes by sender, receiver and kind


@dataclass(frozen=True)
class Matrix:
    """Payload bytes (mean over the seeds) by row and column; `hub` is the node of a star."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: Mapping[tuple[str, str], float]
    hub: str | None


def matrix(runs: Sequence[Run]) -> Matrix:
    """Of some runs of one arm in one setting; without any cell if nothing was sent."""
    named = _nodes_or_groups(runs)
    between = {key: size for key, size in summed(sent_between(runs), named).items() if key[2] != HELLO and size}
    names = dict.fromkeys([*named.values(), *(name for sender, receiver, _ in between for name in (sender, receiver))])
    known = [name for name in names if any(name in key[:2] for key in between)]
    hubs = [name for name in known if all(name in key[:2] for key in between)]
    if len(hubs) > 1:  # two that only talk to each other
        hubs = [named[node["name"]] for node in runs[0].plan.get("nodes", ()) if node["role"] == "coordinator"]
    if len(hubs) != 1:
        cells: dict[tuple[str, str], float] = defaultdict(float)
        for (sender, receiver, _), size in between.items():
            cells[sender, receiver] += size
        return Matrix(tuple(known), tuple(known), dict(cells), None)
    hub = hubs[0]
    return _star(hub, [name for name in known if name != hub], between)


def by_group(runs: Sequence[Run]) -> dict[str, str]:
    """The group of each node in the scenario; its role, if it has none."""
    return {node["name"]: node["group"] or node["role"] for run in runs for node in run.plan.get("nodes", ())}


def summed(traffic: Traffic, named: Mapping[str, str]) -> dict[tuple[str, str, str], float]:
    """The same bytes between what stands for the nodes; a node nobody knows stands for itself."""
    found: dict[tuple[str, str, str], float] = defaultdict(float)
    for (sender, receiver, kind), size in traffic.items():
        found[named.get(sender, sender), named.get(receiver, receiver), kind] += size
    return dict(found)


def _nodes_or_groups(runs: Sequence[Run]) -> dict[str, str]:
    names = dict.fromkeys(node["name"] for run in runs for node in run.plan.get("nodes", ()))
    return {name: name for name in names} if len(names) <= MOST_NODES else by_group(runs)


def _star(hub: str, others: Sequence[str], between: Traffic) -> Matrix:
    """Columns are kinds by direction, those to the hub first."""
    totals: dict[tuple[bool, str], float] = defaultdict(float)
    for (sender, _, kind), size in between.items():
        totals[sender == hub, kind] += size
    large = sorted(key for key, size in totals.items() if size >= LEAST_SHARE * sum(totals.values()))
    titles = {key: f"{key[1].replace('_', ' ')}\n{'from' if key[0] else 'to'} {hub}" for key in large}
    cells = {
        (receiver if sender == hub else sender, titles[sender == hub, kind]): size
        for (sender, receiver, kind), size in between.items()
        if (sender == hub, kind) in titles
    }
    return Matrix(tuple(others), tuple(titles.values()), cells, hub)
