"""Messages of a run, each send beside its arrival: how long they took, and who sent what to whom. Pure.

A node records a message when it hands it to the transport, its receiver when all of it is there. On one connection
messages arrive in the order in which they were sent, and what is lost is lost at the connection's end; so the sends
and arrivals of a pair are told apart by their connections (each begins with a `hello`) and matched in order.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from analysis.load import Run
from node_image.records import Record

HELLO = "hello"  # the handshake's, recorded once it is over: it says nothing about delays
SENT, RECEIVED = "sent_payload_bytes", "received_payload_bytes"
Pair = tuple[str, str]  # sender, receiver


class Message(NamedTuple):
    """One message; `arrived_s` None where its receiver did not record it, or that cannot be told."""

    sender: str
    receiver: str
    kind: str
    size_bytes: float
    sent_s: float
    arrived_s: float | None


@dataclass(frozen=True)
class Messages:
    """Those of a run, handshakes left out; `unmatched` of them have no known arrival."""

    all: tuple[Message, ...]

    @property
    def arrived(self) -> list[Message]:
        """Those whose arrival is known."""
        return [message for message in self.all if message.arrived_s is not None]

    @property
    def unmatched(self) -> int:
        """How many were lost, were under way at the end, or could not be told from others."""
        return sum(message.arrived_s is None for message in self.all)


def messages(run: Run) -> Messages:
    """All messages that nodes recorded with the peer they went to."""
    sent, received = _by_pair(run, SENT, sender=True), _by_pair(run, RECEIVED, sender=False)
    found: list[Message] = []
    for pair, records in sent.items():
        ours, theirs = _connections(records), _connections(received.get(pair, []))
        if len(ours) != len(theirs):  # a handshake that one side alone saw to its end: no telling which is which
            theirs = [[] for _ in ours]
        for sends, arrivals in zip(ours, theirs, strict=True):
            found += _match(pair, sends, arrivals)
    return Messages(tuple(sorted(found, key=lambda message: message.sent_s)))


def sent_between(runs: Sequence[Run]) -> dict[tuple[str, str, str], float]:
    """Payload bytes by sender, receiver and kind, mean of the runs; a receiver nobody wrote down is `unknown`."""
    sums: dict[tuple[str, str, str], float] = defaultdict(float)
    for run in runs:
        for entry in run.of(SENT):
            labels = entry.record.labels
            sums[entry.node, labels.get("peer", "unknown"), labels.get("kind", "unknown")] += entry.record.value
    return {key: value / len(runs) for key, value in sums.items()}


def _by_pair(run: Run, metric: str, *, sender: bool) -> dict[Pair, list[Record]]:
    found: dict[Pair, list[Record]] = defaultdict(list)
    for entry in run.of(metric):
        peer = entry.record.labels.get("peer")
        if peer is not None:
            found[(entry.node, peer) if sender else (peer, entry.node)].append(entry.record)
    return found


def _connections(records: Iterable[Record]) -> list[list[Record]]:
    """The records of each connection of a pair; none before its first handshake."""
    found: list[list[Record]] = []
    for record in records:
        if record.labels.get("kind") == HELLO:
            found.append([])
        elif found:
            found[-1].append(record)
        else:
            found = [[record]]
    return found


def _match(pair: Pair, sends: Sequence[Record], arrivals: Sequence[Record]) -> Iterable[Message]:
    in_order = True
    for place, sent in enumerate(sends):
        arrival = arrivals[place] if in_order and place < len(arrivals) else None
        kind = sent.labels.get("kind", "unknown")
        if arrival is not None and (arrival.labels.get("kind"), arrival.value) != (kind, sent.value):
            arrival, in_order = None, False  # something else than was sent: nothing after it can be told either
        yield Message(*pair, kind, sent.value, sent.t, None if arrival is None else arrival.t)
