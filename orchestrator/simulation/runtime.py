"""SimRuntime: the seam that an algorithm sees, in virtual time. The counterpart of `node_image.tcp.TcpRuntime`."""

import asyncio
import errno
import os
from collections.abc import Callable, Mapping
from math import isfinite
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from node_image.byzantine import Sender
from node_image.disk import Disk
from node_image.message import frame_bytes
from node_image.outage import Outage
from node_image.own_clock import OwnClock
from node_image.progress import Progress
from node_image.recorder import measured
from node_image.records import METRICS
from node_image.runtime import Body, Cost, Message
from node_image.spec import NodeSpec
from orchestrator.simulation.disk import VirtualDisk
from orchestrator.simulation.inbox import VirtualInbox
from orchestrator.simulation.life import Life
from orchestrator.simulation.peers import Peers
from orchestrator.simulation.said import line_of
from orchestrator.simulation.switchboard import Switchboard

if TYPE_CHECKING:
    from node_image.learner import Learner

T = TypeVar("T")


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
        kept: VirtualDisk,
        tell: Callable[[float, str, float, Mapping[str, str]], None],
        event: Callable[[str], None] = lambda _event: None,
    ) -> None:
        self.name = spec.name
        self.index = spec.index
        self.peers = tuple(peer.name for peer in spec.peers)
        self.coordinator = spec.coordinator
        self.rng = np.random.default_rng(spec.seed)
        self.learner = learner
        self.limits = spec.limits
        self._spec = spec
        self._speed = spec.speed
        self._board = board
        self._network = board.network
        self._life = life
        self._kept = kept
        self._tell = tell
        self._event = event
        self._stopped_at: float | None = None
        self._outage: Outage[tuple[float, str, float, Mapping[str, str]]] | None = None
        self._inbox = VirtualInbox(board.network.loop)
        self.progress = Progress()
        self._processor = asyncio.Lock()
        self.sender = Sender(self.record)
        self._is_isolated = False  # another life has the node's address and storage
        self.disk = Disk(self.record)
        self.own_clock = OwnClock()
        self.charge: float | None = None
        self._saving = asyncio.Lock()
        self._writing: asyncio.Task[None] | None = None  # the newest checkpoint, on a slow disk
        self._connections = Peers(spec, board, life, self._deliver, self.record)

    def listen(self) -> None:
        """From here on peers may connect."""
        self._connections.listen()

    def start(self) -> None:
        """The node sets to work: it dials its peers."""
        self._connections.dial()

    def stop_clock(self) -> None:
        """The run is over: what is recorded from here on bears this instant, and computing is not charged."""
        self._stopped_at = self.elapsed()

    def close(self) -> int:
        """Close all connections, and leave the checkpoint being written; returns how many connections there were."""
        if self._writing is not None:
            self._writing.cancel()
        return self._connections.close()

    async def reset(self, peer: str | None = None) -> int:
        """End all connections, or that with one peer, by a reset; returns how many there were."""
        return self._connections.reset(peer)

    def isolate(self) -> None:
        """Another has its address and its storage from now on: it listens no more, and saves nothing."""
        self._is_isolated = True
        self._connections.stop_listening()

    def supersede(self, tell: Callable[[float, str, float, Mapping[str, str]], None]) -> None:
        """Another life has the node's name from now on; `tell` gets what this one records."""
        self._connections.is_superseded = True
        self._tell = tell

    def connections(self) -> int:
        """How many peers it is connected with."""
        return self._connections.open

    def cut_records(self, keep: bool) -> None:
        """From now on no record leaves."""
        self._outage = self._outage or Outage(keep)
        self._outage.keep = keep

    def release_records(self) -> tuple[int, int]:
        """They leave again, those that waited first: how many waited, and how many were lost."""
        outage, self._outage = self._outage, None
        for record in outage.late if outage is not None else ():
            self._tell(*record)
        return (len(outage.late), outage.lost) if outage is not None else (0, 0)

    def count_waiting(self) -> None:
        """Record what still waits to be sent as dropped: the last thing of a node that is stopped."""
        if self._connections.waiting:
            self.record("dropped_messages", self._connections.waiting, reason="stopped")

    def position_m(self) -> tuple[float, float] | None:
        """See NodeRuntime."""
        return self._spec.position_m(self.elapsed())

    def now(self) -> float:
        """Virtual seconds since the run began, as the node's own clock has it."""
        true_s = self.elapsed()
        return true_s if self.own_clock.is_true else self.own_clock.reads(true_s)

    def elapsed(self) -> float:
        """The same in truth: what records bear."""
        if self._stopped_at is not None:
            return self._stopped_at
        return self._network.loop.now - self._network.epoch_s

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds if self.own_clock.is_true else self.own_clock.lasts(seconds))
        if self._life.frozen:
            await self._life.awake()

    async def send(self, dest: str, kind: str, body: Body) -> None:
        """Hand a message to the transport; the body is copied, the peer not waited for."""
        passed = self.sender.passed(dest, kind, body)
        self._connections.send(dest, kind, self._copied(passed), frame_bytes(kind, passed))

    async def receive(self, within: float | None = None) -> Message | None:
        """The next message from any peer, tensors read-only; None when none came within so many seconds."""
        if within is not None and not self.own_clock.is_true:
            within = self.own_clock.lasts(within)
        message = await self._inbox.get(within)
        self.progress.received(message)
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
            measured(self.elapsed(), metric, value, labels)  # raises what says why
        self.progress.recorded(metric, value)
        self.pass_on(self.elapsed(), metric, value, labels)

    def pass_on(self, t: float, metric: str, value: float, labels: Mapping[str, str]) -> None:
        """Let a record leave, if records do."""
        if self._outage is not None:
            self._outage.take((t, metric, value, labels), len(line_of(t, metric, value, labels)))
        else:
            self._tell(t, metric, value, labels)

    async def save(self, state: Body) -> None:
        """Keep a checkpoint; writing it takes no time, but for a disk that a fault has made slow."""
        if self._is_isolated:
            return
        copied = self._copied(state)
        if self.disk.bytes_per_s is None and not self._saving.locked():
            self._keep(copied, _tensor_bytes(copied), 0.0)
            return
        async with self._saving:
            self._writing = self._network.loop.create_task(self._write(copied), name=f"checkpoint of {self.name}")
            await asyncio.shield(self._writing)

    async def _write(self, state: Body) -> None:
        """Write tensors as slowly as the disk is."""
        began_s, left = self._network.loop.now, _tensor_bytes(state)
        while left and (rate := self.disk.bytes_per_s) is not None:
            piece = self.disk.piece(left)
            await asyncio.sleep(piece / rate)
            await self._life.awake()
            left -= piece
        self._keep(state, _tensor_bytes(state), self._network.loop.now - began_s)

    def _keep(self, state: Body, size_bytes: int, took_s: float) -> None:
        if self._life.ended:
            return
        if self._kept.full:
            self.disk.failed(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            return
        self._kept.keep(state)
        self.disk.saved(size_bytes, took_s)

    async def has_saved(self, within_s: float) -> bool:
        """Wait for the checkpoint being written; False if that takes longer."""
        if self._writing is None:
            return True
        done, _ = await asyncio.wait({self._writing}, timeout=within_s)
        return bool(done)

    def restored(self) -> Body | None:
        """The newest good checkpoint of a former life; that a newer one is broken is told as an event."""
        if self._kept.torn:
            self._event("checkpoint_broken")
        return self._copied(self._kept.state) if self._kept.state is not None else None

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


def _tensor_bytes(body: Body) -> int:
    """What a checkpoint weighs but for its header."""
    return sum(value.nbytes for value in body.values() if isinstance(value, np.ndarray))
