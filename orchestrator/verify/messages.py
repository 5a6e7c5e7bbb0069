"""I2: messages. What a node received of another is what that one sent, in order, less what a connection lost."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf

from node_image.handshake import KIND as HELLO
from node_image.records import METRICS, Record
from orchestrator.verify.checked import Checked, judged
from orchestrator.verify.history import History
from orchestrator.verify.spells import dead, killed_with_run

ID = "I2"
TOLD_TO_END = (128 + 15, -15)  # exit statuses after SIGTERM, of a process and of a container
SAME_CLOCK_S = 0.05  # that two ends of a connection on one machine may be apart
Pair = tuple[str, str]  # who sent, who received


@dataclass
class Carried:
    """One connection as one of its ends saw it: since when, and what that end sent and received on it."""

    from_s: float
    sent: list[Record] = field(default_factory=list)
    received: list[Record] = field(default_factory=list)


def check(history: History) -> Checked:
    """Sums by kind and pair (exact in virtual time), the order on every connection, and sums of records as reported."""
    sent, received = _sums(history, "sent_payload_bytes"), _sums(history, "received_payload_bytes")
    killed = _killed(history) if not history.is_virtual else set()
    unsure = [f"{name} was killed, and took its last records with it" for name in sorted(killed)]
    broken = [
        f"{kind} of {source}: {target} received {size} bytes of {sent[source, target, kind]} sent"
        for (source, target, kind), size in received.items()
        if size > sent[source, target, kind] and source not in killed
    ]
    if history.is_virtual:
        lost = _sums(history, "lost_payload_bytes")
        broken += [
            f"{kind} of {source} to {target}: {size} bytes sent, {received[source, target, kind]} received and "
            f"{lost[source, target, kind]} lost"
            for (source, target, kind), size in sent.items()
            if size != received[source, target, kind] + lost[source, target, kind]
        ]
    broken += _out_of_order(history, killed) + _summed_otherwise(history)
    messages = sum(len(history.of(name, "received_payload_bytes")) for name in history.nodes)
    return judged(ID, f"{messages} messages received, {round(sum(sent.values()))} bytes sent", broken, unsure)


def _killed(history: History) -> set[str]:
    """Who died in the run and could not say its last records; who was told to end could."""
    suddenly = {
        str(event.details["node"])
        for event in history.named("node_exited")
        if event.details["returncode"] not in (0, *TOLD_TO_END)
    }
    return ({name for name, spells in dead(history).items() if spells} & suddenly) | killed_with_run(history)


def _sums(history: History, metric: str) -> Counter[tuple[str, str, str]]:
    """Bytes by who sent, who received, and kind. Hello frames are apart: each end counts those that it knows of."""
    found: Counter[tuple[str, str, str]] = Counter()
    for name in history.nodes:
        for record in history.of(name, metric):
            kind, peer = record.labels["kind"], record.labels["peer"]
            if kind != HELLO:
                found[(peer, name, kind) if metric == "received_payload_bytes" else (name, peer, kind)] += round(
                    record.value
                )
    return found


def connections(history: History, node: str) -> dict[str, list[Carried]]:
    """The connections of a node by peer. Both ends write down their hello frames when they begin to use one."""
    found: dict[str, list[Carried]] = defaultdict(list)
    for record in history.nodes[node]:
        if record.metric == "sent_payload_bytes":
            carried = found[record.labels["peer"]]
            if record.labels["kind"] == HELLO:
                carried.append(Carried(record.t))
            elif carried:
                carried[-1].sent.append(record)
        elif record.metric == "received_payload_bytes" and record.labels["kind"] != HELLO:
            carried = found[record.labels["peer"]]
            if carried:
                carried[-1].received.append(record)
    return found


def _out_of_order(history: History, killed: Collection[str]) -> list[str]:
    """Per connection and direction: what arrived must be what was sent first, nothing left out, nothing before it left.

    Who was killed is left out.
    """
    seen = {name: connections(history, name) for name in history.nodes if name not in killed}
    broken: list[str] = []
    for dialer, listener in _dialled(history):
        if dialer in seen and listener in seen:
            ends = seen[dialer].get(listener, ()), seen[listener].get(dialer, ())
            broken += _compared(history, (dialer, listener), *ends)
    return broken


def _dialled(history: History) -> Iterator[Pair]:
    """All pairs that may connect, who dials first: devices dial the coordinator, else whose name comes first."""
    for node in history.plan.nodes:
        for peer in node.spec.peers:
            led = node.spec.coordinator in (node.name, peer.name)
            if (peer.name == node.spec.coordinator) if led else node.name < peer.name:
                yield node.name, peer.name


def _connected(
    history: History, dialled: Sequence[Carried], accepted: Sequence[Carried]
) -> list[Carried | None] | None:
    """Of each connection that was dialled, its other end; None where it was never used. None: one was never dialled.

    A node that waits for the processor may write its end down long after its peer: in real time there is a second look,
    and a third at which any time will do where there is but one to choose.
    """
    apart_s = [history.tolerance_s] if history.is_virtual else [SAME_CLOCK_S, history.tolerance_s, inf]
    return next((ends for each in apart_s if (ends := _matched(dialled, accepted, each)) is not None), None)


def _matched(dialled: Sequence[Carried], accepted: Sequence[Carried], apart_s: float) -> list[Carried | None] | None:
    ends: list[Carried | None] = [None] * len(dialled)
    for each in accepted:
        known = sum(one.from_s <= each.from_s + apart_s for one in dialled)
        if not known or ends[known - 1] is not None:
            return None
        ends[known - 1] = each
    return ends


def _compared(history: History, pair: Pair, dialled: Sequence[Carried], accepted: Sequence[Carried]) -> Iterator[str]:
    """What is wrong with the messages of a pair, connection by connection, in both directions."""
    dialer, listener = pair
    others = _connected(history, dialled, accepted)
    if others is None:
        yield f"{listener} used a connection to {dialer} that {dialer} had not made"
        return
    nobody = Carried(0.0)
    there = [(mine.sent, (other or nobody).received) for mine, other in zip(dialled, others, strict=True)]
    back = [((other or nobody).sent, mine.received) for mine, other in zip(dialled, others, strict=True)]
    for source, target, carried in ((dialer, listener, there), (listener, dialer, back)):
        late: Sequence[Record] = ()  # of the connection before: it may be read when the next is in use already
        for number, (sent, received) in enumerate(carried, 1):
            taken = _merged(received, late, sent, history.tolerance_s)
            if taken is None:
                yield (
                    f"connection {number}: {target} received {_listed(received)} of {source}, "
                    f"which had sent {_listed([*late, *sent])}"
                )
                break
            late = sent[len(received) - taken :]


def _merged(received: Sequence[Record], late: Sequence[Record], sent: Sequence[Record], slack_s: float) -> int | None:
    """How many of `late` are in what was received, if that is the first of `late` and of `sent`, each in order."""
    ways = {0}  # how many of `late` so far
    for number, come in enumerate(received):
        ways = {
            taken + step
            for taken in ways
            for step, known, place in ((1, late, taken), (0, sent, number - taken))
            if place < len(known) and _same(known[place], come, slack_s)
        }
    return min(ways, default=None)


def _same(gone: Record, come: Record, slack_s: float) -> bool:
    return (gone.labels["kind"], gone.value) == (come.labels["kind"], come.value) and come.t >= gone.t - slack_s


def _listed(messages: Sequence[Record]) -> str:
    """A few words about messages: the kinds and sizes of the first and the last."""
    if not messages:
        return "nothing"
    ends = [f"{each.labels['kind']} of {each.value:g} bytes at {each.t:g} s" for each in (messages[0], messages[-1])]
    return f"{len(messages)} messages, {ends[0]} to {ends[1]}"


def _summed_otherwise(history: History) -> list[str]:
    """What is reported of a counter is the sum of its records."""
    totals: dict[str, float] = defaultdict(float)
    for records in (*history.nodes.values(), history.own):
        for record in records:
            if METRICS[record.metric].kind == "counter" and record.meter is None:
                totals[record.metric] += record.value
    return [
        f"{metric}: {reported:g} reported, {totals[metric]:g} in the records"
        for metric, reported in history.summary.items()
        if metric in totals
        and reported is not None
        and abs(reported - totals[metric]) > 1e-9 * abs(totals[metric]) + 1e-9
    ]
