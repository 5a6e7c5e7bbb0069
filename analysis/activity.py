"""What each node did when, as far as records tell: the spans of a time line. Pure.

Resolution, by state: `computing` is exact to the record (the end of a local phase or an evaluation, less the time that
it took; other work is not recorded); `sending` and `receiving` last from the hand-over to the transport to the arrival
at the peer; `down` and `paused` are the instants at which the orchestrator acted. What is left is waiting.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.load import Run
from analysis.messages import Message, messages

COMPUTING = ("local_phase_s", "evaluate_s")
STATES = ("computing", "sending", "receiving", "paused", "down")
Span = tuple[float, float]


@dataclass(frozen=True)
class Lane:
    """A node with the spans of each state (seconds since the run began), in order and merged."""

    node: str
    role: str
    spans: Mapping[str, Sequence[Span]]


def lanes(run: Run, resolution_s: float = 0.0) -> list[Lane]:
    """A lane for each node, the coordinator first; spans with less than the resolution between them become one."""
    spans: dict[tuple[str, str], list[Span]] = defaultdict(list)
    for metric in COMPUTING:
        for entry in run.of(metric):
            spans[entry.node, "computing"].append((max(0.0, entry.record.t - entry.record.value), entry.record.t))
    for message in messages(run).arrived:
        for node, state in ((message.sender, "sending"), (message.receiver, "receiving")):
            spans[node, state].append(_under_way(message))
    for node, down in _down(run).items():
        spans[node, "down"] += down
    for fault in run.result.get("faults", ()):
        if fault["kind"] == "pause" and fault["injected_at_s"] is not None:
            healed_s = fault["healed_at_s"]
            for node in fault["nodes"]:
                spans[node, "paused"].append((fault["injected_at_s"], run.length_s if healed_s is None else healed_s))
    nodes = sorted(run.plan.get("nodes", ()), key=lambda node: node["role"] != "coordinator")
    return [
        Lane(
            node["name"],
            node["role"],
            {state: merged(spans[node["name"], state], resolution_s) for state in STATES},
        )
        for node in nodes
    ]


def merged(spans: Sequence[Span], gap_s: float = 0.0) -> list[Span]:
    """Spans in order, those that overlap or have no more than a gap between them as one."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin - found[-1][1] <= gap_s:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def shares(lane: Lane, length_s: float) -> dict[str, float]:
    """The share of the run that a node spent in each state (they may overlap: a node sends while it computes)."""
    if length_s <= 0:
        return {}
    return {state: sum(end - begin for begin, end in spans) / length_s for state, spans in lane.spans.items()}


def _under_way(message: Message) -> Span:
    arrived_s = message.sent_s if message.arrived_s is None else message.arrived_s
    return message.sent_s, max(message.sent_s, arrived_s)


def _down(run: Run) -> dict[str, list[Span]]:
    """When nodes did not run, by `node_up`: before they first did, and between; the run's end is none."""
    changes: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for entry in run.of("node_up"):
        changes[entry.node].append((entry.record.t, entry.record.value > 0))
    found: dict[str, list[Span]] = defaultdict(list)
    for node, seen in changes.items():
        since_s: float | None = 0.0
        for t, up in seen:
            if up and since_s is not None:
                found[node].append((since_s, t))
                since_s = None
            elif not up and since_s is None:
                since_s = t
        if since_s is not None and since_s < run.length_s:
            found[node].append((since_s, run.length_s))
    return {node: [span for span in spans if span[1] > span[0]] for node, spans in found.items()}
