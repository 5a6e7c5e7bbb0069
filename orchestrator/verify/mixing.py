"""I9: gossip by symmetric exchanges moves parameters between devices and makes none: what is taken in was given."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence

from node_image.records import Record
from orchestrator.verify.checked import Checked, judged, unknown
from orchestrator.verify.history import History
from orchestrator.verify.spells import active

ID = "I9"
TOLERANCE = 1e-6
SPEAK_OF_LOSS = ("dropped_messages", "lost_payload_bytes", "discarded_updates", "reconnects")


def check(history: History) -> Checked:
    """In every round in which all neighbours were heard by all, the balances of all devices add up to 0."""
    devices = [node.name for node in history.plan.nodes if node.role == "device"]
    resumed = [event.t for event in history.named("run_resumed")]  # since then rounds are made again
    rounds: dict[tuple[int, int], dict[str, tuple[float, float]]] = defaultdict(dict)
    lied_in: set[tuple[int, int]] = (
        set()
    )  # rounds in which a byzantine fault acted: what a liar gave is not what was taken in
    lies = [spell for fault in history.faults if fault.kind == "byzantine" and (spell := active(fault)) is not None]
    for name in devices:
        began_s = 0.0
        for number, balance, heard, ended_s in _rounds(history.nodes[name]):
            made = (bisect_right(resumed, ended_s), number)
            rounds[made][name] = (balance, heard)
            if any(lie.from_s <= ended_s and began_s <= lie.until_s for lie in lies):
                lied_in.add(made)
            began_s = ended_s
    if not any(history.of(name, "gossip_exchanges") for name in devices):
        return judged(ID, "nobody gossiped", ())
    if not rounds:
        return unknown(ID, f"{history.algorithm} makes no exchange that is the same both ways")
    degrees = {node.name: len([p for p in node.spec.peers if p.name in devices]) for node in history.plan.nodes}
    lossless = not any(history.of(name, metric) for name in devices for metric in SPEAK_OF_LOSS)
    broken, looked_at = [], 0
    for made, said in sorted(rounds.items()):
        whole = len(said) == len(devices) and all(said[name][1] == degrees[name] for name in devices)
        if not whole or made in lied_in or (history.algorithm != "dsgd" and not lossless):
            continue
        looked_at += 1
        total, scale = sum(each[0] for each in said.values()), 1.0 + sum(abs(each[0]) for each in said.values())
        if abs(total) > TOLERANCE * scale:
            broken.append(f"round {made[1]}: {total:g} was taken in more than given")
    if not looked_at:
        return unknown(ID, "there was no round in which every device heard all its neighbours and no message was lost")
    return judged(ID, f"{looked_at} rounds", broken)


def _rounds(records: Sequence[Record]) -> list[tuple[int, float, float, float]]:
    """Round, balance, neighbours heard, when it ended: as a device writes them. The last one of a round counts."""
    found: list[tuple[int, float, float, float]] = []
    balance = heard = None
    for record in records:
        if record.metric == "mixing_balance":
            balance, heard = record.value, None
        elif record.metric == "neighbours":
            heard = record.value
        elif record.metric == "round" and balance is not None and heard is not None:
            found.append((int(record.value), balance, heard, record.t))
            balance = heard = None
    return found
