"""G10: that each fault acted. Its evidence must be there, and the records of its victims must agree with it."""

from collections.abc import Iterator, Sequence
from statistics import median

from orchestrator.faults.schedule import FaultReport
from orchestrator.verify.batteries import miscut, overdrawn
from orchestrator.verify.checked import Checked, judged
from orchestrator.verify.confirmed import contradicted
from orchestrator.verify.history import History
from orchestrator.verify.spells import DEADLY, Spell, active, frozen, left_dead, lives_in, slowed, way_of

ID = "G10"
UNEVEN = {"eclm", "elabip"}  # algorithms whose steps are not all alike
SLOW_ENOUGH = 0.7  # of the factor by which a straggler's steps should have become longer


def check(history: History) -> Checked:
    """See the table."""
    broken: list[str] = []
    for fault in history.faults:
        if fault.error is not None:
            broken.append(f"fault {fault.index} ({fault.kind}): {fault.error}")
        elif fault.injected_at_s is not None:
            broken += _not_acted(history, fault)
    broken += [*miscut(history), *overdrawn(history), *contradicted(history)]
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
        yield from (f"{name}: {node} lived on" for node in fault.nodes if lives_in(history, node, death))
        yield from (f"{name}: {node} was not started again" for node in fault.nodes if left_dead(history, node, spell))


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
