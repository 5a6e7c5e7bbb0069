"""A node's connections to its peers in virtual time: what `node_image.transport` is on real sockets.

The same side dials, with the same deadlines and back-off; three hello frames of the same sizes go over the wire first;
outboxes have the same bounds; the same facts are recorded at the same places.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from node_image.handshake import DEADLINE_S, KIND, NONCE_BYTES, answer_body, hello_body
from node_image.message import frame_bytes
from node_image.outbox import LIMIT_BYTES
from node_image.runtime import Body, Message
from node_image.spec import NodeSpec
from node_image.transport import BACKOFF_FIRST_S, BACKOFF_MOST_S, CONNECT_S, RTT_EVERY_S, STABLE_S
from orchestrator.simulation.connection import End, dial
from orchestrator.simulation.life import Life
from orchestrator.simulation.switchboard import Switchboard

RUN_ID = "0" * 16  # as long as a real one: a hello frame holds it
ANSWER_BYTES = frame_bytes(KIND, answer_body(1, bytes(NONCE_BYTES)))
CONFIRM_BYTES = frame_bytes(KIND, {})


@dataclass(slots=True, eq=False)
class Frame:
    """A message on its way: its size on the wire, what the receiver sees, and whether the sender is done with it."""

    kind: str
    body: Body
    size_bytes: int
    is_made: bool = False
    is_untold: bool = False  # its sender's records are none of the run's


class Channel:
    """One peer through all its connections: what waits for it, and the connection of now."""

    __slots__ = ("_held_bytes", "end", "handing_over", "outbox", "peer")

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.outbox: deque[Frame] = deque()
        self.end: End | None = None
        self.handing_over = False  # the kernel has not taken all of the newest frame yet
        self._held_bytes = 0

    def put(self, frame: Frame) -> int:
        """Append a frame; the number of older ones dropped to make room."""
        self.outbox.append(frame)
        self._held_bytes += frame.size_bytes
        dropped = 0
        while self._held_bytes > LIMIT_BYTES and len(self.outbox) > 2:
            self.take()
            dropped += 1
        return dropped

    def take(self) -> Frame:
        """The oldest frame."""
        frame = self.outbox.popleft()
        self._held_bytes -= frame.size_bytes
        return frame


class Peers:
    """The connections of one life of a node. `deliver` and `record` are its runtime's."""

    def __init__(
        self,
        spec: NodeSpec,
        board: Switchboard,
        life: Life,
        deliver: Callable[[Message], None],
        record: Callable[..., None],
    ) -> None:
        self._name = spec.name
        self._dials = spec.dials
        self._board = board
        self._loop = board.network.loop
        self._life = life
        self._deliver = deliver
        self._record = record
        self._channels = {peer.name: Channel(peer.name) for peer in spec.peers}
        self._ends: dict[End, Callable[[], None]] = {}  # and what follows when one is lost
        self._hear: dict[End, Callable[[object], None]] = {}  # what to do with the next item that comes
        self._unread: dict[Frame, str] = {}  # what has arrived and was not taken in yet, and who sent it
        self._tasks: list[asyncio.Task[None]] = []
        self._chance = Random(f"{spec.seed} back-off")
        self.is_superseded = False  # another life has the node's name: what it says is no word of the run's

    def listen(self) -> None:
        """From here on peers may connect."""
        self._board.listening[self._name] = self

    def dial(self) -> None:
        """Begin to connect to every peer that is ours to dial, and to watch round-trip times."""
        for channel in self._channels.values():
            if self._dials(channel.peer):
                self._spawn(self._keep_connected(channel), f"{self._name} to {channel.peer}")
        self._spawn(self._watch_rtt(), f"round-trip times of {self._name}")

    def send(self, dest: str, kind: str, body: Body, size_bytes: int) -> None:
        """Put a message in the outbox of a peer; it leaves once it is made and there is room on the connection."""
        if dest not in self._channels:
            raise ValueError(f"{self._name} has no peer {dest!r}; known: {', '.join(self._channels)}")
        channel = self._channels[dest]
        frame = Frame(kind, body, size_bytes)
        dropped = channel.put(frame)
        if dropped:
            self._record("dropped_messages", dropped, reason="outbox_full")
        self._life.handle(size_bytes, self._made, (channel, frame))

    def close(self) -> int:
        """Close all connections, as the kernel does for a process that ends; returns how many there were."""
        self.stop_listening()
        for task in self._tasks:
            task.cancel()
        ends = list(self._ends)
        for end in ends:
            end.close()
        for frame, peer in self._unread.items():
            self._board.lost(peer, self._name, frame)
        return len(ends)

    def stop_listening(self) -> None:
        """From here on peers may connect no more."""
        if self._board.listening.get(self._name) is self:
            del self._board.listening[self._name]

    def reset(self, peer: str | None = None) -> int:
        """End connections in use (one peer's alone, if one is given) by a reset; who dials dials again; how many."""
        mine = [channel for channel in self._channels.values() if peer in (None, channel.peer)]
        ends = [channel.end for channel in mine if channel.end is not None]
        for end in ends:
            end.reset()
            self._ends[end]()
        return len(ends)

    @property
    def open(self) -> int:
        """Connections in use."""
        return sum(channel.end is not None for channel in self._channels.values())

    @property
    def waiting(self) -> int:
        """Messages that no connection has taken yet."""
        return sum(len(channel.outbox) for channel in self._channels.values())

    async def _keep_connected(self, channel: Channel) -> None:
        failures = 0
        was_connected = False
        while True:
            lost = asyncio.Event()
            end = await self._connect(channel, lost)
            if end is not None:
                if was_connected:
                    self._record("reconnects", 1, peer=channel.peer)
                was_connected = True
                began_s = self._loop.now
                self._carry(channel, end, _hello_bytes(self._name, channel.peer) + CONFIRM_BYTES, ANSWER_BYTES)
                await lost.wait()
                await self._life.awake()
                if self._loop.now - began_s >= STABLE_S:
                    failures = 0
            longest_s = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(failures, 10))
            failures += 1
            await asyncio.sleep(longest_s * self._chance.uniform(0.5, 1.0))
            await self._life.awake()

    async def _connect(self, channel: Channel, lost: asyncio.Event) -> End | None:
        """Dial and be recognised; None where either fails. `lost` is set when the connection ends."""
        board, peer = self._board, channel.peer
        routes = board.network.route(self._name, peer), board.network.route(peer, self._name)
        rtt_s = None
        with suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_S):
                rtt_s = await dial(board.network, routes, lambda: peer in board.listening)
        await self._life.awake()
        if rtt_s is None:
            return None
        end = board.connect(self._name, peer, rtt_s)
        recognised: asyncio.Future[bool] = self._loop.create_future()

        def decide(verdict: bool) -> None:
            if not recognised.done():
                recognised.set_result(verdict)

        def ended() -> None:
            lost.set()
            decide(False)

        self._hold(end, channel, ended)
        self._hear[end] = lambda _: decide(True)
        end.outgoing.write(_hello_bytes(self._name, peer), None)
        deadline = self._loop.call_later(DEADLINE_S, self._too_late, end)
        await recognised
        deadline.cancel()
        await self._life.awake()
        if not end.is_open:
            return None
        end.outgoing.write(CONFIRM_BYTES, None)
        return end

    def accept(self, end: End, peer: str) -> None:
        """A peer has dialled; before anything else it must prove who it is."""
        channel = self._channels[peer]
        self._hold(end, channel, lambda: None)
        deadline = self._loop.call_later(DEADLINE_S, self._too_late, end)

        def greeted(_: object) -> None:
            if end.is_open:
                self._hear[end] = confirmed
                end.outgoing.write(ANSWER_BYTES, None)

        def confirmed(_: object) -> None:
            deadline.cancel()
            if end.is_open:
                self._carry(channel, end, ANSWER_BYTES, _hello_bytes(peer, self._name) + CONFIRM_BYTES)

        self._hear[end] = greeted

    def _too_late(self, end: End) -> None:
        """The handshake did not end in time."""
        self._life.run(lambda: self._record("rejected_frames", 1, reason="hello_timeout"))
        self._life.run(self._drop, end)

    def _hold(self, end: End, channel: Channel, on_lost: Callable[[], None]) -> None:
        def lost() -> None:
            self._forget(end, channel)
            on_lost()

        self._ends[end] = lost
        end.on_item = lambda item: self._arrived(end, channel.peer, item)
        end.on_lost = lambda: self._life.run(lost)

    def _drop(self, end: End) -> None:
        """Close an end ourselves, with the same consequences as when it is lost."""
        if end in self._ends:
            end.close()
            self._ends[end]()

    def _forget(self, end: End, channel: Channel) -> None:
        self._ends.pop(end, None)
        self._hear.pop(end, None)
        if channel.end is end:
            channel.end = None
            if channel.handing_over:  # never sent again: the peer may have all of it
                channel.handing_over = False
                self._record("dropped_messages", 1, reason="connection_lost")

    def _carry(self, channel: Channel, end: End, sent_bytes: int, received_bytes: int) -> None:
        """Use a connection whose other end is known. The newest one of a peer replaces an older one."""
        if channel.end is not None:
            self._drop(channel.end)
        channel.end = end
        self._hear[end] = lambda item: self._receive(channel, item)
        self._record("sent_payload_bytes", sent_bytes, kind=KIND, peer=channel.peer)
        self._record("received_payload_bytes", received_bytes, kind=KIND, peer=channel.peer)
        self._record_rtt(channel)
        self._send_all(channel)

    def _made(self, what: tuple[Channel, Frame]) -> None:
        channel, frame = what
        frame.is_made = True
        self._send_all(channel)

    def _send_all(self, channel: Channel) -> None:
        """Hand over what waits, as long as the kernel takes it."""
        end = channel.end
        channel.handing_over = False
        while end is not None and end.is_open and channel.outbox and channel.outbox[0].is_made:
            if end.outgoing.is_full:
                break
            frame = channel.take()
            frame.is_untold = self.is_superseded
            self._record("sent_payload_bytes", frame.size_bytes, kind=frame.kind, peer=channel.peer)
            end.outgoing.write(frame.size_bytes, frame)
        if end is not None and end.is_open and end.outgoing.is_full:
            channel.handing_over = True
            end.outgoing.when_room(lambda: self._life.run(self._send_all, channel))

    def _arrived(self, end: End, peer: str, item: object) -> None:
        """The kernel has an item. What it is to the node shows when that reads it: a frozen one does so later."""
        if isinstance(item, Frame):
            self._unread[item] = peer
        self._life.run(self._heard, end, item)

    def _heard(self, end: End, item: object) -> None:
        if end in self._hear:
            self._hear[end](item)

    def _receive(self, channel: Channel, item: object) -> None:
        if isinstance(item, Frame):
            self._life.handle(item.size_bytes, self._take_in, (channel.peer, item))

    def _take_in(self, what: tuple[str, Frame]) -> None:
        peer, frame = what
        del self._unread[frame]
        if self.is_superseded:
            self._board.lost(peer, self._name, frame)  # for the run it is
        self._record("received_payload_bytes", frame.size_bytes, kind=frame.kind, peer=peer)
        self._deliver(Message(frame.kind, peer, frame.body, frame.size_bytes))

    async def _watch_rtt(self) -> None:
        while True:
            await asyncio.sleep(RTT_EVERY_S)
            await self._life.awake()
            for channel in self._channels.values():
                self._record_rtt(channel)

    def _record_rtt(self, channel: Channel) -> None:
        if channel.end is not None:
            self._record("rtt_s", channel.end.rtt_s, peer=channel.peer)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(self._loop.create_task(work, name=name))


@cache
def _hello_bytes(dialer: str, listener: str) -> int:
    """Size of the first frame, which holds both names."""
    return frame_bytes(KIND, hello_body(RUN_ID, dialer, listener, 1, bytes(NONCE_BYTES)))
