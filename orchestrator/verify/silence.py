"""I6, I7: silence. Nothing crosses where nothing can, and who is dead or frozen says and spends nothing."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import isclose
from typing import Any

from node_image.handshake import KIND as HELLO
from node_image.records import Record
from orchestrator.links.routes import Routes
from orchestrator.plan import DirectedLink
from orchestrator.verify.checked import Checked, judged
from orchestrator.verify.history import History
from orchestrator.verify.spells import Spell, blocked, dead, frozen, links_down, lives, uncounted

TRACE_LULL_S = 10.0  # for which a link that plays a trace may let nothing through
JITTERS = 6.0  # standard deviations that a packet may be late by
TOLD_BY_OTHERS = {"lost_payload_bytes"}  # what the simulation says of a node, not the node itself
ENERGY_TOLERANCE = 1e-6  # relative


def check_cuts(history: History) -> Checked:
    """No message arrives in a partition or over a link that is down, once what was under way has drained."""
    partitions, down = blocked(history), links_down(history)
    if not partitions and not down:
        return judged("I6", "no link was down and nobody was cut off", ())
    routes, frozen_ones, dead_ones = Routes(history.plan.links), frozen(history), dead(history)
    stopped = {name: [*frozen_ones.get(name, ()), *dead_ones.get(name, ())] for name in history.nodes}
    shaped = _shaped(history)
    broken, looked_at = [], 0
    for target in history.nodes:
        for record in history.of(target, "received_payload_bytes"):
            source = record.labels["peer"]
            if record.labels["kind"] == HELLO:
                continue  # written down when the connection is first used
            path = tuple(routes.path(source, target) or ())
            cut = [spell for spell, pairs in partitions if (source, target) in pairs]
            cut += [spell for link in path for spell in down.get(link.id, ())]
            looked_at += bool(cut)
            for spell in cut:
                drain_s = _drain_s(history, path, record, shaped)
                held = any(spell.from_s - drain_s <= each.until_s <= record.t + drain_s for each in stopped[target])
                if not held and spell.holds(record.t, history.tolerance_s, drain_s):
                    broken.append(
                        f"{record.labels['kind']} of {source} reached {target} at {record.t:g} s, "
                        f"and they were cut off from {spell.from_s:g} s to {spell.until_s:g} s"
                    )
    return judged("I6", f"{looked_at} messages between those who were cut off at times", broken)


def _shaped(history: History) -> dict[str, list[Mapping[str, Any]]]:
    """By link, every state it was given during the run."""
    states: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for event in history.named("links_shaped"):
        for link, state in event.details["links"].items():
            states[link].append(state)
    return states


def _drain_s(
    history: History, path: Sequence[DirectedLink], record: Record, shaped: Mapping[str, Sequence[Mapping[str, Any]]]
) -> float:
    """How long after a cut a message may still arrive: delays, full queues and its own bytes, at the lowest rates."""
    total_s = 0.1 + (0.0 if history.is_virtual else 1.0)  # and what the receiver's own work takes
    for link in path:
        shape = link.shape
        states = shaped.get(link.id, ())
        rates = [rate for rate in (shape.rate_bps, *(state["rate_bps"] for state in states)) if rate]
        if shape.trace is not None:
            total_s += TRACE_LULL_S
        delays = [shape.delay_s, *(state["delay_s"] for state in states)]
        waiting_bytes = (shape.queue_bytes or 0) + record.value
        total_s += max(delays) + JITTERS * shape.jitter_s + (waiting_bytes * 8 / min(rates) if rates else 0.0)
    return total_s


def check_dead(history: History) -> Checked:
    """No record of a node while it was dead or frozen; energy: on time times power, and parts that make the total."""
    broken: list[str] = []
    spells_seen = 0
    for what, spells_of in (("dead", dead(history)), ("frozen", frozen(history))):
        for name, spells in spells_of.items():
            spells_seen += len(spells)
            broken += _said_in(history, name, spells, what)
    broken += list(_misspent(history))
    return judged("I7", f"{spells_seen} spells of nodes that were dead or frozen, and all energy", broken)


def _said_in(history: History, name: str, spells: Sequence[Spell], what: str) -> Iterator[str]:
    for record in history.nodes[name]:
        if record.metric in TOLD_BY_OTHERS:
            continue
        for spell in spells:
            if spell.holds(record.t, history.tolerance_s):
                yield (
                    f"{name} recorded {record.metric} at {record.t:g} s, and was {what} from {spell.from_s:g} s "
                    f"to {spell.until_s:g} s"
                )


def _seen_s(history: History, life: Spell, ended_s: float) -> float:
    """For how long somebody counted what a node spent in a life."""
    until_s, unseen_s, since_s = min(life.until_s, ended_s), 0.0, life.from_s
    for spell in sorted(uncounted(history), key=lambda each: each.from_s):
        unseen_s += max(0.0, min(until_s, spell.until_s) - max(since_s, spell.from_s))
        since_s = max(since_s, spell.until_s)  # of two that overlap the second counts from where the first ended
    return max(0.0, until_s - life.from_s - unseen_s)


def _misspent(history: History) -> Iterator[str]:
    """What is wrong with the modelled joules."""
    spent: dict[tuple[str, str], float] = defaultdict(float)
    sent_bytes: dict[str, float] = defaultdict(float)
    for record in history.own:
        if record.metric == "energy_joules" and record.meter is None:
            if record.value < 0:
                yield f"energy of {record.labels['node']} fell by {-record.value:g} J at {record.t:g} s"
            spent[record.labels["node"], record.labels["component"]] += record.value
        elif record.metric in ("sent_wire_bytes", "sent_background_bytes"):
            sent_bytes[record.labels["node"]] += record.value
    total = history.summary.get("energy_joules")
    if total is not None and not isclose(total, sum(spent.values()), rel_tol=ENERGY_TOLERANCE):
        yield f"{total:g} J are reported, and the parts make {sum(spent.values()):g} J"
    ended_s, living = history.ended_s, lives(history)
    for node in history.plan.nodes:
        profile = node.profile
        if spent and profile.power is not None and ended_s is not None:
            on_s = sum(_seen_s(history, life, ended_s) for life in living.get(node.name, ()))
            base_j, slack_j = profile.power.base_w * on_s, profile.power.base_w * 2 * history.tolerance_s
            if not isclose(base_j, spent[node.name, "base"], rel_tol=ENERGY_TOLERANCE, abs_tol=slack_j):
                yield f"{node.name} was on for {on_s:g} s, {base_j:g} J, and has spent {spent[node.name, 'base']:g} J"
        if spent and profile.radio is not None:
            tx_j = profile.radio.tx_j_per_mbit * sent_bytes[node.name] * 8e-6
            if not isclose(tx_j, spent[node.name, "radio_tx"], rel_tol=ENERGY_TOLERANCE, abs_tol=1e-6):
                spent_j = spent[node.name, "radio_tx"]
                yield f"{node.name} sent {sent_bytes[node.name]:g} bytes, {tx_j:g} J, not {spent_j:g} J"
