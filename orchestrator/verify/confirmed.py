"""G10 for faults that are orders and limits: what the fault says that it did, beside what its victims' records say.

Each yields what cannot be. On a real machine records and events are a tolerance apart, which each leaves them.
"""

from collections.abc import Iterator

from node_image.handshake import KIND as HELLO
from orchestrator.faults.schedule import FaultReport
from orchestrator.verify.history import Event, History
from orchestrator.verify.silence import TOLD_BY_OTHERS
from orchestrator.verify.spells import Spell, active, dead, frozen, lives

KILLED = -9
HANDSHAKE_S = 2.0  # that a connection may be under way which one end has already and the other not yet
HANDLED_S = 0.1  # that a message may lie at a node which had it whole before its connection ended
WRITTEN = ("ENOSPC", "EFBIG")  # what a disk that is full, by the simulation or by the kernel, answers
CLOCK_SLACK_S, REAL_CLOCK_SLACK_S = 1e-6, 0.1
REAL_SAVE = 1  # a checkpoint that was under way when the fault came
NEARLY = 0.9


def contradicted(history: History) -> Iterator[str]:
    """What faults say of themselves and the records of the run do not bear out."""
    for fault in history.faults:
        spell = active(fault)
        if spell is not None and fault.kind in _CHECKS:
            name = f"fault {fault.index} ({fault.kind})"
            yield from (f"{name}: {why}" for why in _CHECKS[fault.kind](history, fault, spell))
    yield from _failed_without_cause(history)


def _killed_too_soon(history: History, fault: FaultReport, spell: Spell) -> Iterator[str]:
    """Who is told to end has its grace before it is killed, unless a limit of its memory is the end of it."""
    grace_s = float(history.parameters_of(fault.index).get("grace", 0.0))
    grace_until_s = min(spell.until_s, spell.from_s + grace_s - history.tolerance_s)
    for event in history.named("node_exited"):
        node, in_grace = event.details["node"], spell.from_s <= event.t < grace_until_s
        was_down = f"{node}: already down" in (fault.evidence or "")
        killed = in_grace and node in fault.nodes and event.details["returncode"] == KILLED and not was_down
        if killed and not _others(history, fault, node, "memory"):
            yield f"{node} was killed {event.t - spell.from_s:g} s after it was told to end, of {grace_s:g} s"


def _not_ended(history: History, fault: FaultReport, spell: Spell) -> Iterator[str]:
    """Connections: what a node has from a peer later on comes over one that was made anew."""
    for event in _told(history, fault, "connections_ended"):
        node = str(event.details["node"])
        if history.is_virtual and event.details["ended"] and event.details["untold_packets"] == 0:
            yield f"peers of {node} were told that its connections end"
        stopped = [*dead(history).get(node, ()), *frozen(history).get(node, ())]
        if node in history.incomplete or any(_near(each, spell) for each in stopped):
            continue
        from_s, since_s = spell.from_s - HANDSHAKE_S, event.t + HANDLED_S + history.tolerance_s
        received = [each for each in history.of(node, "received_payload_bytes") if each.labels["kind"] != HELLO]
        known = {each.labels["peer"] for each in received if each.t < spell.from_s}
        for peer in sorted(known - history.incomplete):
            later = next((each for each in received if each.labels["peer"] == peer and each.t > since_s), None)
            if later is not None and not any(
                from_s <= t <= later.t + history.tolerance_s for t in _made(history, node, peer)
            ):
                yield f"{node} had a {later.labels['kind']} of {peer} at {later.t:g} s over what should have ended"


def _near(stopped: Spell, spell: Spell) -> bool:
    """Whether a node was dead or frozen as its connections ended: what had come then waited, or was never told."""
    return stopped.from_s <= spell.from_s + HANDLED_S and spell.from_s <= stopped.until_s + HANDLED_S


def _made(history: History, node: str, peer: str) -> Iterator[float]:
    """When a connection between two nodes may have been made again: by either, or by a new life of either."""
    for own, other in ((node, peer), (peer, node)):
        yield from (each.t for each in history.of(own, "reconnects") if each.labels["peer"] == other)
        received = history.of(own, "received_payload_bytes")
        yield from (each.t for each in received if (each.labels["kind"], each.labels["peer"]) == (HELLO, other))
        yield from (life.from_s for life in lives(history).get(own, ()))


def _records_came(history: History, fault: FaultReport, spell: Spell) -> Iterator[str]:
    """Records: those of its time came late where they were kept, and never where they were lost."""
    keeps = history.parameters_of(fault.index).get("records", "kept") == "kept"
    for event in _told(history, fault, "records_delayed"):
        node = str(event.details["node"])
        if _others(history, fault, node, fault.kind):
            continue  # they end together
        if any(each.from_s <= spell.until_s and spell.from_s <= each.until_s for each in dead(history).get(node, ())):
            continue  # another life hears of it a little later
        made = [
            record
            for record in history.nodes[node]
            if record.metric not in TOLD_BY_OTHERS and spell.holds(record.t, history.tolerance_s)
        ]
        if made and keeps and not event.details["late"] + event.details["lost"]:
            yield f"{len(made)} records of {node} came at once"
        if made and not keeps:
            yield f"{len(made)} records of {node} came, which should have been lost"


