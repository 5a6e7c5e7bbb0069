"""One directed link, as arithmetic: packets go in at a time, and out come the times at which they arrive.

    offered -> [down?] -> [loss, burst loss] -> [queue, bounded in bytes] -> serialised one by one, at the rate or
    when the trace lets bytes leave -> propagation: delay and jitter -> arrives (perhaps with a bit flipped)

No clock, no input or output: the fabric feeds it real packets, the simulation whole trains, and both get the same
answers (one file for both, though it is long: they share every rule). What is drawn for the n-th packet depends on the
seed and n alone.

Choices, where more than one reading is possible:
- Packets never overtake each other because of jitter or a delay that was shortened: who would, arrives right behind
  the one before. Only `reorder` overtakes: its packets skip the propagation delay.
- The delay with its jitter is never below 0; jitter larger than the delay therefore raises the mean.
- A duplicate is made behind the queue: it arrives with the original and takes no time of the link.
- A corrupted packet uses the link and arrives, but counts as dropped ("corrupt"): the receiver's checksum rejects it.
- A link that is down refuses new packets; those under way still arrive.
- The packet being sent belongs to the backlog; an idle link takes one packet however short its queue.
"""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import repeat
from math import inf
from random import Random
from typing import NamedTuple

import numpy as np

from orchestrator.links.chance import BurstChance, Chance, Spread
from orchestrator.links.shape import LinkShape
from orchestrator.links.trace import Trace
from orchestrator.substrates.base import LinkCount


@dataclass(frozen=True, slots=True)
class Drop:
    """The packet will not arrive, and why: down, loss, burst_loss, queue."""

    reason: str


class TrainResult(NamedTuple):
    """What becomes of packets that were offered at once. Times of intact packets; inf when none arrives."""

    delivered_packets: int
    delivered_bytes: int
    lost: dict[str, int]  # packets by reason
    first_arrival_s: float
    last_arrival_s: float


# Bytes in the queue or on their way into the link: when their last bit will have left, how many, when they begin to
# leave, tag, copies, the latest arrival before them, and bytes of a packet: fewer than all where a whole train waits as
# one (its last packet may be shorter). A plain tuple: one is made for every packet.
_Waiting = tuple[float, int, float, Hashable, int, float, int]
SMALL_TRAIN = 12  # packets: up to here a loop is faster than arrays
_DOWN, _LOSS, _BURST, _QUEUE = Drop("down"), Drop("loss"), Drop("burst_loss"), Drop("queue")


