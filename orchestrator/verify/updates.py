"""I3, I4, I5: updates at a coordinator. None goes missing, none is applied twice, and each is as old as it says."""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from node_image.records import Record
from orchestrator.verify.checked import Checked, judged, unknown
from orchestrator.verify.history import History
from orchestrator.verify.spells import Spell, lives

GIVEN = ("features", "update")  # kinds of messages that bring an update
HANDLED_SINCE = 3  # updates of a device: an older one that is not settled by then never will be
UNSAVED = {"descriptors", "disk", "pids"}  # faults that may keep the newest checkpoints from a next life
PARTLY_STALE = {"eclm"}  # staleness is that of the oldest module, and no more than the model's


@dataclass(frozen=True)
class Applied:
    """An update that was applied: whose, its number, its base version, its staleness, and when its model had left."""

    t: float
    device: str
    number: str
    base: int
    staleness: float
    sent_s: float | None
    version: float | None  # that it led to; None: the life ended before


def check_none_missing(history: History) -> Checked:
    """Each update that came was applied, refused with a reason, or waits still when the coordinator's life ends."""
    name = history.coordinator
    if (why := _why_unknown(history)) is not None:
        return unknown("I3", why)
    assert name is not None, "else it is unknown"
    broken, came = [], 0
    may_wait = max(0, (history.parameter("buffer") or 1) - 1)
    for life in lives(history).get(name, ()):
        lost: dict[str, int] = {}
        for device, steps in _handled(history, name, life).items():
            came += sum(step > 0 for _, step in steps)
            since, unsettled = _since_settled(steps)
            if unsettled and since >= HANDLED_SINCE:
                lost[device] = unsettled
        if sum(lost.values()) > may_wait:
            whose = ", ".join(f"{count} of {device}" for device, count in lost.items())
            broken.append(f"updates that reached {name} were neither applied nor refused, as later ones were: {whose}")
    counted = sum(record.value for record in history.of(name, "aggregated_updates"))
    cut = _cut_short(history, name)
    if not 0 <= len(history.of(name, "staleness")) - counted <= cut:
        broken.append(f"{counted:g} updates were aggregated, {len(history.of(name, 'staleness'))} applied")
    return judged("I3", f"{came} updates came, {counted:g} were applied", broken)


def _cut_short(history: History, name: str) -> int:
    """Updates whose version the coordinator may not have told of any more, because the run was killed just then."""
    killed = {event.t for event in history.named("run_resumed")}
    cut = [life for life in lives(history).get(name, ()) if life.until_s in killed]
    return sum(each.version is None for life in cut for each in applied(history, name, life))


def check_none_twice(history: History) -> Checked:
    """No two updates of a device have one number in one life of both, and none is applied before it has come."""
    name = history.coordinator
    if (why := _why_unknown(history)) is not None:
        return unknown("I4", why)
    assert name is not None, "else it is unknown"
    broken, looked_at = [], 0
    starts = {node: [life.from_s for life in spells] for node, spells in lives(history).items()}
    for life in lives(history).get(name, ()):
        seen: dict[tuple[str, str, int], float] = {}
        newest: dict[tuple[str, int], int] = {}
        for each in applied(history, name, life):
            looked_at += 1
            key = (each.device, each.number, bisect_right(starts.get(each.device, []), each.t))
            if key in seen:
                broken.append(f"update {each.number} of {each.device} was applied at {seen[key]:g} s and {each.t:g} s")
            seen[key] = each.t
            if each.number.isdecimal():
                number, before = int(each.number), newest.get((each.device, key[2]), -1)
                if number < before:
                    broken.append(f"update {number} of {each.device} was applied at {each.t:g} s, after {before}")
                newest[each.device, key[2]] = max(number, before)
        for device, steps in _handled(history, name, life, refused=False).items():
            come = 0
            for t, step in steps:
                come += step
                if come < 0:
                    broken.append(f"at {t:g} s more updates of {device} had been applied than had come")
                    break
    return judged("I4", f"{looked_at} updates applied", broken)


