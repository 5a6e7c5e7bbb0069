"""TcpRuntime: the seam that an algorithm sees, on real sockets, a real clock and a real processor.

Its clock is that of the event loop: in a slowed run (clock.py) all times here are the scenario's, but for those of the
compute thread, which are the processor's.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from node_image import checkpoint
from node_image.byzantine import Sender
from node_image.clock import scenario_seconds, slow_down_of_loop
from node_image.disk import Disk
from node_image.handshake import Identity
from node_image.inbox import Inbox
from node_image.message import MAX_PAYLOAD_BYTES, pack
from node_image.outbox import Outgoing
from node_image.own_clock import OwnClock
from node_image.progress import Progress
from node_image.recorder import Recorder, measured
from node_image.runtime import Body, Cost, Message
from node_image.spec import PORT, NodeSpec
from node_image.tls import Tls
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
        tls: Tls | None = None,
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
        self.limits = spec.limits
        self._spec = spec
        self._speed = spec.speed
        # None: as fast as the host; 1: as slow as the device; 4: a quarter of that.
        self._slowed_by: float | None = None
        self._slow_down = 1.0  # real seconds in one of the run's
        self._clock = time.monotonic  # the loop's, once it runs
        self._start_at: float | None = None
        self._stopped_at: float | None = None
        self._inbox = Inbox()
        self.progress = Progress()
        self.sender = Sender(self.record)
        self._is_isolated = False  # another process has the node's address and storage
        self.disk = Disk(self.record)
        self.own_clock = OwnClock()
        self.charge: float | None = None
        self._saving = asyncio.Lock()
        self._writing: asyncio.Task[None] | None = None  # the newest checkpoint, until it is on the disk
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compute")
        self._transport = Transport(spec, identity, self._deliver, self.record, port, max_payload_bytes, tls)

    async def listen(self) -> None:
        """Open the port: from here on peers may connect."""
        await self._transport.listen()

    async def start(self, start_at: float | None = None) -> None:
        """Begin the run at an instant of the monotonic clock that all nodes of this host share (None: now).

        An instant in the past is right for a node that starts again during a run.
        """
        self._slow_down, self._clock = slow_down_of_loop(), asyncio.get_running_loop().time
        self._start_at = self._clock() if start_at is None else scenario_seconds(start_at)
        await asyncio.sleep(self._start_at - self._clock())
        self._transport.dial()

    def stop_clock(self) -> None:
        """The run is over: what is recorded from here on bears this instant."""
        self._stopped_at = self.elapsed()

    async def close(self) -> None:
        """Drop all connections, and finish the checkpoint being written. Other work is left to end by itself."""
        await self._transport.close()
        if self._writing is not None:
            await asyncio.wait({self._writing})
        self._worker.shutdown(wait=False, cancel_futures=True)

    def position_m(self) -> tuple[float, float] | None:
        """See NodeRuntime."""
        return self._spec.position_m(self.elapsed())

    def now(self) -> float:
        """Seconds since the run began, as the node's own clock has it; 0 before it."""
        return self.own_clock.reads(self.elapsed())

    def elapsed(self) -> float:
        """Seconds since the run began, in truth: what records bear; 0 before it."""
        if self._stopped_at is not None:
            return self._stopped_at
        return 0.0 if self._start_at is None else max(0.0, self._clock() - self._start_at)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(self.own_clock.lasts(seconds))

    async def send(self, dest: str, kind: str, body: Body) -> None:
        """Hand a message to the transport; the body is copied, the peer not waited for."""
        passed = self.sender.passed(dest, kind, body)
        self._transport.send(dest, Outgoing(kind, pack(kind, passed, self._max_payload_bytes)))

    async def receive(self, within: float | None = None) -> Message | None:
        """The next message from any peer, tensors read-only; None when none came within so many seconds."""
        message = await self._inbox.get(None if within is None else self.own_clock.lasts(within))
        self.progress.received(message)
        return message

    async def reset(self, peer: str | None = None) -> int:
        """End all connections, or that with one peer, by a reset; returns how many there were."""
        return await self._transport.reset(peer)

    def isolate(self) -> None:
        """Another has its address and its storage from now on: it listens no more, and saves nothing."""
        self._is_isolated = True
        self._transport.stop_listening()

    def connections(self) -> int:
        """How many peers it is connected with."""
        return self._transport.connections

    def cut_records(self, keep: bool) -> None:
        """From now on no record leaves."""
        self._recorder.cut(keep)

    def release_records(self) -> tuple[int, int]:
        """They leave again, those that waited first: how many waited, and how many were lost."""
        return self._recorder.release()

    def slow_down(self, factor: float | None) -> None:
        """From now on work takes `factor` times what the device's profile says it costs (None: what it takes here)."""
        self._slowed_by = factor

    async def compute(self, work: Callable[[], T], cost: Cost) -> T:
        """Run work in the compute thread, and let it take as long as it would on the device.

        The node's CPU share alone would do that on average, in slices of its period; this does it for every piece of
        work. A host that is too slow for the device shows as work that takes longer than it should: the receipt
        compares. In a slowed run all of it takes longer, also what is as fast as the host.
        """

        def paced() -> T:
            began, used_s = time.monotonic(), time.thread_time()
            result = work()
            if self._slowed_by is not None:
                wanted_s = self._slowed_by * self._speed.seconds(cost.macs, cost.ops)
            elif self._slow_down != 1 and (cost.macs or cost.ops) and self._stopped_at is None:
                wanted_s = time.thread_time() - used_s
            else:
                return result
            time.sleep(max(0.0, began + self._slow_down * wanted_s - time.monotonic()))
            return result

        return await asyncio.get_running_loop().run_in_executor(self._worker, paced)

    def record(self, metric: str, value: float, **labels: str) -> None:
        """Write down one measured fact."""
        self.progress.recorded(metric, value)
        self._recorder.record(measured(self.elapsed(), metric, value, labels))

    async def save(self, state: Body) -> None:
        """Keep a checkpoint; the disk is written in another thread, from a copy taken at once."""
        if self._is_isolated:
            return
        content = checkpoint.encode(state)
        async with self._saving:
            self._writing = asyncio.get_running_loop().create_task(self._write(content))
            await asyncio.shield(self._writing)  # an algorithm that is cancelled leaves no half a file behind

    async def _write(self, content: bytes) -> None:
        """Write a checkpoint. One that cannot be written is told, and the node goes on with the one before."""
        began, put = self._clock(), partial(self.disk.put, slow_down=self._slow_down)
        try:
            await asyncio.to_thread(checkpoint.write, self._state_dir, content, put)
        except (OSError, RuntimeError) as error:  # RuntimeError: there was no thread to be had
            self.disk.failed(error)
        else:
            self.disk.saved(len(content), self._clock() - began)

    def restored(self) -> Body | None:
        """The newest good checkpoint of a former life; broken newer ones are told as an event."""
        found = checkpoint.restored(self._state_dir)
        if found.broken:
            self._recorder.event({"event": "checkpoint_broken", "t": self.elapsed(), "files": list(found.broken)})
        return found.state

    def _deliver(self, message: Message) -> None:
        dropped = self._inbox.put(message)
        if dropped:
            self.record("dropped_messages", dropped, reason="inbox_full")
