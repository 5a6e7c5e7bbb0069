"""G10 for batteries: who died of an empty one had given its charge, none lived on without, the charged came back."""

from collections.abc import Iterator
from math import inf

from orchestrator.faults.battery import LOOK_S, capacity_joules
from orchestrator.faults.schedule import FaultReport
from orchestrator.plan import PlannedFault
from orchestrator.verify.history import Event, History
from orchestrator.verify.log import BEGAN, RESUMED
from orchestrator.verify.spells import Spell, active, left_dead, lives_in

ENERGY_SLACK, REAL_ENERGY_SLACK = 1e-6, 0.1  # of a battery's joules; real samples are not of one instant
LATE_S = 1.0  # that it may be charged late: it is looked at now and then
REAL_DEATH_S = 1.0  # that a death may take on a busy machine: it is written down when it is over
OVERDRAWN = 1.5  # charges that a device may use up and live, with what it draws between two looks


def miscut(history: History) -> Iterator[str]:
    """An empty battery had given its charge, by the energy records too, and its device is dead until charged."""
    for event in history.named("battery_empty"):
        node, fault = str(event.details["node"]), int(event.details["fault"])
        what = f"fault {fault} (battery): {node}"
        drawn, charge = float(event.details["joules"]), float(event.details["charge_joules"])
        if drawn < charge:
            yield f"{what} died at {event.t:g} s with {charge - drawn:g} J left"
        mine = _turns(history, fault, node)
        since_s = max((each.t for each in mine if each.t <= event.t), default=0.0)
        least, most = _spent_between(history, node, since_s, event.t)
        slack = ENERGY_SLACK if history.is_virtual else REAL_ENERGY_SLACK
        base_w, _ = _powers(history, node)
        turns = sum(
            since_s <= each.t <= event.t and each.details["node"] == node
            for each in history.named("node_started", "node_exited")
        )
        # Of deaths and returns by other faults the battery learns at its next look: it may be off by that, either way.
        unseen_j = turns * LOOK_S * base_w
        if not least * (1 - slack) - unseen_j <= drawn <= most * (1 + slack) + unseen_j:
            yield f"{what} is said to have drawn {drawn:g} J, and its records say {least:g} to {most:g} J"
        until_s = min((each.t for each in mine if each.t > event.t), default=inf)
        if lives_in(history, node, Spell(event.t, until_s)):
            yield f"{what} lived on with an empty battery after {event.t:g} s"
        alone = sum(each.kind == "battery" and node in each.nodes for each in history.faults) == 1
        if alone and until_s < inf and left_dead(history, node, Spell(event.t, until_s)):
            yield f"{what} was charged at {until_s:g} s and not started again"


def overdrawn(history: History) -> Iterator[str]:
    """Who used up its charge died of it, and was charged no sooner than that takes."""
    planned = {fault.index: fault for fault in history.plan.faults if fault.kind == "battery"}
    for fault in history.faults:
        if fault.index in planned and (spell := active(fault)) is not None:
            for node in fault.nodes:
                for why in _overdrawn(history, fault, planned[fault.index], node, spell):
                    yield f"fault {fault.index} (battery): {node} {why}"


def _overdrawn(history: History, fault: FaultReport, planned: PlannedFault, name: str, spell: Spell) -> Iterator[str]:
    asked, ended_s = planned.parameters, history.ended_s
    node = next(each for each in history.plan.nodes if each.name == name)
    slack_s = history.tolerance_s if history.is_virtual else REAL_DEATH_S
    full, powers = capacity_joules(planned, node), _powers(history, name)
    turns = _turns(history, fault.index, name)
    empty = [
        e.t for e in history.named("battery_empty") if (e.details["fault"], e.details["node"]) == (fault.index, name)
    ]
    lasts_s = full / asked["charge"] if asked["charge"] is not None else asked["recharge"]
    for turn in turns:
        charge = full * asked["charged"] if turn.name in (BEGAN, RESUMED) else full
        until_s = min([t for t in empty if t > turn.t] + [spell.until_s, inf if ended_s is None else ended_s])
        least, _ = _spent_between(history, name, turn.t, until_s)
        if least > OVERDRAWN * charge + 2 * LOOK_S * sum(powers):
            yield f"lived on {least:g} J from {turn.t:g} s to {until_s:g} s, and its battery held {charge:g} J"
        stays_empty = until_s in empty and not any(each.t > until_s for each in turns)
        if stays_empty and lasts_s is not None and until_s + lasts_s + LATE_S < min(spell.until_s, ended_s or inf):
            yield f"was empty at {until_s:g} s and never charged, and that takes {lasts_s:g} s"
        was_s = max((t for t in empty if t <= turn.t), default=None)
        by_itself = turn.name not in (BEGAN, RESUMED) and turn.t < spell.until_s - history.tolerance_s
        if by_itself and was_s is not None and (lasts_s is None or turn.t - was_s < lasts_s - slack_s):
            yield f"was charged {turn.t - was_s:g} s after it was empty"


def _turns(history: History, fault: int, node: str) -> list[Event]:
    """Since when the battery of a node has had a charge: the fault's beginning (again where a killed run went
    on), and each time that it was charged."""
    mine = [each for each in history.named("battery_charged", BEGAN, RESUMED) if each.details["fault"] == fault]
    return [each for each in mine if each.details.get("node", node) == node]


def _powers(history: History, node: str) -> tuple[float, float]:
    """Watts that its profile gives it while it is on, and those that computing adds at most."""
    power = next(each.profile.power for each in history.plan.nodes if each.name == node)
    return (0.0, 0.0) if power is None else (power.base_w, power.cpu_dyn_w)


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
