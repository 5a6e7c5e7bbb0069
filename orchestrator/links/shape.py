"""What a directed link does to packets: the one description that every shaper makes true."""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class BurstLoss:
    """Gilbert-Elliott loss: a two-state chain stepped once a packet (Hasslinger & Hohlfeld, MMB 2008).

    `to_bad` (p) and `to_good` (r) are transition probabilities; `loss_good` (1-k) and `loss_bad` (1-h) the loss
    probability in each state. Mean loss is p/(p+r)*loss_bad + r/(p+r)*loss_good; a bad spell lasts 1/r packets.
    """

    to_bad: float
    to_good: float
    loss_good: float = 0.0
    loss_bad: float = 1.0


@dataclass(frozen=True)
class TraceRef:
    """A packet-delivery or rate trace on disk; `sha256` is that of the file, so a changed trace is noticed."""

    path: str
    sha256: str
    format: Literal["mahimahi", "csv"]


@dataclass(frozen=True)
class LinkShape:
    """One direction of a link. Rates count IP packets (header included); every probability is per packet, 0-1."""

    rate_bps: float | None = None  # None: no serialisation time
    delay_s: float = 0.0  # one way, propagation alone
    jitter_s: float = 0.0  # standard deviation added to the delay (never below zero in total)
    jitter_kind: Literal["normal", "pareto"] = "normal"
    loss: float = 0.0
    burst_loss: BurstLoss | None = None
    reorder: float = 0.0  # share of packets that skip the propagation delay and so overtake
    duplicate: float = 0.0
    corrupt: float = 0.0  # share of packets with one bit flipped
    queue_bytes: int | None = None  # tail drop above this backlog; None: unbounded
    trace: TraceRef | None = None  # replaces rate_bps: when bytes may leave


def slowed(shape: LinkShape, slow_down: float) -> LinkShape:
    """The shape in real time of a link whose run is so many times slower: for a shaper that has only the real clock.

    Bytes and probabilities are no times, and stay. A trace would have to be stretched itself: ValueError.
    """
    if shape.trace is not None and slow_down != 1:
        raise ValueError("a shape that follows a trace cannot be slowed")
    rate_bps = None if shape.rate_bps is None else shape.rate_bps / slow_down
    delay_s, jitter_s = shape.delay_s * slow_down, shape.jitter_s * slow_down
    return replace(shape, rate_bps=rate_bps, delay_s=delay_s, jitter_s=jitter_s)
