"""Probes: a node measures the path to another with real packets, before the run begins (UDP, port 7001).

Commands (from the orchestrator, over stdin) and their answers:
    {"role": "listen", "seconds": s}                     -> {"<sender index>": {"packets": n, "rate_bps": r or null}}
        echoes pings, and listens to trains
    {"role": "ping", "to": address, "count": n}          -> {"rtt_s": [...]}  one each 20 ms; lost ones are missing
    {"role": "train", "to": address, "count": n, "size": b, "gap_s": g} -> {"sent": n}
        packets of `size` IP bytes; gap 0: back to back

Packets are dated by the kernel as they arrive (SO_TIMESTAMPNS), and an echo says how long it lay in the node: what is
measured is the path, however busy the node is. A rate is the median slope of IP bits over half a train. The kernel's
dates are real time: where the run is slowed (clock.py), what they say is turned into the scenario's.
"""

import asyncio
import socket
import struct
import time
from statistics import median
from typing import Any

from node_image.clock import scenario_seconds
from node_image.spec import NodeSpec

PORT = 7001
UDP_HEADERS = 28  # IPv4 and UDP
PING, ECHO, TRAIN = 1, 2, 3
_HEAD = struct.Struct("!BxHId")  # kind, sender (device index + 1), number, seconds that an echo lay in the node
_TIMESPEC = struct.Struct("=qq")
SO_TIMESTAMPNS = 35  # Linux on every architecture that boards have
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
BUFFER_BYTES = 8 << 20  # a whole train, at either end
LARGEST_DATAGRAM = 65536
PING_GAP_S = 0.02
PING_WAIT_S = 3.0


async def probe(command: dict[str, Any], spec: NodeSpec) -> dict[str, Any]:
    """Carry out one command; see the module's docstring."""
    if command["role"] == "listen":
        return await _listen(spec, float(command["seconds"]))
    to = (str(command["to"]), PORT)
    if command["role"] == "ping":
        return {"rtt_s": await _ping(spec, to, int(command["count"]))}
    return {"sent": await _train(spec, to, int(command["count"]), int(command["size"]), float(command["gap_s"]))}


async def _listen(spec: NodeSpec, seconds: float) -> dict[str, Any]:
    arrived: dict[int, list[tuple[float, int]]] = {}  # by sender: (instant, IP bytes)

    def take(own: socket.socket) -> None:
        for data, at_s, sender_address in _received(own):
            kind, sender, number, _ = _HEAD.unpack_from(data)
            if kind == PING:
                lay_s = time.time() - at_s
                own.sendto(_HEAD.pack(ECHO, sender, number, lay_s) + data[_HEAD.size :], sender_address)
            elif kind == TRAIN:
                arrived.setdefault(sender - 1, []).append((scenario_seconds(at_s), len(data) + UDP_HEADERS))

    with _socket(spec, PORT) as own:
        loop = asyncio.get_running_loop()
        loop.add_reader(own, take, own)
        try:
            await asyncio.sleep(seconds)
        finally:
            loop.remove_reader(own)
    return {str(sender): {"packets": len(found), "rate_bps": rate_bps(found)} for sender, found in arrived.items()}


def rate_bps(arrived: list[tuple[float, int]]) -> float | None:
    """Median slope of bits over half a train's packets; None for fewer than four."""
    half = len(arrived) // 2
    if half < 2:
        return None
    bits = [0.0]
    for _, size_bytes in arrived[1:]:
        bits.append(bits[-1] + size_bytes * 8)
    slopes = [
        (bits[i + half] - bits[i]) / (arrived[i + half][0] - arrived[i][0])
        for i in range(len(arrived) - half)
        if arrived[i + half][0] > arrived[i][0]
    ]
    return median(slopes) if slopes else None


async def _ping(spec: NodeSpec, to: tuple[str, int], count: int) -> list[float]:
    sent: dict[int, float] = {}
    rtts: dict[int, float] = {}

    def take(own: socket.socket) -> None:
        for data, at_s, _ in _received(own):
            kind, _, number, lay_s = _HEAD.unpack_from(data)
            if kind == ECHO and number in sent:
                rtts.setdefault(number, scenario_seconds(at_s - sent[number] - lay_s))

    with _socket(spec, 0) as own:
        loop = asyncio.get_running_loop()
        loop.add_reader(own, take, own)
        try:
            for number in range(count):
                sent[number] = time.time()
                own.sendto(_HEAD.pack(PING, 0, number, 0.0) + bytes(12), to)
                await asyncio.sleep(PING_GAP_S)
            deadline = loop.time() + PING_WAIT_S
            while len(rtts) < count and loop.time() < deadline:
                await asyncio.sleep(0.01)
        finally:
            loop.remove_reader(own)
    return [rtts[number] for number in sorted(rtts)]


async def _train(spec: NodeSpec, to: tuple[str, int], count: int, size: int, gap_s: float) -> int:
    filling = bytes(size - UDP_HEADERS - _HEAD.size)
    loop = asyncio.get_running_loop()
    began = loop.time()
    with _socket(spec, 0) as own:
        for number in range(count):
            own.sendto(_HEAD.pack(TRAIN, spec.index + 1, number, 0.0) + filling, to)
            if gap_s > 0:
                await asyncio.sleep(max(0.0, began + (number + 1) * gap_s - loop.time()))
    return count


def _socket(spec: NodeSpec, port: int) -> socket.socket:
    own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    own.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    for forced, ordinary in ((SO_SNDBUFFORCE, socket.SO_SNDBUF), (SO_RCVBUFFORCE, socket.SO_RCVBUF)):
        try:
            own.setsockopt(socket.SOL_SOCKET, forced, BUFFER_BYTES)
        except PermissionError:  # on a board without root: as much as its limits allow
            own.setsockopt(socket.SOL_SOCKET, ordinary, BUFFER_BYTES)
    own.setblocking(False)
    own.bind((spec.address, port))
    return own


def _received(own: socket.socket) -> list[tuple[bytes, float, Any]]:
    """All packets there are: content, when the kernel got it (s of the real-time clock), sender's address."""
    found: list[tuple[bytes, float, Any]] = []
    while True:
        try:
            data, extra, _, address = own.recvmsg(LARGEST_DATAGRAM, 128)
        except BlockingIOError:
            return found
        at_s = time.time()
        for level, kind, content in extra:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(content) >= _TIMESPEC.size:
                seconds, nanoseconds = _TIMESPEC.unpack_from(content)
                at_s = seconds + nanoseconds / 1e9
        if len(data) >= _HEAD.size:
            found.append((data, at_s, address))
