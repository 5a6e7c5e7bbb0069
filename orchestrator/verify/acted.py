"""G10: that each fault acted. Its evidence must be there, and the records of its victims must agree with it."""

from collections.abc import Iterator, Sequence
from math import inf
from statistics import median

from orchestrator.faults.battery import LOOK_S
from orchestrator.faults.schedule import FaultReport
from orchestrator.verify.checked import Checked, judged
from orchestrator.verify.history import History
from orchestrator.verify.log import BEGAN, RESUMED
from orchestrator.verify.spells import DEADLY, Spell, active, frozen, lives, slowed, way_of

ID = "G10"
REAL_START_S = 30.0  # that a node may take to start on a busy machine
UNEVEN = {"eclm", "elabip"}  # algorithms whose steps are not all alike
ENERGY_SLACK, REAL_ENERGY_SLACK = 1e-6, 0.1  # of a battery's joules; real samples are not of one instant
SLOW_ENOUGH = 0.7  # of the factor by which a straggler's steps should have become longer


def check(history: History) -> Checked:
    """See the table."""
    broken: list[str] = []
    for fault in history.faults:
        if fault.error is not None:
            broken.append(f"fault {fault.index} ({fault.kind}): {fault.error}")
        elif fault.injected_at_s is not None:
            broken += _not_acted(history, fault)
    broken += _miscut(history)
    unseen = list(_not_lied(history, broken))
    as_fast = list(_not_slowed(history)) if history.algorithm not in UNEVEN else []
    acted = sum(fault.injected_at_s is not None for fault in history.faults)
    if history.is_virtual:
        return judged(ID, f"{acted} faults", broken + as_fast, unseen)
    return judged(ID, f"{acted} faults", broken, as_fast + unseen)  # a busy host may be slower than the straggler


def _not_acted(history: History, fault: FaultReport) -> Iterator[str]:
    name, spell = f"fault {fault.index} ({fault.kind})", active(fault)
    if not fault.evidence or spell is None:
        yield f"{name}: no evidence that it acted"
        return
    if fault.healed_at_s is not None and not fault.heal_evidence:
        yield f"{name}: no evidence that it ended"
    if way_of(history, fault) in DEADLY:
        grace_s = float(history.parameters_of(fault.index).get("grace", 0.0))  # that it may take to end
        death = Spell(spell.from_s + grace_s, spell.until_s)
        yield from (f"{name}: {node} lived on" for node in fault.nodes if _lives_in(history, node, death))
        yield from (f"{name}: {node} was not started again" for node in fault.nodes if _left_dead(history, node, spell))


def _miscut(history: History) -> Iterator[str]:
    """Batteries: an empty one had given its charge, by the energy records too, and its device is dead until charged."""
    for event in history.named("battery_empty"):
        node, fault = str(event.details["node"]), int(event.details["fault"])
        what = f"fault {fault} (battery): {node}"
        drawn, charge = float(event.details["joules"]), float(event.details["charge_joules"])
        if drawn < charge:
            yield f"{what} died at {event.t:g} s with {charge - drawn:g} J left"
        mine = [each for each in history.named("battery_charged", BEGAN, RESUMED) if each.details["fault"] == fault]
        mine = [each for each in mine if each.details.get("node", node) == node]
        since_s = max((each.t for each in mine if each.t <= event.t), default=0.0)
        least, most = _spent_between(history, node, since_s, event.t)
        slack = ENERGY_SLACK if history.is_virtual else REAL_ENERGY_SLACK
        power = next(each.profile.power for each in history.plan.nodes if each.name == node)
        turns = sum(
            since_s <= each.t <= event.t and each.details["node"] == node
            for each in history.named("node_started", "node_exited")
        )
        # Of deaths and returns by other faults the battery learns at its next look: it may be off by that, either way.
        unseen_j = turns * LOOK_S * (0.0 if power is None else power.base_w)
        if not least * (1 - slack) - unseen_j <= drawn <= most * (1 + slack) + unseen_j:
            yield f"{what} is said to have drawn {drawn:g} J, and its records say {least:g} to {most:g} J"
        until_s = min((each.t for each in mine if each.t > event.t), default=inf)
        if _lives_in(history, node, Spell(event.t, until_s)):
            yield f"{what} lived on with an empty battery after {event.t:g} s"


