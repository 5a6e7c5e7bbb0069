"""Probes of the links: real packets between the nodes, before the run, compared with what was asked.

Round-trip time, rate and loss of every directed link, several links at once where their paths do not share one. A
link between two switches is measured through a path of nodes that crosses it, and what is expected is the path's:
delays add, the least rate counts, losses combine as 1 - prod(1 - p).
"""

import asyncio
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

from node_image.probe import UDP_HEADERS
from orchestrator.links.routes import Routes
from orchestrator.links.shape import LinkShape
from orchestrator.plan import DirectedLink, Plan, PlannedNode
from orchestrator.receipt import Check, Receipt
from orchestrator.substrates.base import Substrate

PINGS = 10
PING_BYTES = UDP_HEADERS + 28
TRAIN_BYTES = 1400
LONGEST_TRAIN_S = 1.0
LISTEN_BEFORE_S = 0.05
CLOCK_S = 0.0002  # how evenly a packet that is due leaves the shaper on a busy machine
LOSS_PACKETS = 300
LOSS_BYTES = 100
LOSS_SECONDS = 1.5
RTT_TOLERANCE_S = 0.001
RTT_TOLERANCE = 0.02
RATE_TOLERANCE = 0.05
LOSS_CONFIDENCE = 1e-4  # a right link fails the loss check once in ten thousand
PROBES_AT_ONCE = 64
BPS_AT_ONCE = 200e6  # of trains sent together: more would measure this machine and not the links


@dataclass(frozen=True)
class Path:
    """A way from node to node that crosses the link to be measured."""

    source: PlannedNode
    target: PlannedNode
    there: tuple[DirectedLink, ...]
    back: tuple[DirectedLink, ...]

    @property
    def name(self) -> str:
        """`a>b`, as a direct link would be called."""
        return f"{self.source.name}>{self.target.name}"


def paths_to_probe(plan: Plan) -> list[Path]:
    """A path for every directed link that some pair of nodes uses: the shortest one, first by name."""
    routes = Routes(plan.links)
    nodes = {node.name: node for node in plan.nodes}
    chosen: dict[str, Path] = {}
    for link in plan.links:
        if link.source in nodes and link.target in nodes:
            path = _path(routes, nodes[link.source], nodes[link.target])
            if path is not None and path.there == (link,):
                chosen[link.id] = path
    missing = {link.id for link in plan.links} - set(chosen)
    hubs = [node for node in plan.nodes if node.role == "coordinator"] or list(plan.nodes[:1])
    others = [node for node in plan.nodes if node not in hubs]
    for source, target in [pair for hub in hubs for node in others for pair in ((node, hub), (hub, node))]:
        path = _path(routes, source, target)
        new = missing & {link.id for link in path.there} if path is not None else set()
        if path is not None and new:
            chosen |= dict.fromkeys(new, path)
            missing -= new
    return list({path.name: path for path in chosen.values()}.values())


def _path(routes: Routes, source: PlannedNode, target: PlannedNode) -> Path | None:
    there, back = routes.path(source.name, target.name), routes.path(target.name, source.name)
    return Path(source, target, there, back) if there and back else None