def check_versions(history: History) -> Checked:
    """Within a life versions rise by what is applied; staleness is the distance from an update's base, in bounds."""
    name = history.coordinator
    if (why := _why_unknown(history)) is not None:
        return unknown("I5", why)
    assert name is not None, "else it is unknown"
    broken: list[str] = []
    looked_at, newest = 0, None
    bound = history.parameter("max_staleness") or None
    kept_every = history.parameter("checkpoint_every") or 0
    mistimed = any(fault.kind == "clock" and name in fault.nodes for fault in history.faults)  # ages are by that clock
    forgetful = any(fault.kind in UNSAVED and name in fault.nodes for fault in history.faults)
    for life in lives(history).get(name, ()):
        versions = _within(history.of(name, "version"), life)
        values, times = [record.value for record in versions], [record.t for record in versions]
        broken += [f"after version {a:g} came {b:g}" for a, b in pairwise(values) if b <= a]
        if not forgetful and newest is not None and values and values[0] <= newest - kept_every:
            broken.append(f"a new life went on from version {values[0]:g}, {newest:g} had been reached")
        newest = values[-1] if values else newest
        for each in applied(history, name, life):
            looked_at += 1
            if mistimed:
                each = replace(each, sent_s=None)
            broken += _misdated(history, each, versions, times, bound)
    return judged("I5", f"{looked_at} updates applied", broken)


def applied(history: History, coordinator: str, life: Spell) -> Iterator[Applied]:
    """What the coordinator applied in one life."""
    waiting: list[tuple[Record, float | None]] = []
    for record in history.nodes[coordinator]:
        if not life.from_s <= record.t <= life.until_s:
            continue
        if record.metric == "staleness":
            waiting.append((record, None))
        elif record.metric == "update_age_s" and waiting:
            waiting[-1] = (waiting[-1][0], record.t - record.value)
        elif record.metric == "version":
            yield from (_applied(each, sent_s, record.value) for each, sent_s in waiting)
            waiting = []
    yield from (_applied(each, sent_s, None) for each, sent_s in waiting)


def _applied(record: Record, sent_s: float | None, version: float | None) -> Applied:
    labels = record.labels
    return Applied(record.t, labels["peer"], labels["number"], int(labels["base"]), record.value, sent_s, version)


def _misdated(
    history: History, each: Applied, versions: Sequence[Record], times: Sequence[float], bound: int | None
) -> Iterator[str]:
    """What is wrong with the staleness and the base of an update; `times` are those of the versions."""
    what = f"update {each.number} of {each.device} at {each.t:g} s"
    if each.staleness < 0 or (bound is not None and each.staleness > bound):
        yield f"{what}: staleness {each.staleness:g}, at most {bound or 'any'} is allowed"
    if each.version is not None:
        age = max(0.0, each.version - 1 - each.base)
        partly = history.algorithm in PARTLY_STALE and each.staleness < age
        if each.staleness != age and not partly:
            yield f"{what}: staleness {each.staleness:g}, but made on version {each.base} of {each.version - 1:g}"
    if each.sent_s is not None and versions and each.version is not None:
        first = versions[0].value - 1
        earliest = first + bisect_left(times, each.sent_s - history.tolerance_s)
        latest = first + bisect_right(times, each.sent_s + history.tolerance_s)
        if not earliest <= each.base <= latest:
            yield f"{what}: made on version {each.base}, but its model left when version {latest:g} was the newest"


def _handled(
    history: History, coordinator: str, life: Spell, *, refused: bool = True
) -> dict[str, list[tuple[float, int]]]:
    """By device, in the order written: +1 an update that came, -1 one that was applied or refused."""
    found: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for record in history.nodes[coordinator]:
        if not life.from_s <= record.t <= life.until_s:
            continue
        if record.metric == "received_payload_bytes" and record.labels["kind"] in GIVEN:
            found[record.labels["peer"]].append((record.t, 1))
        elif "peer" in record.labels and (
            record.metric == "staleness" or (refused and record.metric == "discarded_updates")
        ):
            found[record.labels["peer"]].append((record.t, -1))
    return found


def _since_settled(steps: Sequence[tuple[float, int]]) -> tuple[int, int]:
    """How many updates were handled since none waited, and the fewest that have waited since."""
    waiting = since = fewest = 0
    for _, step in steps:
        waiting = max(0, waiting + step)  # what is refused need not have been an update
        if waiting == 0:
            since = fewest = 0
        elif step < 0:
            since, fewest = since + 1, min(fewest or waiting, waiting)
    return since, fewest


def _within(records: Sequence[Record], life: Spell) -> list[Record]:
    return [record for record in records if life.from_s <= record.t <= life.until_s]


def _why_unknown(history: History) -> str | None:
    name = history.coordinator
    if name is None or not Counter(record.metric for record in history.nodes.get(name, ()))["staleness"]:
        return "no coordinator said that it applied an update"
    if any("number" not in record.labels for record in history.of(name, "staleness")):
        return "the coordinator did not say which updates it applied"
    return None
