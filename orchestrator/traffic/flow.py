"""A flow of background traffic, as the plan has it, and the packets that it comes to.

What leaves when depends on the flow alone (its seed, its trace): the simulation and the emulation send the same packets
at the same instants of the run. Sizes are those of IP packets, headers included, as rates of links count them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

from orchestrator.traffic.trace import TrafficTrace, load

Kind = Literal["constant", "poisson", "on_off", "trace"]
Packet = tuple[float, int]  # when it leaves (s since the run began), and its size in IP bytes
HEADER_BYTES = 28  # IPv4 and UDP
LEAST_BYTES = HEADER_BYTES + 4  # a packet says of which flow it is
MOST_BYTES = 1500


@dataclass(frozen=True)
class Flow:
    """Packets from one node to another, from `at_s` until `until_s`, of `packet_bytes` each (a trace's at most).

    `rate_bps` is that of a flow while it sends: in the mean (poisson), or in its on times.
    """

    index: int
    source: str
    target: str
    kind: Kind
    packet_bytes: int
    rate_bps: float | None  # None: the trace says what is sent
    burst_s: float | None  # means of the exponential times that an on_off flow sends and is silent
    silence_s: float | None
    at_s: float
    until_s: float
    seed: int
    trace: TrafficTrace | None

    @property
    def mean_bps(self) -> float:
        """What it sends in the long run."""
        if self.trace is not None:
            return self.trace.mean_bps
        rate_bps = self.rate_bps or 0.0
        if self.burst_s is None or self.silence_s is None:
            return rate_bps
        return rate_bps * self.burst_s / (self.burst_s + self.silence_s)

    def __str__(self) -> str:
        return f"{self.source}>{self.target}"


def packets(flow: Flow) -> Iterator[Packet]:
    """Every packet of a flow, in order of time."""
    drawn = {"constant": _constant, "poisson": _poisson, "on_off": _on_off, "trace": _trace}[flow.kind](flow)
    for at_s, size_bytes in drawn:
        if at_s >= flow.until_s:
            return
        yield at_s, size_bytes


def _gap_s(flow: Flow) -> float:
    assert flow.rate_bps, "the form asks for it"
    return flow.packet_bytes * 8 / flow.rate_bps


def _constant(flow: Flow) -> Iterator[Packet]:
    """One packet after the other, evenly; the first within one gap, so that like flows do not march in step."""
    gap_s = _gap_s(flow)
    first_s = flow.at_s + gap_s * Random(flow.seed).random()
    number = 0
    while True:
        yield first_s + number * gap_s, flow.packet_bytes
        number += 1


def _poisson(flow: Flow) -> Iterator[Packet]:
    """Exponential gaps: each packet comes whether or not others just did."""
    rng, per_s, at_s = Random(flow.seed), 1 / _gap_s(flow), flow.at_s
    while True:
        at_s += rng.expovariate(per_s)
        yield at_s, flow.packet_bytes


def _on_off(flow: Flow) -> Iterator[Packet]:
    """Times of sending, evenly, and times of silence by turns, both exponential.

    It begins in either, as likely as it is there in the long run, so that short runs have the same mean as long ones.
    """
    assert flow.burst_s and flow.silence_s, "the form asks for them"
    rng, gap_s, at_s = Random(flow.seed), _gap_s(flow), flow.at_s
    if rng.random() >= flow.burst_s / (flow.burst_s + flow.silence_s):
        at_s += rng.expovariate(1 / flow.silence_s)
    while True:
        ends_s = at_s + rng.expovariate(1 / flow.burst_s)
        at_s += gap_s * rng.random()
        while at_s < ends_s:
            yield at_s, flow.packet_bytes
            at_s += gap_s
        at_s = ends_s + rng.expovariate(1 / flow.silence_s)


def _trace(flow: Flow) -> Iterator[Packet]:
    """What the trace says, once: a row larger than a packet leaves as several at one instant."""
    assert flow.trace is not None, "the form asks for it"
    for at_s, left_bytes in load(flow.trace):
        while left_bytes > 0:
            size_bytes = min(flow.packet_bytes, left_bytes)
            left_bytes -= size_bytes
            yield flow.at_s + at_s, max(LEAST_BYTES, size_bytes)
