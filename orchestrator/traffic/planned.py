"""From the flows that a scenario writes to those of a plan: groups become pairs of nodes, each with its own seed."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.seeds import derive
from orchestrator.traffic.flow import Flow
from orchestrator.units import DURATION

if TYPE_CHECKING:  # forms import the flow's limits
    from orchestrator.forms.traffic import TrafficForm

MOST_FLOWS = 10_000
Mistakes = list[tuple[tuple[str | int, ...], str]]
Groups = Mapping[str, Sequence[str]]  # names of nodes by what a flow may call them: a group, or the node itself


def pairs(form: "TrafficForm", groups: Groups) -> list[tuple[str, str]]:
    """Sender and receiver of each flow that a written one comes to; nobody sends to itself."""
    return [(a, b) for a in groups[form.source] for b in groups[form.target] if a != b]


def mistakes_in(written: Sequence["TrafficForm"], groups: Groups, stop_after_s: float) -> Mistakes:
    """What is wrong with the flows, given who is there: paths below `traffic`, and words."""
    from orchestrator.forms.base import unknown

    found: Mistakes = []
    flows = 0
    for index, form in enumerate(written):
        ends = [(word, name) for word, name in (("from", form.source), ("to", form.target)) if name not in groups]
        found += [((index, word), unknown("node or group", name, groups)) for word, name in ends]
        if form.at_s >= stop_after_s:
            found.append(
                ((index, "at"), f"is not before the end of the run (stop_after: {DURATION.write(stop_after_s)})")
            )
        if ends:
            continue
        flows += len(pairs(form, groups))
        if not pairs(form, groups):
            found.append(((index, "to"), f"is the same node as from (found {form.target!r})"))
    if flows > MOST_FLOWS:
        found.append(((), f"comes to more than {MOST_FLOWS} pairs of nodes (found {flows}); name fewer"))
    return found


def flows_of(written: Sequence["TrafficForm"], groups: Groups, seed: int, stop_after_s: float) -> tuple[Flow, ...]:
    """Every flow of a run, in the order written."""
    flows: list[Flow] = []
    for place, form in enumerate(written):
        ends_s = stop_after_s if form.for_s is None else form.at_s + form.for_s
        for number, (source, target) in enumerate(pairs(form, groups)):
            flows.append(
                Flow(
                    index=len(flows),
                    source=source,
                    target=target,
                    kind=form.kind,
                    packet_bytes=round(form.packet_bytes),
                    rate_bps=form.rate_bps,
                    burst_s=form.burst_s,
                    silence_s=form.silence_s,
                    at_s=form.at_s,
                    until_s=min(ends_s, stop_after_s),
                    seed=derive(seed, "traffic", place * MOST_FLOWS + number),
                    trace=form.trace,
                )
            )
    return tuple(flows)
