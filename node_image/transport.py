"""Transport: one connection to every peer, made again for as long as the node lives.

Of each pair one side dials (NodeSpec.dials), so that two connections never meet half-way. Messages wait in the peer's
outbox while there is no connection. The newest connection of a peer replaces an older one, whose end may not have been
noticed yet; but a peer's earlier process is refused, whoever dialled, once a later one has been heard.
"""

import asyncio
import random
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from node_image.connection import READ_LIMIT_BYTES, Connection, tune
from node_image.handshake import DEADLINE_S, KIND, Identity, RefusedError
from node_image.message import Reject
from node_image.opening import answered, greeted
from node_image.outbox import Outbox, Outgoing
from node_image.runtime import Message
from node_image.spec import NodeSpec, Peer
from node_image.tls import Tls, reason

CONNECT_S = 2.0
MAX_HALF_OPEN = 4  # handshakes under way from one address
BACKOFF_FIRST_S, BACKOFF_MOST_S = 0.05, 1.0
STABLE_S = 1.0  # a connection that lasted so long starts the back-off anew
RTT_EVERY_S = 5.0
CANCEL_AGAIN_S = 0.05
TCP_CONGESTION = 13  # Linux; socket.TCP_CONGESTION where Python was built with it
CONGESTION_CONTROL = b"cubic"