class Link:
    """One direction of a link. `trace` is the loaded trace of a shape that names one; it begins at `epoch_s`."""

    __slots__ = (
        "_burst", "_corrupt", "_delay_s", "_duplicate", "_epoch_s", "_free_s", "_is_plain", "_jitter_s", "_laid",
        "_last_s", "_loss", "_place", "_queue", "_reorder", "_s_per_byte", "_seed", "_spread", "_streams", "_trace",
        "backlog_bytes", "delivered_bytes", "delivered_packets", "dropped", "dropped_bytes", "duplicated_packets",
        "offered_bytes", "offered_packets", "peak_backlog_bytes", "reordered_packets", "shape", "up",
    )  # fmt: skip

    def __init__(self, shape: LinkShape, seed: int, *, trace: Trace | None = None, epoch_s: float = 0.0) -> None:
        self.up = True
        self.offered_packets = self.offered_bytes = 0
        self.delivered_packets = self.delivered_bytes = 0
        self.duplicated_packets = self.reordered_packets = 0
        self.backlog_bytes = self.peak_backlog_bytes = 0
        self.dropped: dict[str, int] = {}
        self.dropped_bytes: dict[str, int] = {}
        self._seed = seed
        self._epoch_s = epoch_s
        self._streams: dict[str, Random] = {}
        self._queue: deque[_Waiting] = deque()
        self._free_s = -inf  # when the last bit of the last packet has left
        self._last_s = -inf  # the latest arrival of a packet that keeps its place
        self._place = 0.0  # bytes along the trace
        self._loss = self._reorder = self._duplicate = self._corrupt = None  # type: Chance | None
        self._burst: BurstChance | None = None
        self._spread: Spread | None = None
        self._laid = shape
        self._use(shape, trace)

    def _use(self, shape: LinkShape, trace: Trace | None) -> None:
        if (shape.trace is None) != (trace is None):
            raise ValueError("a shape with a trace needs the loaded trace, and no other shape may have one")
        self.shape = shape
        self._trace = trace
        self._s_per_byte = 8.0 / shape.rate_bps if shape.rate_bps is not None else 0.0
        self._delay_s = shape.delay_s
        self._jitter_s = shape.jitter_s
        self._loss = self._chance("loss", self._loss, shape.loss)
        self._reorder = self._chance("reorder", self._reorder, shape.reorder)
        self._duplicate = self._chance("duplicate", self._duplicate, shape.duplicate)
        self._corrupt = self._chance("corrupt", self._corrupt, shape.corrupt)
        if shape.burst_loss is None:
            self._burst = None
        elif self._burst is None or self._burst.model != shape.burst_loss:
            self._burst = BurstChance(shape.burst_loss, self._stream("burst_loss"))
        if shape.jitter_s and (self._spread is None or self._spread.kind != shape.jitter_kind):
            self._spread = Spread(shape.jitter_kind, f"{self._seed}/jitter")
        chancy = shape.loss or shape.burst_loss or shape.reorder or shape.duplicate or shape.corrupt
        self._is_plain = not (chancy or shape.jitter_s or trace)

    def _chance(self, purpose: str, chance: Chance | None, probability: float) -> Chance | None:
        """The chance with this probability; one that is asked for again goes on where it stopped."""
        if chance is None:
            return Chance(probability, self._stream(purpose)) if probability else None
        if chance.probability != probability:
            chance.set(probability)
        return chance

    def _stream(self, purpose: str) -> Random:
        return self._streams.setdefault(purpose, Random(f"{self._seed}/{purpose}"))

    def begin(self, epoch_s: float) -> None:
        """Let the trace begin at this time (the run's beginning). Packets under way keep their times."""
        self._epoch_s = epoch_s
        self._place = 0.0

    def admit(self, size_bytes: int, now_s: float, tag: Hashable = None) -> tuple[float, ...] | Drop:
        """Offer one packet; times must not fall from call to call. Returns when it arrives (twice if duplicated).

        The owner calls `arrive` once when the packet has arrived. `tag` names the packet in `reshape`'s answer.
        """
        self.offered_packets += 1
        self.offered_bytes += size_bytes
        if not self.up:
            return self._drop(_DOWN, size_bytes)
        burst_hit = self._burst is not None and self._burst.hit()
        if self._loss is not None and self._loss.hit():
            return self._drop(_LOSS, size_bytes)
        if burst_hit:
            return self._drop(_BURST, size_bytes)
        if self._s_per_byte or self._trace is not None:
            self._drain(now_s)
            limit = self.shape.queue_bytes
            if limit is not None and self.backlog_bytes and self.backlog_bytes + size_bytes > limit:
                return self._drop(_QUEUE, size_bytes)
        if self._duplicate is not None and self._duplicate.hit():
            self.duplicated_packets += 1
            return (self._pass(size_bytes, now_s, tag, 2),) * 2
        return (self._pass(size_bytes, now_s, tag, 1),)

    def _drain(self, now_s: float) -> None:
        """Take what has left by now out of the backlog."""
        queue = self._queue
        while queue:
            end_s, size_bytes, start_s, _, _, _, packet_bytes = queue[0]
            if end_s <= now_s:
                self.backlog_bytes -= size_bytes
                queue.popleft()
            elif packet_bytes < size_bytes and start_s + packet_bytes * self._s_per_byte <= now_s:
                queue.extendleft(reversed(self._packets(queue.popleft())))
            else:
                return

    def _packets(self, train: _Waiting) -> list[_Waiting]:
        """What waits as one, packet by packet. To be asked before the shape under which it came is changed."""
        end_s, left_bytes, start_s, tag, copies, before_s, packet_bytes = train
        packets = []
        while left_bytes > packet_bytes:
            leaves_s = start_s + packet_bytes * self._s_per_byte
            packets.append((leaves_s, packet_bytes, start_s, tag, copies, before_s, packet_bytes))
            before_s = max(before_s, leaves_s + self._delay_s)
            start_s = leaves_s
            left_bytes -= packet_bytes
        packets.append((end_s, left_bytes, start_s, tag, copies, before_s, left_bytes))
        return packets

    def _pass(self, size_bytes: int, now_s: float, tag: Hashable, copies: int) -> float:
        """Send a packet that is not lost; returns when it arrives."""
        if not self._s_per_byte and self._trace is None:
            return self._propagate(now_s)
        start_s, end_s = self._serialise(size_bytes, now_s)
        self._queue.append((end_s, size_bytes, start_s, tag, copies, self._last_s, size_bytes))
        self.backlog_bytes += size_bytes
        if self.backlog_bytes > self.peak_backlog_bytes:
            self.peak_backlog_bytes = self.backlog_bytes
        return self._propagate(end_s)

    def _serialise(self, size_bytes: float, now_s: float) -> tuple[float, float]:
        """When these bytes begin to leave and when the last bit has left."""
        start_s = self._free_s if self._free_s > now_s else now_s
        if self._trace is None:
            self._free_s = start_s + size_bytes * self._s_per_byte
        else:
            # The place, not the time, says what is left of the present chance: times would round it away.
            self._place = max(self._place, self._trace.place(now_s - self._epoch_s)) + size_bytes
            self._free_s = max(start_s, self._epoch_s + self._trace.reach(self._place))
        return start_s, self._free_s

    def _propagate(self, end_s: float) -> float:
        """When a packet arrives whose last bit left at `end_s`."""
        arrival_s = end_s + self._delay_s
        if self._jitter_s and self._spread is not None:
            arrival_s = max(end_s, arrival_s + self._jitter_s * self._spread.one())
        if self._reorder is not None and self._reorder.hit():
            self.reordered_packets += 1
            return end_s
        if arrival_s < self._last_s:
            return self._last_s
        self._last_s = arrival_s
        return arrival_s

    def _drop(self, drop: Drop, size_bytes: int) -> Drop:
        self._count_dropped(drop.reason, 1, size_bytes)
        return drop

    def _count_dropped(self, reason: str, packets: int, size_bytes: int) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + packets
        self.dropped_bytes[reason] = self.dropped_bytes.get(reason, 0) + size_bytes

    def arrive(self, size_bytes: int) -> bool:
        """Count an arrival. False: a bit was flipped on the way, and the packet counts as dropped ("corrupt")."""
        if self._corrupt is not None and self._corrupt.hit():
            self._count_dropped("corrupt", 1, size_bytes)
            return False
        self.delivered_packets += 1
        self.delivered_bytes += size_bytes
        return True

    def lose(self, size_bytes: int, reason: str, *, copy: bool = False) -> None:
        """Count a packet that had been admitted and must not arrive after all (reason "partition")."""
        if not copy:
            self._count_dropped(reason, 1, size_bytes)

    def take_back(self, packets: int, size_bytes: int, reason: str) -> None:
        """Count packets of a train, which count as arrived, as dropped after all (reason "partition")."""
        self.delivered_packets -= packets
        self.delivered_bytes -= size_bytes
        self._count_dropped(reason, packets, size_bytes)

    def refuse(self, size_bytes: int, reason: str) -> None:
        """Count a packet that was offered but must not enter (reason "partition")."""
        self.offered_packets += 1
        self.offered_bytes += size_bytes
        self._count_dropped(reason, 1, size_bytes)

    def passed(self, packets: int, size_bytes: int) -> None:
        """Count packets that went straight through a link that does nothing to them (`clear_from_s` <= now)."""
        self.offered_packets += packets
        self.offered_bytes += size_bytes
        self.delivered_packets += packets
        self.delivered_bytes += size_bytes

    def clear_from_s(self) -> float:
        """From when on the link does nothing to packets but count them; inf if it always does something."""
        shape = self.shape
        shaped = shape.rate_bps or shape.trace or shape.delay_s or shape.jitter_s
        chancy = shape.loss or shape.burst_loss or shape.duplicate or shape.corrupt
        return inf if shaped or chancy or not self.up else max(self._last_s, self._free_s)

    @property
    def in_flight_packets(self) -> int:
        """Packets admitted that have not arrived."""
        return self.offered_packets - self.delivered_packets - sum(self.dropped.values())

    def count(self) -> LinkCount:
        """The counters so far. What is in flight is for the owner to say, who holds it."""
        return LinkCount(
            self.offered_packets,
            self.offered_bytes,
            self.delivered_packets,
            self.delivered_bytes,
            dict(self.dropped),
            dict(self.dropped_bytes),
            duplicated_packets=self.duplicated_packets,
            as_laid=self.up and self.shape == self._laid,
        )

    def reshape(
        self, shape: LinkShape, now_s: float, *, up: bool = True, trace: Trace | None = None
    ) -> dict[Hashable, tuple[float, ...]]:
        """Change the shape; no packet is lost. Returns the new arrival times of those not yet sent, by tag.

        Packets whose last bit has left keep their time. The rest of the packet being sent, and all behind it, go at the
        new rate and are propagated by the new shape; a queue that is now too long is kept.
        """
        self._drain(now_s)
        waiting = [packet for each in self._queue for packet in self._packets(each)]
        self._queue.clear()
        paced_as_before = (shape.rate_bps, shape.trace) == (self.shape.rate_bps, self.shape.trace)
        if not paced_as_before:
            self._free_s = now_s
            self._place = 0.0
        self._use(shape, trace)
        self.up = up
        retimed: dict[Hashable, tuple[float, ...]] = {}
        if waiting:
            self._last_s = waiting[0][5]
        for end_s, size_bytes, start_s, tag, copies, _, _ in waiting:
            if not paced_as_before:
                share = min(1.0, (end_s - now_s) / (end_s - start_s)) if end_s > start_s else 1.0
                start_s, end_s = self._serialise(share * size_bytes, now_s)
            self._queue.append((end_s, size_bytes, start_s, tag, copies, self._last_s, size_bytes))
            retimed[tag] = (self._propagate(end_s),) * copies
        self._drain(now_s)
        return retimed

    def admit_train(
        self, packets: int, packet_bytes: int, last_bytes: int, now_s: float, tag: Hashable = None
    ) -> TrainResult:
        """Offer packets that come at once: all of `packet_bytes` but the last, of `last_bytes` (which is not more).

        The same packets are lost as when each is offered to `admit`, and they arrive at the same times; all count as
        arrived from now on. After a `reshape`, the time given for `tag` is the new last arrival.
        """
        size_bytes = (packets - 1) * packet_bytes + last_bytes
        self.offered_packets += packets
        self.offered_bytes += size_bytes
        if not self.up:
            return self._ended([], [], {"down": (packets, size_bytes)})
        if self._is_plain and (not self._s_per_byte or self._has_room(size_bytes, now_s)):
            first_s, last_s = self._pass_plainly(packets, packet_bytes, size_bytes, now_s, tag)
            self.delivered_packets += packets
            self.delivered_bytes += size_bytes
            return TrainResult(packets, size_bytes, {}, first_s, last_s)
        lost: dict[str, tuple[int, int]] = {}  # packets and bytes by reason
        burst_hits = self._burst.hits(packets) if self._burst is not None else []
        gone: set[int] = set()
        for reason, hits in (
            ("loss", self._loss.hits(packets) if self._loss is not None else []),
            ("burst_loss", burst_hits),
        ):
            if more := set(hits) - gone:
                short_bytes = (packet_bytes - last_bytes) * (packets - 1 in more)
                lost[reason] = (len(more), len(more) * packet_bytes - short_bytes)
                gone |= more
        last_there = packets - 1 not in gone
        sizes = [packet_bytes] * (packets - len(gone) - last_there) + [last_bytes] * last_there
        if self._s_per_byte or self._trace is not None:
            self._drain(now_s)
            taken = self._fitting(sizes)
            if len(taken) < len(sizes):
                lost["queue"] = (len(sizes) - len(taken), sum(sizes) - sum(taken))
            sizes = taken
        if self._duplicate is not None:
            self.duplicated_packets += len(self._duplicate.hits(len(sizes)))
        if len(sizes) <= SMALL_TRAIN:
            return self._ended(sizes, [self._pass(size, now_s, tag, 1) for size in sizes], lost)
        return self._ended(sizes, self._pass_many(sizes, now_s, tag), lost)

    def _has_room(self, size_bytes: int, now_s: float) -> bool:
        """Whether the queue takes so many bytes. Trains in it are taken apart only where it may matter."""
        queue = self._queue
        while queue and queue[0][0] <= now_s:
            self.backlog_bytes -= queue.popleft()[1]
        limit, most = self.shape.queue_bytes, self.backlog_bytes + size_bytes
        if most > self.peak_backlog_bytes or (limit is not None and most > limit):
            self._drain(now_s)
            most = self.backlog_bytes + size_bytes
        return limit is None or most <= limit

    def _pass_plainly(
        self, packets: int, packet_bytes: int, size_bytes: int, now_s: float, tag: Hashable
    ) -> tuple[float, float]:
        """What `_pass` does with each packet in turn, where the link is plain: the first and the last arrival."""
        first_end_s = end_s = now_s
        before_s = self._last_s
        if self._s_per_byte:
            start_s = self._free_s if self._free_s > now_s else now_s
            end_s = self._free_s = start_s + size_bytes * self._s_per_byte
            first_end_s = start_s + packet_bytes * self._s_per_byte if packets > 1 else end_s
            self._queue.append((end_s, size_bytes, start_s, tag, 1, before_s, packet_bytes))
            self.backlog_bytes += size_bytes
            if self.backlog_bytes > self.peak_backlog_bytes:
                self.peak_backlog_bytes = self.backlog_bytes
        first_s, last_s = first_end_s + self._delay_s, end_s + self._delay_s
        if last_s < before_s:
            return before_s, before_s
        self._last_s = last_s
        return (first_s if first_s > before_s else before_s), last_s

    def _fitting(self, sizes: list[int]) -> list[int]:
        """Those of the packets that the queue takes; a short last one may fit where a full one does not."""
        limit = self.shape.queue_bytes
        backlog = self.backlog_bytes
        if limit is None or backlog + sum(sizes) <= limit:
            return sizes
        taken = []
        for size_bytes in sizes:
            if not backlog or backlog + size_bytes <= limit:
                taken.append(size_bytes)
                backlog += size_bytes
        return taken

    def _pass_many(self, sizes: list[int], now_s: float, tag: Hashable) -> list[float]:
        """What `_pass` does with each in turn, as arrays; returns the arrivals."""
        count = len(sizes)
        paced = bool(self._s_per_byte) or self._trace is not None
        total = np.cumsum(sizes)
        begin_s = max(self._free_s, now_s) if paced else now_s
        if self._trace is not None:
            place = max(self._place, self._trace.place(now_s - self._epoch_s))
            reached = (self._trace.reach(place + float(sent)) for sent in total)
            ends = np.maximum(begin_s, self._epoch_s + np.fromiter(reached, float, count))
            self._place = place + float(total[-1])
        else:
            ends = begin_s + total * self._s_per_byte
        arrivals = ends + self._delay_s
        if self._jitter_s and self._spread is not None:
            arrivals = np.maximum(ends, arrivals + self._jitter_s * self._spread.many(count))
        overtaking = self._reorder.hits(count) if self._reorder is not None else []
        arrivals[overtaking] = -inf
        latest = np.maximum(np.maximum.accumulate(arrivals), self._last_s)
        arrivals = latest.copy()
        arrivals[overtaking] = ends[overtaking]
        self.reordered_packets += len(overtaking)
        if paced:
            self._free_s = float(ends[-1])
            starts = [begin_s, *ends[:-1].tolist()]
            befores = [self._last_s, *latest[:-1].tolist()]
            self._queue.extend(zip(ends.tolist(), sizes, starts, repeat(tag), repeat(1), befores, sizes, strict=False))
            self.backlog_bytes += int(total[-1])
            self.peak_backlog_bytes = max(self.peak_backlog_bytes, self.backlog_bytes)
        self._last_s = float(latest[-1])
        found: list[float] = arrivals.tolist()
        return found

    def _ended(self, sizes: list[int], arrivals: list[float], lost: dict[str, tuple[int, int]]) -> TrainResult:
        """Count a train whose packets arrive at these times."""
        if self._corrupt is not None and (bad := self._corrupt.hits(len(sizes))):
            lost["corrupt"] = (len(bad), sum(sizes[index] for index in bad))
            spoilt = set(bad)
            sizes = [size for index, size in enumerate(sizes) if index not in spoilt]
            arrivals = [arrival for index, arrival in enumerate(arrivals) if index not in spoilt]
        for reason, (packets, size_bytes) in lost.items():
            self._count_dropped(reason, packets, size_bytes)
        gone = {reason: packets for reason, (packets, _) in lost.items()}
        self.delivered_packets += len(sizes)
        self.delivered_bytes += sum(sizes)
        if not sizes:
            return TrainResult(0, 0, gone, inf, inf)
        return TrainResult(len(sizes), sum(sizes), gone, min(arrivals), max(arrivals))
