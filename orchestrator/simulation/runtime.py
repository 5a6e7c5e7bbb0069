"""SimRuntime: the seam that an algorithm sees, in virtual time. The counterpart of `node_image.tcp.TcpRuntime`."""

import asyncio
from collections.abc import Callable, Mapping
from math import isfinite
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from node_image.message import frame_bytes
from node_image.recorder import measured
from node_image.records import METRICS
from node_image.runtime import Body, Cost, Message
from node_image.spec import NodeSpec
from orchestrator.simulation.inbox import VirtualInbox
from orchestrator.simulation.life import Life
from orchestrator.simulation.peers import Peers
from orchestrator.simulation.switchboard import Switchboard

if TYPE_CHECKING:
    from node_image.learner import Learner

T = TypeVar("T")


class Disk:
    """What outlives a node's crash: its newest checkpoint."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: Body | None = None


class SimRuntime:
    """A NodeRuntime on a virtual clock. `listen`, then `start`, and `close` at the end.

    Work is done at once and then charged to the clock by the node's cost model, one piece after the other. `tell` gets
    every record: t, metric, value, labels.
    """

    def __init__(
        self,
        spec: NodeSpec,
        learner: "Learner",
        board: Switchboard,
        life: Life,
        disk: Disk,
        tell: Callable[[float, str, float, Mapping[str, str]], None],
    ) -> None:
        self.name = spec.name
        self.index = spec.index
        self.peers = tuple(peer.name for peer in spec.peers)
        self.coordinator = spec.coordinator
        self.rng = np.random.default_rng(spec.seed)
        self.learner = learner
        self._speed = spec.speed
        self._board = board
        self._network = board.network
        self._life = life
        self._disk = disk
        self._tell = tell
        self._stopped_at: float | None = None
        self._inbox = VirtualInbox(board.network.loop)
        self._processor = asyncio.Lock()
        self._connections = Peers(spec, board, life, self._deliver, self.record)

    def listen(self) -> None:
        """From here on peers may connect."""
        self._connections.listen()

    def start(self) -> None:
        """The node sets to work: it dials its peers."""
        self._connections.dial()

    def stop_clock(self) -> None:
        """The run is over: what is recorded from here on bears this instant, and computing is not charged."""
        self._stopped_at = self.now()

    def close(self) -> int:
        """Close all connections; returns how many there were."""
        return self._connections.close()

    def count_waiting(self) -> None:
        """Record what still waits to be sent as dropped: the last thing of a node that is stopped."""
        if self._connections.waiting:
            self.record("dropped_messages", self._connections.waiting, reason="stopped")

    def now(self) -> float:
        """Virtual seconds since the run began."""
        if self._stopped_at is not None:
            return self._stopped_at
        return self._network.loop.now - self._network.epoch_s

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
        if self._life.frozen:
            await self._life.awake()

    async def send(self, dest: str, kind: str, body: Body) -> None:
        """Hand a message to the transport; the body is copied, the peer not waited for."""
        self._connections.send(dest, kind, self._copied(body), frame_bytes(kind, body))

    async def receive(self, within: float | None = None) -> Message | None:
        """The next message from any peer, tensors read-only; None when none came within so many seconds."""
        message = await self._inbox.get(within)
        if self._life.frozen:
            await self._life.awake()
        return message

    async def compute(self, work: Callable[[], T], cost: Cost) -> T:
        """Run work at once, and charge the time that the cost model gives it to the clock."""
        async with self._processor:
            if self._life.frozen:
                await self._life.awake()
            result = work()
            if self._stopped_at is None:
                await self._life.charge(self._speed.seconds(cost.macs, cost.ops))
        if self._life.frozen:
            await self._life.awake()
        return result

    def record(self, metric: str, value: float, **labels: str) -> None:
        """Write down one measured fact."""
        if self._life.ended:
            return
        value = float(value)
        if metric not in METRICS or not isfinite(value):
            measured(self.now(), metric, value, labels)  # raises what says why
        self._tell(self.now(), metric, value, labels)

    async def save(self, state: Body) -> None:
        """Keep a checkpoint; writing it takes no time."""
        if not self._life.ended:
            self._disk.state = self._copied(state)

    def restored(self) -> Body | None:
        """The newest checkpoint of a former life."""
        return self._copied(self._disk.state) if self._disk.state is not None else None

    def _deliver(self, message: Message) -> None:
        dropped = self._inbox.put(message)
        if dropped:
            self.record("dropped_messages", dropped, reason="inbox_full")

    def _copied(self, body: Body) -> Body:
        """What a receiver would decode: arrays that nobody can change. Who sends the same to many copies it once."""
        copied = dict(body)
        for name, value in body.items():
            if isinstance(value, np.ndarray):
                original, copy = self._board.newest_copy
                if value is not original or value.shape != copy.shape or value.tobytes() != copy.tobytes():
                    copy = value.copy()
                    copy.flags.writeable = False
                    self._board.newest_copy = value, copy
                copied[name] = copy
        return copied