class Channel:
    """One peer through all its connections: what waits for it, and the connection of now."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.outbox = Outbox()
        self.connection: Connection | None = None
        self.life = 0  # the latest process of the peer that we have spoken to


class Transport:
    """Delivers messages and records what it carried, gave up or refused.

    `deliver` takes each message that came, in order for each peer; `record` is the runtime's; `tls` says with
    whom to speak in TLS (None: with nobody).
    """

    def __init__(
        self,
        spec: NodeSpec,
        identity: Identity,
        deliver: Callable[[Message], None],
        record: Callable[..., None],
        port: int,
        max_payload_bytes: int,
        tls: Tls | None = None,
    ) -> None:
        self._spec = spec
        self._tls = tls
        self._identity = identity
        self._deliver = deliver
        self._record = record
        self._port = port
        self._max_payload_bytes = max_payload_bytes
        self._channels = {peer.name: Channel(peer) for peer in spec.peers}
        self._half_open: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._chance = random.Random(f"{spec.seed} back-off")

    async def listen(self) -> None:
        """Open the port; raises OSError where the address is not ours or taken."""
        self._server = await asyncio.start_server(
            lambda reader, writer: self._spawn(self._accept(reader, writer)),
            sock=_tcp_socket(self._spec.address, self._port),
            limit=READ_LIMIT_BYTES,
        )

    def dial(self) -> None:
        """Begin to connect to every peer that is ours to dial, and to watch round-trip times."""
        for channel in self._channels.values():
            if self._spec.dials(channel.peer.name):
                self._spawn(self._keep_connected(channel))
        self._spawn(self._watch_rtt())

    def send(self, dest: str, outgoing: Outgoing) -> None:
        """Put a frame in the outbox of a peer."""
        if dest not in self._channels:
            raise ValueError(f"{self._spec.name} has no peer {dest!r}; known: {', '.join(self._channels)}")
        dropped = self._channels[dest].outbox.put(outgoing)
        if dropped:
            self._record("dropped_messages", dropped, reason="outbox_full")

    @property
    def connections(self) -> int:
        """How many peers there is a connection with."""
        return sum(channel.connection is not None for channel in self._channels.values())

    def stop_listening(self) -> None:
        """Close the port; connections go on."""
        if self._server is not None:
            self._server.close()

    async def reset(self, peer: str | None = None) -> int:
        """End all connections (or that with one peer) by a reset, and return when it has left; how many there were."""
        mine = [channel for channel in self._channels.values() if peer in (None, channel.peer.name)]
        ended = [channel.connection for channel in mine if channel.connection is not None]
        for connection in ended:
            connection.reset()
        await asyncio.sleep(0)  # the event loop closes what was aborted in its next round
        await asyncio.sleep(0)
        return len(ended)

    async def close(self) -> None:
        """Drop all connections and stop listening; what still waits is counted as dropped."""
        if self._server is not None:
            self._server.close()
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            # Before Python 3.13 a task group that fails just as it is cancelled forgets the latter: it is told again.
            await asyncio.wait(self._tasks, timeout=CANCEL_AGAIN_S)
        waiting = sum(len(channel.outbox) for channel in self._channels.values())
        if waiting:
            self._record("dropped_messages", waiting, reason="stopped")

    async def _keep_connected(self, channel: Channel) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        was_connected = False
        while True:
            connection = await self._connect(channel.peer)
            if connection is not None and self._accepted(channel, connection):
                if was_connected:
                    self._record("reconnects", 1, peer=channel.peer.name)
                was_connected = True
                began = loop.time()
                await self._carry(channel, connection)
                if loop.time() - began >= STABLE_S:
                    failures = 0
            longest_s = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(failures, 10))
            failures += 1
            await asyncio.sleep(longest_s * self._chance.uniform(0.5, 1.0))

    async def _connect(self, peer: Peer) -> Connection | None:
        try:
            own = _tcp_socket(self._spec.address, 0)
        except OSError:
            return None
        try:
            async with asyncio.timeout(CONNECT_S):
                await asyncio.get_running_loop().sock_connect(own, (peer.address, self._port))
                reader, writer = await asyncio.open_connection(sock=own, limit=READ_LIMIT_BYTES)
        except BaseException as error:
            own.close()
            if isinstance(error, OSError):  # a TimeoutError is one
                return None
            raise
        return await self._authenticated(writer, greeted(reader, writer, self._identity, self._tls, peer.name))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = str((writer.get_extra_info("peername") or ["unknown"])[0])
        if self._half_open[address] >= MAX_HALF_OPEN:
            self._record("rejected_frames", 1, reason="hello_half_open")
            writer.transport.abort()
            return
        self._half_open[address] += 1
        try:
            dialers = [each.peer for each in self._channels.values() if not self._spec.dials(each.peer.name)]
            opening = answered(reader, writer, self._identity, self._tls, dialers, address)
            connection = await self._authenticated(writer, opening)
        finally:
            self._half_open[address] -= 1
        if connection is None:
            return
        channel = self._channels[connection.session.peer]
        if self._accepted(channel, connection):
            await self._carry(channel, connection)

    def _accepted(self, channel: Channel, connection: Connection) -> bool:
        """Whether the other end is no earlier process of the peer than we know of; else the connection is closed."""
        if connection.session.life < channel.life:
            self._record("rejected_frames", 1, reason="hello_fenced")
            connection.close()
            return False
        channel.life = connection.session.life
        return True

    async def _authenticated(
        self, writer: asyncio.StreamWriter, opening: Coroutine[Any, Any, Connection]
    ) -> Connection | None:
        """A connection whose other end proved who it is, or None: then it is closed, and counted if it was refused."""
        connection = None
        try:
            async with asyncio.timeout(DEADLINE_S):
                tune(writer)
                connection = await opening
        except RefusedError as refused:
            self._record("rejected_frames", 1, reason=refused.reason)
        except ssl.SSLError as broken:
            self._record("rejected_frames", 1, reason=reason(broken))
        except TimeoutError:
            self._record("rejected_frames", 1, reason="hello_timeout")
        except (OSError, EOFError):
            pass  # it went away; nothing was refused
        finally:
            opening.close()
            if connection is None:
                writer.transport.abort()
        return connection

    async def _carry(self, channel: Channel, connection: Connection) -> None:
        """Both directions until the connection breaks. The newest connection of a peer replaces an older one."""
        if channel.connection is not None:
            channel.connection.close()
        channel.connection = connection
        self._record("sent_payload_bytes", connection.session.sent_bytes, kind=KIND, peer=channel.peer.name)
        self._record("received_payload_bytes", connection.session.received_bytes, kind=KIND, peer=channel.peer.name)
        self._record_tls(channel, connection, "handshake")
        self._record_rtt(channel)
        try:
            async with asyncio.TaskGroup() as directions:
                directions.create_task(self._send_all(channel, connection))
                directions.create_task(self._receive_all(channel, connection))
        except* ssl.SSLError as broken:
            for error in broken.exceptions:
                if isinstance(error, ssl.SSLError):
                    self._record("rejected_frames", 1, reason=reason(error))
        except* (OSError, EOFError):
            pass  # lost, and whoever dials will dial again
        finally:
            connection.close()
            if channel.connection is connection:
                channel.connection = None

    async def _send_all(self, channel: Channel, connection: Connection) -> None:
        while True:
            outgoing = await channel.outbox.get()
            if connection.is_closing():
                channel.outbox.put_back(outgoing)
                raise ConnectionResetError
            self._record("sent_payload_bytes", len(outgoing.frame), kind=outgoing.kind, peer=channel.peer.name)
            handed_over = False
            try:
                await connection.send(outgoing.frame)
                handed_over = True
            finally:
                self._record_tls(channel, connection, "records")
                # Never sent again: the peer may have all of it. What the kernel has and loses stays unknown.
                if not handed_over:
                    self._record("dropped_messages", 1, reason="connection_lost")

    async def _receive_all(self, channel: Channel, connection: Connection) -> None:
        peer = channel.peer.name
        while True:
            parts = await connection.receive(self._max_payload_bytes)
            if isinstance(parts, Reject):
                self._record("rejected_frames", 1, reason=parts.reason)
                raise ConnectionAbortedError
            self._record("received_payload_bytes", parts.frame_bytes, kind=parts.kind, peer=peer)
            self._deliver(Message(parts.kind, peer, parts.body, parts.frame_bytes))

    async def _watch_rtt(self) -> None:
        while True:
            await asyncio.sleep(RTT_EVERY_S)
            for channel in self._channels.values():
                self._record_rtt(channel)

    def _record_tls(self, channel: Channel, connection: Connection, kind: str) -> None:
        added_bytes = connection.tls_bytes()
        if added_bytes:
            self._record("sent_tls_bytes", added_bytes, kind=kind, peer=channel.peer.name)

    def _record_rtt(self, channel: Channel) -> None:
        rtt_s = channel.connection.rtt_s() if channel.connection is not None else None
        if rtt_s is not None:
            self._record("rtt_s", rtt_s, peer=channel.peer.name)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _tcp_socket(address: str, port: int) -> socket.socket:
    """A socket bound to our address, with the congestion control that boards have and the simulation models.

    The host's own may be another: BBR paces small messages even on an idle link. It must be chosen before connecting;
    where it may not be (a container without the right), the host's stays.
    """
    own = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        own.setblocking(False)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            own.setsockopt(socket.IPPROTO_TCP, TCP_CONGESTION, CONGESTION_CONTROL)
        own.bind((address, port))
    except OSError as error:
        own.close()
        raise OSError(error.errno, f"cannot bind {address}:{port}: {error.strerror}") from error
    return own
