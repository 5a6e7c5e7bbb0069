"""When a node was dead or frozen, and when a pair of nodes could not hear each other, as the events tell it."""

from collections import defaultdict
from dataclasses import dataclass
from math import inf

from orchestrator.faults.partition import pairs_cut
from orchestrator.faults.schedule import FaultReport
from orchestrator.verify.history import History

DEADLY = {"crash", "coordinator_crash", "stop"}
FREEZING = {"pause"}
REAL_START_S = 30.0  # that a node may take to start on a busy machine


@dataclass(frozen=True)
class Spell:
    """From when to when, in seconds; `until_s` inf: to the end."""

    from_s: float
    until_s: float

    def holds(self, t: float, margin_s: float, after_s: float = 0.0) -> bool:
        """Whether an instant lies inside, at least `after_s` behind its beginning, and `margin_s` from both ends."""
        return self.from_s + after_s + margin_s < t < self.until_s - margin_s


def way_of(history: History, fault: FaultReport) -> str:
    """What a fault does to its victims; a dropout and a fault of the disk do it in a way of their own."""
    parameters = history.parameters_of(fault.index)
    if fault.kind == "dropout" and any(each.index == fault.index for each in history.plan.faults):
        return str(parameters.get("by", "crash"))
    return "crash" if fault.kind == "disk" and parameters.get("mode") == "torn" else fault.kind


def active(fault: FaultReport) -> Spell | None:
    """When a fault acted; None: it never did."""
    if fault.injected_at_s is None or fault.evidence is None:
        return None
    return Spell(fault.injected_at_s, inf if fault.healed_at_s is None else fault.healed_at_s)


def lives(history: History) -> dict[str, list[Spell]]:
    """The lives of every node: from its start to its exit, or to when its run was killed, and all nodes with it."""
    found: dict[str, list[Spell]] = defaultdict(list)
    for event in history.named("node_started", "node_exited", "run_resumed"):
        if event.name == "run_resumed":
            for name, ended in found.items():
                found[name] = _ended(ended, event.t)
            continue
        spells = found[str(event.details["node"])]
        if event.name == "node_started":
            spells.append(Spell(event.t, inf))
        else:
            spells[:] = _ended(spells, event.t)
    return found


def _ended(spells: list[Spell], t: float) -> list[Spell]:
    """The same, of which the last ends now, if it has not before."""
    if not spells or spells[-1].until_s < inf:
        return spells
    return [*spells[:-1], Spell(spells[-1].from_s, t)]


def killed_with_run(history: History) -> set[str]:
    """Nodes that lived when the run was killed: their last records are lost, and what they did not yet say."""
    return {str(name) for event in history.named("run_resumed") for name in event.details["nodes"]}


def uncounted(history: History) -> list[Spell]:
    """When nobody counted: from the last sample of counters before the run was killed to when it went on."""
    return [Spell(float(event.details["counted_until_s"]), event.t) for event in history.named("run_resumed")]


def dead(history: History) -> dict[str, list[Spell]]:
    """Between two lives of a node, and after its last; not what comes when the run is over."""
    found = {}
    ended_s = inf if history.ended_s is None else history.ended_s - history.tolerance_s
    for name, spells in lives(history).items():
        starts = [each.from_s for each in spells[1:]] + [inf]
        found[name] = [
            Spell(life.until_s, start) for life, start in zip(spells, starts, strict=True) if life.until_s < ended_s
        ]
    return found


def lives_in(history: History, node: str, spell: Spell) -> bool:
    """Whether a node lived in the middle of a spell that should have been its death."""
    ended_s = history.ended_s if history.ended_s is not None else spell.until_s
    middle_s = (spell.from_s + min(spell.until_s, ended_s)) / 2
    if min(spell.until_s, ended_s) - spell.from_s < 4 * history.tolerance_s:
        return False
    return any(life.holds(middle_s, 0.0) for life in lives(history).get(node, ()))


def left_dead(history: History, node: str, spell: Spell) -> bool:
    """Whether a node has no life after the end of what killed it, though nothing else held it and there was time."""
    ended_s = history.ended_s
    within_s = history.tolerance_s if history.is_virtual else REAL_START_S
    if ended_s is None or spell.until_s > ended_s - within_s:
        return False
    others = [
        other
        for fault in history.faults
        if node in fault.nodes and way_of(history, fault) in DEADLY and (other := active(fault)) is not None
    ]
    if any(other.from_s - within_s <= spell.until_s < other.until_s for other in others):
        return False
    return not any(life.from_s >= spell.until_s - history.tolerance_s for life in lives(history).get(node, ()))


def frozen(history: History) -> dict[str, list[Spell]]:
    """When a node was frozen, each fault by itself. Death ends it, and who is dead is not frozen."""
    living = lives(history)
    found: dict[str, list[Spell]] = defaultdict(list)
    for fault in history.faults:
        spell = active(fault)
        if spell is None or way_of(history, fault) not in FREEZING:
            continue
        for name in fault.nodes:
            life = next((each for each in living.get(name, ()) if each.from_s <= spell.from_s < each.until_s), None)
            if life is not None:
                found[name].append(Spell(spell.from_s, min(spell.until_s, life.until_s)))
    return found


def slowed(history: History) -> list[tuple[FaultReport, str, Spell]]:
    """Which fault slowed which node when: a straggler all the time, one that gets hot while it throttles."""
    found = []
    for fault in history.faults:
        spell = active(fault)
        if spell is None:
            continue
        if fault.kind == "straggler":
            found += [(fault, node, spell) for node in fault.nodes]
        events = [e for e in history.named("throttled", "unthrottled") if e.details["fault"] == fault.index]
        for event in events:
            if event.name == "throttled":
                node = str(event.details["node"])
                ends = [e.t for e in events if e.name == "unthrottled" and e.details["node"] == node and e.t >= event.t]
                found.append((fault, node, Spell(event.t, min(ends, default=spell.until_s))))
    return found


def blocked(history: History) -> list[tuple[Spell, frozenset[tuple[str, str]]]]:
    """Partitions: when, and which (source, target) pairs hear nothing."""
    parameters = {fault.index: fault.parameters for fault in history.plan.faults}
    everybody = [node.name for node in history.plan.nodes]
    found = []
    for fault in history.faults:
        spell = active(fault)
        if spell is not None and fault.kind == "partition":
            found.append((spell, pairs_cut(parameters.get(fault.index, {}), fault.nodes, everybody)))
    return found


def links_down(history: History) -> dict[str, list[Spell]]:
    """When each directed link was down, as it was set and read back."""
    found: dict[str, list[Spell]] = defaultdict(list)
    for event in history.named("links_shaped", "run_resumed"):
        if event.name == "run_resumed":  # all links are made anew, and up
            for name, ended in found.items():
                found[name] = _ended(ended, event.t)
            continue
        for link, state in event.details["links"].items():
            spells = found[link]
            is_down = bool(spells) and spells[-1].until_s == inf
            if not state["up"] and not is_down:
                spells.append(Spell(event.t, inf))
            elif state["up"] and is_down:
                spells[-1] = Spell(spells[-1].from_s, event.t)
    return found
