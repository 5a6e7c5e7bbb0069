"""TcpRuntime: the seam that an algorithm sees, on real sockets, a real clock and a real processor."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from node_image import checkpoint
from node_image.handshake import Identity
from node_image.inbox import Inbox
from node_image.message import MAX_PAYLOAD_BYTES, pack
from node_image.outbox import Outgoing
from node_image.recorder import Recorder, measured
from node_image.runtime import Body, Cost, Message
from node_image.spec import PORT, NodeSpec
from node_image.transport import Transport

if TYPE_CHECKING:
    from node_image.learner import Learner

T = TypeVar("T")


class TcpRuntime:
    """A NodeRuntime in real time. `listen`, then `start`, and `close` at the end.

    Work runs in one thread of its own, so that connections live on while a node computes; one after another, so that
    no two pieces of work touch the learner at once.
    """

    def __init__(
        self,
        spec: NodeSpec,
        identity: Identity,
        learner: "Learner",
        recorder: Recorder,
        state_dir: Path,
        *,
        port: int = PORT,
        max_payload_bytes: int = MAX_PAYLOAD_BYTES,
    ) -> None:
        self.name = spec.name
        self.index = spec.index
        self.peers = tuple(peer.name for peer in spec.peers)
        self.coordinator = spec.coordinator
        self.rng = np.random.default_rng(spec.seed)
        self.learner = learner
        self._recorder = recorder
        self._state_dir = state_dir
        self._max_payload_bytes = max_payload_bytes
        self._speed = spec.speed
        # None: as fast as the host; 1: as slow as the device; 4: a quarter of that.
        self._slowed_by: float | None = None
        self._start_at: float | None = None
        self._stopped_at: float | None = None
        self._inbox = Inbox()
        self._saving = asyncio.Lock()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compute")
        self._transport = Transport(spec, identity, self._deliver, self.record, port, max_payload_bytes)

    async def listen(self) -> None:
        """Open the port: from here on peers may connect."""
        await self._transport.listen()

    async def start(self, start_at: float | None = None) -> None:
        """Begin the run at an instant of the monotonic clock that all nodes of this host share (None: now).

        An instant in the past is right for a node that starts again during a run.
        """
        self._start_at = time.monotonic() if start_at is None else start_at
        await asyncio.sleep(self._start_at - time.monotonic())
        self._transport.dial()

    def stop_clock(self) -> None:
        """The run is over: what is recorded from here on bears this instant."""
        self._stopped_at = self.now()

    async def close(self) -> None:
        """Drop all connections. Work under way is left to end by itself."""
        await self._transport.close()
        self._worker.shutdown(wait=False, cancel_futures=True)

    def now(self) -> float:
        """Seconds since the run began; 0 before it."""
        if self._stopped_at is not None:
            return self._stopped_at
        return 0.0 if self._start_at is None else max(0.0, time.monotonic() - self._start_at)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def send(self, dest: str, kind: str, body: Body) -> None:
        """Hand a message to the transport; the body is copied, the peer not waited for."""
        self._transport.send(dest, Outgoing(kind, pack(kind, body, self._max_payload_bytes)))

    async def receive(self, within: float | None = None) -> Message | None:
        """The next message from any peer, tensors read-only; None when none came within so many seconds."""
        return await self._inbox.get(within)

    def slow_down(self, factor: float | None) -> None:
        """From now on work takes `factor` times what the device's profile says it costs (None: what it takes here)."""
        self._slowed_by = factor

    async def compute(self, work: Callable[[], T], cost: Cost) -> T:
        """Run work in the compute thread, and let it take as long as it would on the device.

        The node's CPU share alone would do that on average, in slices of its period; this does it for every piece of
        work. A host that is too slow for the device shows as work that takes longer than it should: the receipt
        compares.
        """

        def paced() -> T:
            began = time.monotonic()
            result = work()
            if self._slowed_by is not None:
                wanted_s = self._slowed_by * self._speed.seconds(cost.macs, cost.ops)
                time.sleep(max(0.0, began + wanted_s - time.monotonic()))
            return result

        return await asyncio.get_running_loop().run_in_executor(self._worker, paced)

    def record(self, metric: str, value: float, **labels: str) -> None:
        """Write down one measured fact."""
        self._recorder.record(measured(self.now(), metric, value, labels))

    async def save(self, state: Body) -> None:
        """Keep a checkpoint; the disk is written in another thread, from a copy taken at once."""
        content = checkpoint.encode(state)
        async with self._saving:
            await asyncio.to_thread(checkpoint.write, self._state_dir, content)

    def restored(self) -> Body | None:
        """The newest good checkpoint of a former life; broken newer ones are told as an event."""
        found = checkpoint.restored(self._state_dir)
        if found.broken:
            self._recorder.event({"event": "checkpoint_broken", "t": self.now(), "files": list(found.broken)})
        return found.state

    def _deliver(self, message: Message) -> None:
        dropped = self._inbox.put(message)
        if dropped:
            self.record("dropped_messages", dropped, reason="inbox_full")