def _spent_between(history: History, node: str, from_s: float, until_s: float) -> tuple[float, float]:
    """Modelled joules of a node between two instants, at least and at most: its records are sums between samples."""
    samples = sorted({0.0, *(record.t for record in history.own if record.metric == "energy_joules")})
    before = max((t for t in samples if t <= from_s), default=0.0)
    after = min((t for t in samples if t >= until_s), default=inf)
    inside = [t for t in samples if from_s <= t <= until_s]
    least = most = 0.0
    for record in history.own:
        if record.metric == "energy_joules" and record.meter is None and record.labels["node"] == node:
            most += record.value if before < record.t <= after else 0.0
            least += record.value if inside and inside[0] < record.t <= inside[-1] else 0.0
    return least, most


def _not_lied(history: History, broken: list[str]) -> Iterator[str]:
    """Byzantine faults that altered no message. What is altered while none acts goes to `broken`."""
    lies = [(fault, spell) for fault in history.faults if fault.kind == "byzantine" and (spell := active(fault))]
    for fault, spell in lies:
        for node in fault.nodes:
            if not any(_inside(history, spell, record.t) for record in history.of(node, "altered_messages")):
                yield f"fault {fault.index} (byzantine): {node} sent nothing that could be altered"
    for node in history.nodes:
        mine = [spell for fault, spell in lies if node in fault.nodes]
        for record in history.of(node, "altered_messages"):
            if not any(_inside(history, spell, record.t) for spell in mine):
                broken.append(f"{node} altered a message at {record.t:g} s, and no fault had it do so")
                break


def _inside(history: History, spell: Spell, t: float) -> bool:
    return spell.from_s - history.tolerance_s <= t <= spell.until_s + history.tolerance_s


def _lives_in(history: History, node: str, spell: Spell) -> bool:
    """Whether a node lived in the middle of a spell that should have been its death."""
    ended_s = history.ended_s if history.ended_s is not None else spell.until_s
    middle_s = (spell.from_s + min(spell.until_s, ended_s)) / 2
    if min(spell.until_s, ended_s) - spell.from_s < 4 * history.tolerance_s:
        return False
    return any(life.holds(middle_s, 0.0) for life in lives(history).get(node, ()))


def _left_dead(history: History, node: str, spell: Spell) -> bool:
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


def _not_slowed(history: History) -> Iterator[str]:
    """Stragglers, and who is too hot: steps of phases wholly inside, beside those outside of all that slows a node."""
    slowed_ones, frozen_ones = slowed(history), frozen(history)
    parameters = {each.index: each.parameters for each in history.plan.faults}
    for fault, node, spell in slowed_ones:
        others = [each for _, name, each in slowed_ones if name == node]
        inside, outside = _steps(history, node, spell, [*others, *frozen_ones.get(node, ())])
        speed = float(parameters[fault.index].get("speed", 1.0))
        if inside and outside and median(inside) < SLOW_ENOUGH * median(outside) / speed:
            yield (
                f"fault {fault.index} ({fault.kind}): a step of {node} took {median(inside):g} s inside, "
                f"{median(outside):g} s outside"
            )


def _steps(history: History, node: str, spell: Spell, disturbed: Sequence[Spell]) -> tuple[list[float], list[float]]:
    """Seconds of a step in the phases that lie in a spell, and of those that nothing disturbed."""
    inside, outside = [], []
    for phase, step in zip(history.of(node, "local_phase_s"), history.of(node, "local_step_s"), strict=False):
        from_s, until_s = phase.t - phase.value, phase.t
        if spell.from_s <= from_s and until_s <= spell.until_s:
            inside.append(step.value)
        elif all(until_s <= each.from_s or each.until_s <= from_s for each in disturbed):
            outside.append(step.value)
    return inside, outside
