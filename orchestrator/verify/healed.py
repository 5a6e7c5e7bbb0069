"""G9: after the last fault the network is as it was planned, nothing meets a fault any more, and who lives goes on."""

from collections.abc import Iterator
from math import inf

from node_image.handshake import KIND as HELLO
from orchestrator.verify.checked import Checked, judged
from orchestrator.verify.history import History
from orchestrator.verify.spells import Spell, active, links_down, lives

ID = "G9"
PATIENCE = 3.0  # so many times as long as the faults lasted, a node may take to be back (back-offs double)
LEAST_PATIENCE_S = 5.0
DROPPED_BY_FAULTS = {"down", "partition"}


def check(history: History) -> Checked:
    """See the table."""
    if history.ended_s is None:
        return judged(ID, "", (), ["the run did not come to its end"])
    spells = [spell for fault in history.faults if (spell := active(fault)) is not None]
    spells += [Spell(event.t, event.t) for event in history.named("run_resumed")]  # a disturbance like any other
    began_s = min((spell.from_s for spell in spells), default=0.0)
    healed_s = max((spell.until_s for spell in spells), default=0.0)
    patience_s = max(LEAST_PATIENCE_S, PATIENCE * (healed_s - began_s))
    broken = [*_links_not_as_planned(history), *_still_dropping(history, healed_s)]
    if not spells:
        return judged(ID, "there was no fault", broken)
    if healed_s >= history.ended_s:
        return judged(ID, "", broken, ["the run ended with the last fault"])
    left_s = history.ended_s - healed_s
    silent = [
        f"{name} has heard nothing in the {left_s:g} s after the last fault" for name in _silent(history, healed_s)
    ]
    goes_on = f"all that live go on after {healed_s:g} s"
    if left_s >= patience_s:
        return judged(ID, goes_on, [*broken, *silent])
    return judged(ID, goes_on, broken, silent)


def _links_not_as_planned(history: History) -> Iterator[str]:
    away = {link.id for link in history.plan.links if link.away}
    for name, count in (history.links or {}).items():
        if count.as_laid is False and name not in away:
            yield f"{name} has not the shape of the plan at the end"
    for name, spells in links_down(history).items():
        if spells and spells[-1].until_s == inf and name not in away:
            yield f"{name} is down at the end"


def _still_dropping(history: History, healed_s: float) -> Iterator[str]:
    """Packets that met a fault after the last had ended: a record is of the time since the sample before."""
    if any(link.away for link in history.plan.links):
        return  # links go down by the plan as well
    samples = sorted({record.t for record in history.own if record.metric.startswith("link_")})
    first = next((t for t in samples if t >= healed_s + history.tolerance_s), None)
    for record in history.own:
        if record.metric != "link_dropped_packets" or first is None or record.t <= first:
            continue
        if record.labels["reason"] in DROPPED_BY_FAULTS:
            yield f"{record.labels['link']} dropped packets ({record.labels['reason']}) at {record.t:g} s"


def _silent(history: History, healed_s: float) -> list[str]:
    """Nodes that live at the end and have had nothing from others since, though they had before."""
    assert history.ended_s is not None, "asked by check"
    last_s = history.ended_s - history.tolerance_s
    found = []
    for name, spells in lives(history).items():
        heard = [r.t for r in history.of(name, "received_payload_bytes") if r.labels["kind"] != HELLO]
        if heard and max(heard) <= healed_s and any(life.until_s >= last_s for life in spells):
            found.append(name)
    return found
