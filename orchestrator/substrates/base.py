"""Substrate: where nodes live. Entered: the network is up. Left: everything is gone, whatever happened.

A fault asks for abilities (`can`), never for a substrate's name. Every lever returns only after the effect has been
read back, and returns what it read: that is the fault's evidence.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from node_image.meters import Metering
from node_image.records import Record
from orchestrator.links.shape import LinkShape
from orchestrator.plan import DirectedLink, Plan, PlannedNode
from orchestrator.receipt import Check

Resource = Literal["memory", "pids", "descriptors", "disk"]


@dataclass(frozen=True)
class NodeLine:
    """A line that a node wrote to its stdout: a record, or an event of its life ({"event": ...})."""

    node: str
    line: str


@dataclass(frozen=True)
class NodeExit:
    """A node's process ended. `returncode` negative: killed by that signal. `asked`: we ended it, or a limit did."""

    node: str
    returncode: int
    asked: bool
    last_words: str  # the last lines of its stderr


@dataclass(frozen=True)
class LinkCount:
    """Counters of a directed link since the network came up (IP bytes, headers included).

    Offered is delivered, dropped and in flight together, each counted by itself. Duplicates are in none of them.
    """

    offered_packets: int
    offered_bytes: int
    delivered_packets: int
    delivered_bytes: int
    dropped: dict[str, int]  # packets by reason: loss, burst_loss, queue, down, partition, corrupt, no_route
    dropped_bytes: dict[str, int] | None = None  # the same in bytes; None: the shaper cannot tell
    in_flight_packets: int = 0  # in the queue, or on their way
    in_flight_bytes: int = 0
    duplicated_packets: int = 0
    as_laid: bool | None = None  # it is up, in the shape of the plan; None: the shaper does not tell


@dataclass(frozen=True)
class NodeUse:
    """What a node has used since it was started first: restarts add up."""

    cpu_s: float  # on the host's core; 0.0 where unknown
    busy_s: float  # the same on the device's clock: cpu_s / share, or the time charged by the cost model
    throttled_s: float
    memory_bytes: int
    share: float | None  # CPU share asked of the host (None: no limit)
    slowed_s: float = 0.0  # part of `busy_s` that it would not have needed at its ordinary speed

    @property
    def worked_s(self) -> float:
        """What its work would have taken at its ordinary speed."""
        return self.busy_s - self.slowed_s


class Substrate(Protocol):
    """The levers that a run and its faults pull."""

    # kill restart terminate supersede pause cpu memory pids descriptors disk shape block order ask scrape: preflight
    # compares it with what the faults need
    can: frozenset[str]

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exc: object) -> None: ...

    def now(self) -> float:
        """Seconds since the run began, on the clock that the nodes have."""

    async def sleep_until(self, t: float) -> None:
        """Wait until `now()` is t."""

    async def start(self, node: PlannedNode) -> None:
        """Start (or start again) a node; returns when it is ready. Once the run has begun it also begins at once."""

    async def begin(self, at_s: float = 0.0, first: Callable[[], Awaitable[Any]] | None = None) -> None:
        """The run begins: `now()` is 0 and every node that was started sets to work.

        One that was killed goes on (ability `resume`): `now()` is `at_s`, which it has been since this was called, and
        time goes on from there when `first` has come to its end.
        """

    async def ask(self, node: PlannedNode, command: dict[str, Any]) -> dict[str, Any]:
        """Send a ready node a command and wait for its answer.

        Ability `order`: the orders of faults (node_image.orders). Ability `ask`: probes of the links, too.
        """

    async def stop(self, node: PlannedNode) -> None:
        """End a node gracefully; kill after a deadline."""

    async def kill(self, node: PlannedNode) -> str:
        """Kill -9 of all its processes; the evidence is the wait status."""

    async def terminate(self, node: PlannedNode, grace_s: float) -> str:
        """Tell it to end (SIGTERM), kill it if it lives after so many seconds; the evidence: how and when it ended."""

    def runs(self, node: PlannedNode) -> bool:
        """Whether it has a life now: a limit may have been the end of it."""

    async def limit(self, node: PlannedNode, resource: Resource, most: int | None) -> str:
        """Let it have at most so much (0: no more than it has now; None: as before) in this life and in later ones.

        Abilities `memory` (bytes), `pids` (processes and threads), `descriptors` (open files), `disk` (bytes of a
        file). The evidence is the limit as read back, and what it has. Where that is its end, it is asked for.
        """

    async def tear(self, node: PlannedNode) -> str:
        """Of a node that is down: leave half of its newest checkpoint. Ability `disk`."""

    async def supersede(self, node: PlannedNode, after_s: float) -> str:
        """Freeze its process and, so long after, start another in its place. Ability `supersede`.

        For the run the life of the first ends as it freezes: what it says later is told by `end_superseded`.
        """

    async def release_superseded(self, node: PlannedNode) -> str:
        """Let the first process go on, beside the other."""

    async def end_superseded(self, node: PlannedNode) -> str:
        """Kill the first process; the evidence is what it tried since it went on."""

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

    async def background(self) -> dict[str, tuple[int, int]]:
        """Per node: IP bytes of the plan's background traffic that it has sent and received since the run began."""

    def metered(
        self, record: Callable[[Record], None], ended: Callable[[Metering], None], /
    ) -> AbstractAsyncContextManager[None]:
        """Sample the meters of its own machines, if any of them has one, while the block lasts.

        `ended` is told what came of each. Both are called on the event loop.
        """

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
