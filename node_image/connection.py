"""One authenticated TCP connection: frames out, frames in, numbered in each direction."""

import socket
import struct

from node_image.clock import scenario_seconds, slow_down_of_loop
from node_image.handshake import Session
from node_image.message import MAX_PAYLOAD_BYTES, PREFIX, Parts, Reject, decode_rest, parse_prefix, seal
from node_image.streams import Incoming, Outgoing
from node_image.tls import TlsStream

READ_LIMIT_BYTES = 2**20  # what a stream reader holds before it lets the kernel wait
CHUNK_BYTES = 256 * 2**10
USER_TIMEOUT_S = 5.0
# Rare on purpose: a probe wakes a mobile radio, whose tail then lasts about 10 s (LTE); probes every few seconds would
# keep it awake for ever, and the energy of an idle device would be that of its keepalive. Linux counts probes only
# where no user timeout is set; with one, the first probe that stays unanswered ends the connection.
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT = 30, 5, 3
TCP_INFO_RTT_OFFSET = 68  # tcpi_rtt of struct tcp_info (linux/tcp.h): microseconds, smoothed


class Connection:
    """Both ends know each other. A broken connection raises OSError or EOFError and does not recover."""

    def __init__(self, reader: Incoming, writer: Outgoing, session: Session) -> None:
        self.session = session
        self._reader = reader
        self._writer = writer
        self._sent = 0
        self._received = 0
        writer.transport.set_write_buffer_limits(high=0)  # drain() then means: the kernel has all of it

    async def send(self, frame: bytearray) -> None:
        """Seal a packed frame and hand it to the kernel, piece by piece: no second copy of a large model waits here."""
        seal(frame, self.session.send_key, self._sent)
        self._sent += 1
        with memoryview(frame) as view:
            for start in range(0, len(frame), CHUNK_BYTES):
                self._writer.write(view[start : start + CHUNK_BYTES])
                await self._writer.drain()

    async def receive(self, max_payload_bytes: int = MAX_PAYLOAD_BYTES) -> Parts | Reject:
        """The next message, or why the frame was refused; after a Reject the stream has no meaning any more."""
        prefix = await self._reader.readexactly(PREFIX.size)
        sizes = parse_prefix(prefix, max_payload_bytes)
        if isinstance(sizes, Reject):
            return sizes
        rest = await self._reader.readexactly(sizes.rest_bytes)
        self._received += 1
        return decode_rest(prefix, rest, self.session.receive_key, self._received - 1, max_payload_bytes)

    def tls_bytes(self) -> int:
        """Bytes that TLS added to what was sent, since this was last asked; 0 where it is not spoken."""
        return self._writer.overhead() if isinstance(self._writer, TlsStream) else 0

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._writer.is_closing()

    def rtt_s(self) -> float | None:
        """Round-trip time as TCP sees it, smoothed; None where the system does not tell."""
        try:
            info = self._writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        except (AttributeError, OSError):
            return None
        if len(info) < TCP_INFO_RTT_OFFSET + 4:
            return None
        (rtt_us,) = struct.unpack_from("=I", info, TCP_INFO_RTT_OFFSET)
        return scenario_seconds(rtt_us / 1e6) if rtt_us else None

    def reset(self) -> None:
        """Drop the connection by a reset (RST), as soon as the event loop goes on: nothing more of it leaves."""
        own: socket.socket = self._writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def close(self) -> None:
        """Drop the connection now; what the kernel has not sent yet may still leave."""
        self._writer.transport.abort()


def tune(writer: Outgoing) -> None:
    """No delay for small messages; a peer that vanished without a word is noticed within 5 s busy, and 35 s idle."""
    tcp: socket.socket = writer.get_extra_info("socket")
    slow_down = slow_down_of_loop()  # the kernel counts real seconds
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (  # names that Linux has and some other systems lack
        ("TCP_USER_TIMEOUT", round(USER_TIMEOUT_S * slow_down * 1000)),
        ("TCP_KEEPIDLE", round(KEEPALIVE_IDLE_S * slow_down)),
        ("TCP_KEEPINTVL", round(KEEPALIVE_INTERVAL_S * slow_down)),
        ("TCP_KEEPCNT", KEEPALIVE_COUNT),
    ):
        if hasattr(socket, option):
            tcp.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
