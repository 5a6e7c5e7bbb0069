"""Pairs of hosts with one link between them, of any shaper, and what can be measured through it. Needs root.

Arrivals are stamped by the kernel when a packet leaves the link, so that a busy measuring process adds nothing.
"""

import asyncio
import os
import socket
import struct
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from node_image.kernel import inside_network_of, network_of
from orchestrator.links.shape import LinkShape
from orchestrator.plan import DirectedLink
from orchestrator.substrates.networks import NETWORKS, Network

PORT = 5000
DATAGRAM_BYTES, UDP_HEADERS = 1472, 28
SEGMENT_BYTES, TCP_HEADERS = 1448, 52  # with timestamps
SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_TIMESTAMPNS = 32, 33, 35
BUFFER_BYTES = 64 << 20  # a message waits here until it is counted
STAMP = struct.Struct("<qq")  # seconds and nanoseconds
NUMBERED = struct.Struct("<qd")  # a datagram's number and when it was sent
PATIENCE_S = 5.0


class Pair:
    """Two hosts and the link from the first to the second; the way back has no shape."""

    def __init__(self, network: Network, link: DirectedLink, namespaces: tuple[int, int], address: str) -> None:
        self.network = network
        self.link = link
        self.shape = link.shape
        self._namespaces = namespaces
        self._to = (address, PORT)
        self._sender = self._socket(0, socket.SOCK_DGRAM)
        self._receiver = self._socket(1, socket.SOCK_DGRAM)
        self._receiver.bind(self._to)
        self._messages = 0

    def _socket(self, side: int, kind: socket.SocketKind) -> socket.socket:
        with inside_network_of(self._namespaces[side]):
            made = socket.socket(socket.AF_INET, kind)
        made.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, BUFFER_BYTES)
        made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        made.settimeout(PATIENCE_S)
        return made

    def close(self) -> None:
        """End the sockets; the hosts are not ours."""
        self._sender.close()
        self._receiver.close()

    def send_message(self, size_bytes: int) -> Callable[[], float | None]:
        """Give a message to the link, as datagrams back to back. Returns what waits for it: seconds until all of it
        had arrived, None where some never did.
        """
        self._messages += 1
        number = self._messages
        sizes = [DATAGRAM_BYTES] * (size_bytes // DATAGRAM_BYTES)
        if size_bytes % DATAGRAM_BYTES:
            sizes.append(size_bytes % DATAGRAM_BYTES)
        began_s = time.time()
        for size in sizes:
            self._sender.sendto(number.to_bytes(4) + bytes(size - 4), self._to)

        def arrived() -> float | None:
            left, last_s = len(sizes), 0.0
            self._receiver.settimeout(PATIENCE_S + expected_s(self.shape, size_bytes))
            while left:
                try:
                    data, at_s = _receive(self._receiver)
                except TimeoutError:
                    return None
                if int.from_bytes(data[:4]) == number:  # not a straggler of one that was given up
                    left, last_s = left - 1, at_s
            return last_s - began_s

        return arrived

    def tcp_message_s(self, size_bytes: int) -> float:
        """Seconds from giving a message to TCP until all of it had arrived; the connection stands and is idle."""
        return self.tcp_arrivals(size_bytes)[-1][1]

    def tcp_arrivals(self, size_bytes: int) -> list[tuple[int, float]]:
        """How many bytes of such a message arrived together, and when, in seconds since it was sent."""
        with self._socket(1, socket.SOCK_STREAM) as listener, self._socket(0, socket.SOCK_STREAM) as sender:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(self._to)
            listener.listen()
            sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sender.connect(self._to)
            receiver, _ = listener.accept()
            with receiver:
                receiver.settimeout(PATIENCE_S + expected_s(self.shape, size_bytes, tcp=True))
                # The last packet of the handshake is off the link before we begin.
                time.sleep(0.02 + expected_s(self.shape, TCP_HEADERS))
                began_s, left, found = time.time(), size_bytes, []
                sender.sendall(bytes(size_bytes))
                while left:
                    data, at_s = _receive(receiver)
                    left -= len(data)
                    found.append((len(data), at_s - began_s))
        return found

    def send_stamped(self, number: int) -> None:
        """Send a small datagram that knows its number and when it was sent."""
        self._sender.sendto(NUMBERED.pack(number, time.time()), self._to)

    def stamped(self, quiet_s: float) -> list[tuple[int, float]]:
        """The numbers and delays of those that have arrived, until none came for so long."""
        numbers = [(*NUMBERED.unpack(data), at_s) for data, at_s in self.arrivals(quiet_s)]
        return [(number, at_s - sent_s) for number, sent_s, at_s in numbers]

    def arrivals(self, quiet_s: float) -> list[tuple[bytes, float]]:
        """Whatever datagrams arrive and when, until none came for so long."""
        found = []
        self._receiver.settimeout(quiet_s)
        while True:
            try:
                found.append(_receive(self._receiver))
            except TimeoutError:
                return found


def _receive(receiver: socket.socket) -> tuple[bytes, float]:
    """What arrived and when, by the kernel's stamp."""
    data, ancillary, _, _ = receiver.recvmsg(1 << 16, socket.CMSG_SPACE(STAMP.size))
    if not data:
        raise ConnectionError("the far end has closed the connection")
    seconds, nanoseconds = STAMP.unpack(ancillary[0][2])
    return data, seconds + nanoseconds / 1e9


def expected_s(shape: LinkShape, size_bytes: int, *, tcp: bool = False) -> float:
    """The closed form: every bit, headers included, at the rate, and once the delay. For TCP it holds while a message
    fits into the first window (ten segments), so that nothing waits for an acknowledgement.
    """
    packet_bytes, headers = (SEGMENT_BYTES, TCP_HEADERS) if tcp else (DATAGRAM_BYTES, UDP_HEADERS)
    packets = -(-size_bytes // packet_bytes)
    serial_s = 0.0 if shape.rate_bps is None else (size_bytes + packets * headers) * 8 / shape.rate_bps
    return serial_s + shape.delay_s


@asynccontextmanager
async def pairs(shaper: str, shapes: Sequence[LinkShape]) -> AsyncIterator[list[Pair]]:
    """A pair for every shape, on Mininet hosts, shaped as in a run; all gone at the end."""
    from mininet.log import setLogLevel
    from mininet.net import Mininet

    setLogLevel("error")
    ends = [(f"a{index}", f"b{index}") for index in range(len(shapes))]
    links = tuple(
        DirectedLink(f"{source}>{target}", source, target, each, seed)
        for seed, ((a, b), shape) in enumerate(zip(ends, shapes, strict=True))
        for source, target, each in ((a, b, shape), (b, a, LinkShape()))
    )
    names = [name for both in ends for name in both]
    addresses = {name: f"10.77.0.{index + 1}" for index, name in enumerate(names)}
    network = NETWORKS[shaper](1.0)
    async with AsyncExitStack() as stack:
        net = Mininet(controller=None, build=False, autoSetMacs=False)
        stack.callback(net.stop)
        namespaces = {name: network_of(net.addHost(name, ip=None).pid) for name in names}
        for namespace in namespaces.values():
            stack.callback(os.close, namespace)
        network.lay(net, links, (), addresses)
        stack.push_async_callback(network.close)
        log = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "fabric.log"
        await network.open(log)
        await network.epoch(time.monotonic())
        made = []
        for (a, b), link in zip(ends, links[::2], strict=True):
            pair = Pair(network, link, (namespaces[a], namespaces[b]), addresses[b])
            stack.callback(pair.close)
            made.append(pair)
        await asyncio.sleep(0.1)
        yield made