def batches(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Groups of paths that share no link in either direction, so that one's packets never delay another's."""
    waiting = list(paths)
    while waiting:
        used: set[str] = set()
        batch: list[Path] = []
        later: list[Path] = []
        for path in waiting:
            links = {link.id for link in path.there}
            if links & used or len(batch) >= PROBES_AT_ONCE:
                later.append(path)
            else:
                used |= links
                batch.append(path)
        yield batch
        waiting = later


async def probe_links(plan: Plan, substrate: Substrate, receipt: Receipt) -> None:
    """Measure every link of the plan with real packets and compare."""
    for batch in batches(paths_to_probe(plan)):
        pairs = {frozenset((path.source.name, path.target.name)): path for path in batch}
        await _round(list(pairs.values()), substrate, receipt, _ping)
        for together in _within_rate(batch):
            await _round(together, substrate, receipt, _rate)
        await _round(batch, substrate, receipt, _loss)


class Measure(Protocol):
    """One kind of probe: how long it listens, what it sends, what it concludes."""

    def seconds(self, path: Path) -> float:
        """How long the far end listens."""

    async def run(self, path: Path, substrate: Substrate) -> dict[str, Any]:
        """Send; returns the sender's answer."""

    def compare(self, path: Path, answer: dict[str, Any], heard: dict[str, Any] | None) -> Iterator[Check]:
        """Checks from the sender's answer and from what the far end heard."""


def _within_rate(batch: list[Path]) -> Iterator[list[Path]]:
    """Parts of a batch whose rates together are what this machine can measure at once (one path at least)."""
    part: list[Path] = []
    total_bps = 0.0
    for path in batch:
        rate = least_rate_bps(path) or 0.0
        if part and total_bps + rate > BPS_AT_ONCE:
            yield part
            part, total_bps = [], 0.0
        part.append(path)
        total_bps += rate
    yield part


async def _round(batch: list[Path], substrate: Substrate, receipt: Receipt, measure: Measure) -> None:
    """Listen at every target, measure all paths at once, and compare what the listeners heard."""
    seconds = max(measure.seconds(path) for path in batch) + LISTEN_BEFORE_S
    targets = {path.target.name: path.target for path in batch}
    command = {"do": "probe", "role": "listen", "seconds": seconds, "within_s": seconds + 30}
    listening = {name: asyncio.ensure_future(substrate.ask(node, command)) for name, node in targets.items()}
    try:
        await asyncio.sleep(LISTEN_BEFORE_S)
        answers = await asyncio.gather(*(measure.run(path, substrate) for path in batch))
        heard = {name: await listener for name, listener in listening.items()}
    finally:  # where the run is interrupted meanwhile, nobody waits for what they say
        for listener in listening.values():
            listener.cancel()
        await asyncio.gather(*listening.values(), return_exceptions=True)
    for path, answer in zip(batch, answers, strict=True):
        receipt.checks.extend(measure.compare(path, answer, heard[path.target.name].get(str(path.source.spec.index))))


class _Ping:
    """Round-trip time. Without jitter the least of ten counts: everything that disturbs it only adds."""

    def seconds(self, path: Path) -> float:
        return PINGS * 0.02 + min(3.0, 2 * rtt_s(path) + 0.3)

    async def run(self, path: Path, substrate: Substrate) -> dict[str, Any]:
        command = {"do": "probe", "role": "ping", "to": path.target.address, "count": PINGS}
        return await substrate.ask(path.source, command)

    def compare(self, path: Path, answer: dict[str, Any], heard: dict[str, Any] | None) -> Iterator[Check]:
        found = answer["rtt_s"]
        links = (*path.there, *path.back)
        asked = rtt_s(path)
        jitter = math.sqrt(sum(link.shape.jitter_s**2 for link in links))
        tolerance = max(RTT_TOLERANCE_S, RTT_TOLERANCE * asked) + 3 * jitter * 1.25 / math.sqrt(PINGS)
        if any(link.shape.trace for link in links):
            yield Check("rtt_s", path.name, asked, None, None, None, "not compared: the rate follows a trace")
        elif not found:
            yield Check("rtt_s", path.name, asked, None, tolerance, False, "no ping came back")
        else:
            value = median(found) if jitter else min(found)
            yield Check("rtt_s", path.name, asked, value, tolerance, abs(value - asked) <= tolerance)


class _Rate:
    """Rate: the dispersion of a train of packets sent back to back, short enough for every queue on the way."""

    def _count(self, path: Path) -> int:
        rate = least_rate_bps(path)
        if rate is None:
            return 0
        room = min(link.shape.queue_bytes or 1 << 30 for link in path.there)
        return max(8, min(400, int(LONGEST_TRAIN_S * rate / 8 / TRAIN_BYTES), int(0.8 * room / TRAIN_BYTES)))

    def seconds(self, path: Path) -> float:
        rate = least_rate_bps(path)
        return 0.1 if rate is None else self._count(path) * TRAIN_BYTES * 8 / rate + delay_s(path.there) + 0.2

    async def run(self, path: Path, substrate: Substrate) -> dict[str, Any]:
        return await substrate.ask(path.source, _train(path, self._count(path), TRAIN_BYTES, 0.0))

    def compare(self, path: Path, answer: dict[str, Any], heard: dict[str, Any] | None) -> Iterator[Check]:
        asked = least_rate_bps(path)
        if asked is None:
            traced = any(link.shape.trace for link in path.there)
            why = "not compared: the rate follows a trace" if traced else "not compared: no rate is set"
            yield Check("rate_bps", path.name, None, None, None, None, why)
            return
        found = None if heard is None else heard["rate_bps"]
        if found is None:
            yield Check("rate_bps", path.name, asked, None, RATE_TOLERANCE * asked, False, "too few packets arrived")
            return
        half_s = self._count(path) / 2 * TRAIN_BYTES * 8 / asked
        jitter = math.sqrt(sum(link.shape.jitter_s**2 for link in path.there))
        tolerance = asked * (RATE_TOLERANCE + min(1.0, (jitter + CLOCK_S) / half_s))
        yield Check("rate_bps", path.name, asked, found, tolerance, abs(found - asked) <= tolerance)


def _train(path: Path, count: int, size: int, gap_s: float) -> dict[str, Any]:
    return {
        "do": "probe",
        "role": "train",
        "to": path.target.address,
        "count": count,
        "size": size,
        "gap_s": gap_s,
        "within_s": count * max(gap_s, 0.01) + 30,
    }


class _Loss:
    """Loss: paced packets that never fill a queue; compared with the binomial distribution."""

    def _gap_s(self, path: Path) -> float:
        rate = least_rate_bps(path)
        slowest = 0.0 if rate is None else 3 * LOSS_BYTES * 8 / rate
        return max(LOSS_SECONDS / LOSS_PACKETS, slowest)

    def _count(self, path: Path) -> int:
        return max(20, int(LOSS_SECONDS / self._gap_s(path)))

    def seconds(self, path: Path) -> float:
        return self._count(path) * self._gap_s(path) + delay_s(path.there) + 0.5

    async def run(self, path: Path, substrate: Substrate) -> dict[str, Any]:
        return await substrate.ask(path.source, _train(path, self._count(path), LOSS_BYTES, self._gap_s(path)))

    def compare(self, path: Path, answer: dict[str, Any], heard: dict[str, Any] | None) -> Iterator[Check]:
        asked = loss(path.there)
        sent, arrived = int(answer["sent"]), 0 if heard is None else int(heard["packets"])
        if any(link.shape.burst_loss or link.shape.duplicate for link in path.there):
            found = 1 - arrived / sent
            yield Check("loss", path.name, asked, found, None, None, "not compared: bursts need a longer probe")
            return
        low, high = binomial_interval(sent, asked)
        lost = sent - arrived
        yield Check("loss", path.name, asked, lost / sent, (high - low) / 2 / sent, low <= lost <= high)


_ping, _rate, _loss = _Ping(), _Rate(), _Loss()


def rtt_s(path: Path) -> float:
    """Round-trip time of a ping on idle links: delays and serialisation, there and back."""
    links = (*path.there, *path.back)
    serial = sum(PING_BYTES * 8 / link.shape.rate_bps for link in links if link.shape.rate_bps)
    return delay_s(links) + serial


def delay_s(links: Sequence[DirectedLink]) -> float:
    """Delays add."""
    return sum(link.shape.delay_s for link in links)


def least_rate_bps(path: Path) -> float | None:
    """The bottleneck; None where no rate is set or a trace decides."""
    if any(link.shape.trace for link in path.there):
        return None
    rates = [link.shape.rate_bps for link in path.there if link.shape.rate_bps]
    return min(rates) if rates else None


def loss(links: Sequence[DirectedLink]) -> float:
    """Losses combine as 1 - prod(1 - p); corrupted packets are lost to the receiver as well."""
    passed = 1.0
    for link in links:
        passed *= (1 - mean_loss(link.shape)) * (1 - link.shape.corrupt)
    return 1 - passed


def mean_loss(shape: LinkShape) -> float:
    """Loss of one link, bursts included (their stationary mean)."""
    mean = shape.loss
    burst = shape.burst_loss
    if burst is not None and burst.to_bad + burst.to_good > 0:
        bad = burst.to_bad / (burst.to_bad + burst.to_good)
        mean = 1 - (1 - mean) * (1 - (bad * burst.loss_bad + (1 - bad) * burst.loss_good))
    return mean


def binomial_interval(trials: int, p: float) -> tuple[int, int]:
    """Least and greatest number of losses that a right link shows, but for LOSS_CONFIDENCE of all cases."""
    cumulative, low, high = 0.0, trials, trials
    for losses in range(trials + 1):
        cumulative += math.comb(trials, losses) * p**losses * (1 - p) ** (trials - losses)
        if cumulative > LOSS_CONFIDENCE / 2 and low == trials:
            low = losses
        if cumulative >= 1 - LOSS_CONFIDENCE / 2:
            high = losses
            break
    return low, high