def _disk_obeyed(history: History, fault: FaultReport, spell: Spell) -> Iterator[str]:
    """A full disk takes nothing, a slow one takes its time, and a torn checkpoint is found to be."""
    asked = history.parameters_of(fault.index)
    under_way = 0 if history.is_virtual else REAL_SAVE
    for event in _told(history, fault, "disk_told"):
        node, saved = event.details["node"], event.details["saved"]
        if asked.get("mode") == "full" and saved > under_way:
            yield f"{saved:g} checkpoints of {node} were written to a full disk"
        alone = not _others(history, fault, node, "disk")
        if asked.get("mode") == "slow" and alone and event.details["bytes_per_s"] is not None:
            yield f"the disk of {node} stayed slow"
        if asked.get("mode") == "slow" and alone and saved > REAL_SAVE:
            least_s = event.details["saved_bytes"] * (1 - REAL_SAVE / saved) / float(asked["rate"])
            if event.details["took_s"] < NEARLY * least_s:
                yield f"{node} wrote in {event.details['took_s']:g} s what takes {least_s:g} s at least"
    if asked.get("mode") == "torn" and "torn;" in f"{fault.evidence};".replace(" torn: ", " torn;"):
        for node in fault.nodes:
            again = [life.from_s for life in lives(history).get(node, ()) if life.from_s >= spell.from_s]
            found = [e for e in history.named("node_checkpoint_broken") if e.details["node"] == node]
            if again and not any(e.t >= spell.from_s for e in found) and _had_time(history, again[0]):
                yield f"{node} did not find its newest checkpoint torn"


def _failed_without_cause(history: History) -> Iterator[str]:
    """Checkpoints that a full disk refused while none was full."""
    full = [
        (fault, spell)
        for fault in history.faults
        if history.parameters_of(fault.index).get("mode") == "full" and (spell := active(fault)) is not None
    ]
    reasons = WRITTEN if history.is_virtual else WRITTEN[1:]  # the machine's own disk may be full
    for node in history.nodes:
        mine = [spell for fault, spell in full if node in fault.nodes]
        for record in history.of(node, "failed_saves"):
            slack_s = history.tolerance_s
            if record.labels["reason"] in reasons and not any(
                each.from_s - slack_s <= record.t <= each.until_s + slack_s for each in mine
            ):
                yield f"{node} found its disk full at {record.t:g} s, and no fault had filled it"
                break


def _clock_set(history: History, fault: FaultReport, spell: Spell) -> Iterator[str]:
    """Clocks: each order moved it by what it says, and the way back is as long as the way there."""
    for event in _told(history, fault, "clock_set"):
        found = event.details
        if found["was_ahead_s"] is None or found["is_ahead_s"] is None:
            continue  # nobody could ask it
        if min(found["was_ahead_s"], found["is_ahead_s"]) + event.t <= history.tolerance_s:
            continue  # no clock shows less than 0
        moved_s = found["is_ahead_s"] - found["was_ahead_s"]
        slack_s = found["accuracy_s"] + (CLOCK_SLACK_S if history.is_virtual else REAL_CLOCK_SLACK_S)
        if abs(moved_s - found["asked_s"]) > slack_s:
            yield f"the clock of {found['node']} went by {moved_s:+g} s, and was to go by {found['asked_s']:+g} s"


def _heard(history: History, fault: FaultReport, _: Spell) -> Iterator[str]:
    """The endpoint of the live metrics answers when it should, and only then."""
    for event in _told(history, fault, "exporter_asked"):
        if event.details["answered"] != event.details["should_answer"]:
            yield f"the live metrics {'answered' if event.details['answered'] else 'did not answer again'}"


def _told(history: History, fault: FaultReport, name: str) -> Iterator[Event]:
    return (event for event in history.named(name) if event.details["fault"] == fault.index)


def _others(history: History, fault: FaultReport, node: str, kind: str) -> bool:
    """Whether other faults of this kind are about this node while this one acts."""
    mine = active(fault)
    others = [each for each in history.faults if each.index != fault.index and each.kind == kind and node in each.nodes]
    spells = [spell for each in others if (spell := active(each)) is not None]
    return mine is not None and any(s.from_s <= mine.until_s and mine.from_s <= s.until_s for s in spells)


def _had_time(history: History, t: float) -> bool:
    return history.ended_s is not None and history.ended_s - t > (0.0 if history.is_virtual else 30.0)


_CHECKS = {
    "clock": _clock_set,
    "disk": _disk_obeyed,
    "exporter_down": _heard,
    "metrics_down": _records_came,
    "reset": _not_ended,
    "slow_close": _not_ended,
    "stop": _killed_too_soon,
}
