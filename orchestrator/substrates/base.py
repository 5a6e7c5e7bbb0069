"""Substrate: where nodes live. Entered: the network is up. Left: everything is gone, whatever happened.

A fault asks for abilities (`can`), never for a substrate's name. Every lever returns only after the effect has been
read back, and returns what it read: that is the fault's evidence.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from orchestrator.links.shape import LinkShape
from orchestrator.plan import DirectedLink, Plan, PlannedNode
from orchestrator.receipt import Check


@dataclass(frozen=True)
class NodeLine:
    """A line that a node wrote to its stdout: a record, or an event of its life ({"event": ...})."""

    node: str
    line: str


@dataclass(frozen=True)
class NodeExit:
    """A node's process ended. `returncode` negative: killed by that signal. `asked`: we stopped or killed it."""

    node: str
    returncode: int
    asked: bool
    last_words: str  # the last lines of its stderr


@dataclass(frozen=True)
class LinkCount:
    """Counters of a directed link since the network came up (IP bytes, headers included)."""

    offered_packets: int
    offered_bytes: int
    delivered_packets: int
    delivered_bytes: int
    dropped: dict[str, int]  # packets by reason: loss, burst_loss, queue, down, partition, corrupt, no_route


@dataclass(frozen=True)
class NodeUse:
    """What a node has used since it was started first: restarts add up."""

    cpu_s: float  # on the host's core; 0.0 where unknown
    busy_s: float  # the same on the device's clock: cpu_s / share, or the time charged by the cost model
    throttled_s: float
    memory_bytes: int
    share: float | None  # CPU share asked of the host (None: no limit)


class Substrate(Protocol):
    """The levers that a run and its faults pull."""

    can: frozenset[str]  # kill restart pause cpu shape block ask: preflight compares it with what the faults need

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exc: object) -> None: ...

    def now(self) -> float:
        """Seconds since the run began, on the clock that the nodes have."""

    async def sleep_until(self, t: float) -> None:
        """Wait until `now()` is t."""

    async def start(self, node: PlannedNode) -> None:
        """Start (or start again) a node; returns when it is ready. Once the run has begun it also begins at once."""

    async def begin(self) -> None:
        """The run begins: `now()` is 0 and every node that was started sets to work."""

    async def ask(self, node: PlannedNode, command: dict[str, Any]) -> dict[str, Any]:
        """Send a ready node a command and wait for its answer (probes of the links, before the run begins)."""

    async def stop(self, node: PlannedNode) -> None:
        """End a node gracefully; kill after a deadline."""

    async def kill(self, node: PlannedNode) -> str:
        """Kill -9 of all its processes; the evidence is the wait status."""

    async def pause(self, node: PlannedNode) -> str:
        """Freeze it."""

    async def resume(self, node: PlannedNode) -> str:
        """Thaw it; the evidence says how much CPU it used while frozen."""

    async def slow(self, node: PlannedNode, factor: float) -> str:
        """Give it `factor` (0-1] of its ordinary speed; 1 heals."""

    async def shape(self, link: DirectedLink, shape: LinkShape, *, up: bool = True) -> str:
        """Change a link's shape, or take it down (`up=False`): no packet under way is lost by the change itself."""

    async def block(self, pairs: frozenset[tuple[str, str]]) -> str:
        """From now on exactly these (source node, target node) pairs hear nothing; an empty set heals."""

    async def uses(self) -> dict[str, NodeUse]:
        """What every node has used so far."""

    async def links(self) -> dict[str, LinkCount]:
        """Counters of every directed link, by id."""

    async def traffic(self) -> dict[str, list[tuple[int, int, int]]]:
        """Per node: (index of a 0.1 s bin since the run began, bytes sent, bytes received), bins with traffic only."""

    def output(self) -> AsyncIterator[NodeLine | NodeExit]:
        """What the nodes say, as it comes; ends when all have ended for good."""

    async def collect(self, node: PlannedNode, into: Path) -> None:
        """Bring what the node left (stderr, checkpoint) into the run directory."""

    def facts(self) -> dict[str, Any]:
        """How this substrate made things true (shaper, kernel, CPU shares): goes into environment.json."""

    async def fidelity(self) -> list[Check]:
        """What it watched during the run (the shaper's lateness, waiting for the CPU): goes into receipt.json."""


class Build(Protocol):
    """Makes a substrate for a plan; refuses with MachineCannotError before anything is created."""

    def __call__(self, plan: Plan, workdir: Path) -> Substrate:
        """Build it; nothing is created before the substrate is entered."""
