"""The network of a Mininet run: one of two, by the shaper that was asked for, behind the same few verbs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from orchestrator.links.delay_line import DelayLine
from orchestrator.links.shape import LinkShape
from orchestrator.plan import DirectedLink
from orchestrator.receipt import Check
from orchestrator.substrates.base import LinkCount
from orchestrator.substrates.mininet_links import MininetLinks

if TYPE_CHECKING:
    from mininet.net import Mininet

LATENESS_TOLERANCE_S = 0.005  # 99th percentile


class Network(Protocol):
    """What the substrate asks of it. `lay` first, then `open`, `close` whatever happens."""

    def lay(
        self, net: "Mininet", links: tuple[DirectedLink, ...], switches: tuple[str, ...], nodes: Mapping[str, str]
    ) -> None:
        """Take the hosts of the nodes (name: address) and make what the links need."""

    async def open(self, log: Path) -> None:
        """Bring the links up in their shapes."""

    async def attach(self, name: str, pid: int) -> None:
        """A node has come back in another namespace, that of this process: give it its devices again."""

    async def epoch(self, monotonic_s: float) -> None:
        """The run begins at this instant."""

    async def shape(self, link: DirectedLink, shape: LinkShape, up: bool) -> str:
        """Change one direction and read it back."""

    async def block(self, pairs: frozenset[tuple[str, str]]) -> str:
        """Exactly these pairs hear nothing."""

    async def counters(self) -> dict[str, LinkCount]:
        """By directed link."""

    async def traffic(self) -> dict[str, list[tuple[int, int, int]]]:
        """By node, in bins of 0.1 s."""

    async def fidelity(self) -> list[Check]:
        """What it watched of itself."""

    async def close(self) -> None:
        """End it."""


class FabricNetwork:
    """Every node on one TUN device, and the fabric that moves packets along the links."""

    def __init__(self, slow_down: float = 1.0) -> None:
        self._line = DelayLine(slow_down)
        self._links: tuple[DirectedLink, ...] = ()
        self._nodes: dict[str, tuple[int, str]] = {}
        self.shape = self._line.shape
        self.block = self._line.block
        self.epoch = self._line.epoch
        self.counters = self._line.counters
        self.traffic = self._line.traffic
        self.close = self._line.close

    def lay(
        self, net: "Mininet", links: tuple[DirectedLink, ...], switches: tuple[str, ...], nodes: Mapping[str, str]
    ) -> None:
        """Remember which namespaces to enter; switches are queues of the fabric, not hosts."""
        self._links = links
        self._nodes = {name: (net.get(name).pid, address) for name, address in nodes.items()}

    async def open(self, log: Path) -> None:
        """Start the fabric."""
        await self._line.open(self._links, self._nodes, log)

    async def attach(self, name: str, pid: int) -> None:
        """Another `eb0` with the same address."""
        self._nodes[name] = (pid, self._nodes[name][1])
        await self._line.attach({name: self._nodes[name]})

    async def fidelity(self) -> list[Check]:
        """How late it delivered, and what it fetched too late."""
        late, missed = await self._line.lateness(), await self._line.missed()
        lost = sum(missed.unread.values()) + missed.refused
        ok = late.p99_s <= LATENESS_TOLERANCE_S
        return [
            Check("lateness_p99_s", "fabric", 0.0, late.p99_s, LATENESS_TOLERANCE_S, ok),
            Check("packets_missed", "fabric", 0.0, float(lost), 0.0, lost == 0, "the fabric fetched them too late"),
        ]


# Each takes how many real seconds one of the run's lasts: all that it is asked and says is in the run's.
NETWORKS: dict[str, Callable[[float], Network]] = {"delay_line": FabricNetwork, "netem": MininetLinks}
