"""NodeRuntime: the seam that an algorithm sees. The same coroutines run over TCP and in virtual time.

An algorithm imports no networking, no files and no clock: all of the world comes through this interface.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from node_image.spec import Limits

if TYPE_CHECKING:
    from node_image.learner import Learner

Array = NDArray[np.generic]
Body = Mapping[str, int | float | str | bool | Array]
T = TypeVar("T")


@dataclass(frozen=True)
class Message:
    """What a node received: `payload_bytes` is the size of the encoded frame, header and authentication included."""

    kind: str
    sender: str
    body: Body
    payload_bytes: int


@dataclass(frozen=True)
class Cost:
    """Work in units that no machine changes: multiply-accumulates, and tensor operations (each has a fixed price)."""

    macs: float
    ops: float


class NodeRuntime(Protocol):
    """All that an algorithm may know of the world."""

    name: str
    index: int  # of a device, from 0; the coordinator has -1
    peers: tuple[str, ...]
    coordinator: str | None
    rng: np.random.Generator
    learner: "Learner"
    limits: Limits
    charge: float | None  # share of its battery that is left (0-1), as it was last told; None: it is on mains

    def position_m(self) -> tuple[float, float] | None:
        """Where the node is now, x and y; None where the topology has no places."""

    def now(self) -> float:
        """Seconds since the run began, by the node's own clock, which may be set wrong; virtual in simulation."""

    def elapsed(self) -> float:
        """The same by a timer that nobody sets: for how long something took."""

    async def sleep(self, seconds: float) -> None:
        """Wait. Local work (`compute`) does not go on meanwhile unless it is another task."""

    async def send(self, dest: str, kind: str, body: Body) -> None:
        """Hand a message to the transport and return; it is delivered in order, once, or not at all.

        Never waits for the peer: a peer that cannot be reached gets its messages late (after reconnecting) or, when
        the bounded outbox is full, loses the oldest, which is counted.
        """

    async def receive(self, within: float | None = None) -> Message | None:
        """The next message from any peer; None when none came within so many seconds (None: wait for ever)."""

    async def compute(self, work: Callable[[], T], cost: Cost) -> T:
        """Run work. Real: measured, and slowed by the CPU share. Simulated: run, and `cost` charged to the clock."""

    def record(self, metric: str, value: float, **labels: str) -> None:
        """Write down one measured fact; `metric` is a name of `records.METRICS`."""

    async def save(self, state: Body) -> None:
        """Keep a checkpoint that survives a crash of this node (written, synced, renamed); the newest replaces all.

        A disk that does not take it is recorded (`failed_saves`), and the node goes on with the one before.
        """

    def restored(self) -> Body | None:
        """The checkpoint left by a former life of this node, or None at the first start."""
