"""Tables of what it took: seconds, bytes and joules to an accuracy, and what faults cost and how long they did."""

from collections.abc import Sequence

import numpy as np

from analysis import robustness, tables, targets
from analysis.claims import difference
from analysis.curves import TIME
from analysis.groups import Group, settings
from analysis.results import heads, leading, p_value
from analysis.statistics.survival import Survival, horizon, survival
from analysis.tables import told_by
from analysis.tabular import Table, span
from orchestrator import quantities

PAYLOAD, WIRE = "sent_payload_bytes", "sent_wire_bytes"


def to_accuracy(groups: Sequence[Group]) -> list[Table]:
    """For each accuracy worth it (see `targets`), a row for each arm."""
    return [_to(groups, target) for target in targets.targets(groups)]


def _to(groups: Sequence[Group], target: float) -> Table:
    sources = tables.sources(run for group in groups for run in group.runs)
    told = any(run.of(PAYLOAD) for group in groups for run in group.runs)  # programs of a workload have no payload
    costs = [("time", TIME, ""), ("payload", PAYLOAD, "") if told else ("on the wire", WIRE, "")]
    costs += [(told_by(each), "energy_joules", each) for each in sources]
    ordered = [group for members in settings(groups).values() for group in members]
    found = {title: targets.to_accuracy(ordered, target, cost, source) for title, cost, source in costs}
    rows = []
    for place, group in enumerate(ordered):
        first = found["time"][place]
        front = ((group.setting,) if leading(groups) > 1 else ()) + (group.arm,)
        cells = [each for title, cost, _ in costs for each in _cells(cost, found[title][place])]
        evaluated = first.count if first else 0
        said = f"{first.reached if first else 0} of {len(group.runs)}"
        lost = len(group.runs) - evaluated
        rows.append((*front, said + (f", {lost} not evaluated" if lost else ""), *cells))
    limits = []
    for title, cost, _ in costs:
        shared = next((each for each in found[title] if each is not None), None)
        if shared is not None:
            limits.append(f"{title} up to {_write(cost, shared.horizon)}")
    header = (*heads(groups), "reached", *(f"{title}, {what}" for title, _, _ in costs for what in ("median", "mean")))
    percent = f"{100 * target:.0f} %"
    notes = (
        f"At the first evaluation at or above {percent}. Runs that never got there are censored at their last "
        "evaluation, not left out: medians are Kaplan and Meier's (“not reached”: by fewer than half), means are "
        f"restricted ({'; '.join(limits)}). Energy and bytes on the wire are read a hundred times a run, at "
        "most once a second, and taken to grow evenly in between.",
    )
    name = f"to_accuracy_{100 * target:.0f}"
    return Table(name, f"What it took to reach {percent} accuracy", header, tuple(rows), leading(groups), notes)


def losses(groups: Sequence[Group]) -> Table | None:
    """Accuracy lost to faults, against the same arm and seeds without them. None if nothing can be held against."""
    found = robustness.losses(groups)
    if not found:
        return None
    rows = []
    for loss in found:
        test = loss.found
        low, high = test.difference.low, test.difference.high
        interval = "-" if low is None or high is None else span(_points(low), _points(high))
        d_z = "-" if test.d_z is None else f"{test.d_z:.3g}"
        rows.append(
            (
                *(loss.group.setting, loss.group.arm, loss.without or "without faults"),
                *(str(test.difference.count), _points(test.difference.mean), interval),
                *(p_value(test.p), p_value(test.p_exact), d_z),
            )
        )
    header = ("setting", "arm", "held against", "n", "accuracy lost", "95 % interval", "p", "p (exact)", "d_z")
    note = "Accuracy at the end without the fault minus that with it, seed by seed; positive is lost. p as above."
    return Table("accuracy_lost", "Accuracy lost to faults", header, tuple(rows), 3, (note,))


def recoveries(groups: Sequence[Group]) -> Table | None:
    """For each fault of each arm: how deep accuracy fell and how long until it was back. None without faults."""
    rows = []
    for setting, members in settings(groups).items():
        for group in members:
            for place in range(max(len(run.acted) for run in group.runs)):
                rows += _recovered(group, setting if leading(groups) > 1 else None, place)
    if not rows:
        return None
    header = (*heads(groups), "fault", "began", "before", "lowest after", "fell", "back", "median time back")
    note = (
        "By evaluations, so as finely as a run was evaluated; means over seeds. Fell: below the last accuracy before "
        "the fault by more than a percentage point. Back: no longer so, of those that fell; counted from the fault's "
        "begin, and runs that never came back are censored at their last evaluation."
    )
    return Table("recovery", "Through each fault", header, tuple(rows), leading(groups) + 1, (note,))


def _recovered(group: Group, setting: str | None, place: int) -> list[tuple[str, ...]]:
    faults = [(run, run.acted[place]) for run in group.runs if len(run.acted) > place]
    seen = [each for run, fault in faults if (each := robustness.recovery(run, fault)) is not None]
    front = ((setting,) if setting is not None else ()) + (group.arm,)
    kinds = ", ".join(dict.fromkeys(f"{fault.kind} ({len(fault.victims)})" for _, fault in faults))
    began = quantities.seconds(float(np.mean([fault.at_s for _, fault in faults])))
    if not seen:
        return [(*front, kinds, began, *"-----")]
    before, lowest = (float(np.mean([getattr(each, name) for each in seen])) for name in ("before", "lowest"))
    fell = [each for each in seen if each.back_s != 0]
    back = [each.back_s for each in fell if each.back_s is not None]
    never = [each.seen_s for each in fell if each.back_s is None]
    median = survival(back, never, horizon([(back, never)])).median if fell else None
    time_back = "did not fall" if not fell else "not seen" if median is None else quantities.seconds(median)
    came = f"{len(back)} of {len(fell)}" if fell else "-"
    shown = (quantities.percent(before), quantities.percent(lowest))
    return [(*front, kinds, began, *shown, f"{len(fell)} of {len(seen)}", came, time_back)]


def _cells(cost: str, found: Survival | None) -> tuple[str, str]:
    if found is None:
        return "-", "-"
    median = "not reached" if found.median is None else _write(cost, found.median)
    mean = "-" if not found.reached else _write(cost, found.restricted_mean)
    return median, mean


def _write(cost: str, value: float) -> str:
    return quantities.seconds(value) if cost == TIME else quantities.of_metric(cost, value)


def _points(value: float) -> str:
    return difference("test_accuracy", value)
