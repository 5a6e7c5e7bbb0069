"""Probes: a node measures the path to another with real packets, before the run begins (UDP, port 7001).

Commands (from the orchestrator, over stdin) and their answers:
    {"role": "listen", "seconds": s}                        -> {"<sender index>": {"packets": n, "rate_bps": r or null}}
        echoes pings, and listens to trains; the rate is the median slope of IP bits over half a train, so that a few
        packets that came late do not decide
    {"role": "ping", "to": address, "count": n}             -> {"rtt_s": [...]}  one each 20 ms; lost ones are missing
    {"role": "train", "to": address, "count": n, "size": b, "gap_s": g} -> {"sent": n}
        packets of `size` IP bytes; gap 0: back to back
"""

import asyncio
import struct
import time
from statistics import median
from typing import Any, cast

from node_image.spec import NodeSpec

PORT = 7001
UDP_HEADERS = 28  # IPv4 and UDP
PING, ECHO, TRAIN = 1, 2, 3
_HEAD = struct.Struct("!BxHI")  # kind, sender (device index + 1), number
PING_GAP_S = 0.02
PING_WAIT_S = 3.0


async def probe(command: dict[str, Any], spec: NodeSpec) -> dict[str, Any]:
    """Carry out one command; see the module's docstring."""
    loop = asyncio.get_running_loop()
    role = command["role"]
    if role == "listen":
        transport, listener = await loop.create_datagram_endpoint(_Listener, local_addr=(spec.address, PORT))
        await asyncio.sleep(float(command["seconds"]))
        transport.close()
        return listener.heard()
    transport, sender = await loop.create_datagram_endpoint(_Sender, local_addr=(spec.address, 0))
    try:
        to = (str(command["to"]), PORT)
        if role == "ping":
            return {"rtt_s": await _ping(transport, sender, to, int(command["count"]))}
        return {"sent": await _train(transport, to, spec, command)}
    finally:
        transport.close()


class _Listener(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self._arrived: dict[int, list[tuple[float, int]]] = {}  # by sender: (instant, IP bytes)
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # that of a datagram endpoint always is one

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        now = time.monotonic()
        if len(data) < _HEAD.size or self._transport is None:
            return
        kind, sender, number = _HEAD.unpack_from(data)
        if kind == PING:
            self._transport.sendto(_HEAD.pack(ECHO, sender, number) + data[_HEAD.size :], addr)
        elif kind == TRAIN:
            self._arrived.setdefault(sender - 1, []).append((now, len(data) + UDP_HEADERS))

    def heard(self) -> dict[str, dict[str, float | None]]:
        """What came, by the sender's index."""
        return {
            str(sender): {"packets": len(arrived), "rate_bps": rate_bps(arrived)}
            for sender, arrived in self._arrived.items()
        }


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


class _Sender(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.echoed: dict[int, float] = {}

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        if len(data) >= _HEAD.size:
            kind, _, number = _HEAD.unpack_from(data)
            if kind == ECHO:
                self.echoed.setdefault(number, time.monotonic())


async def _ping(transport: asyncio.DatagramTransport, sender: _Sender, to: tuple[str, int], count: int) -> list[float]:
    sent: dict[int, float] = {}
    for number in range(count):
        sent[number] = time.monotonic()
        transport.sendto(_HEAD.pack(PING, 0, number) + bytes(20), to)
        await asyncio.sleep(PING_GAP_S)
    deadline = time.monotonic() + PING_WAIT_S
    while len(sender.echoed) < count and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    return [sender.echoed[number] - sent[number] for number in sorted(sender.echoed)]


async def _train(
    transport: asyncio.DatagramTransport, to: tuple[str, int], spec: NodeSpec, command: dict[str, Any]
) -> int:
    count, gap_s = int(command["count"]), float(command["gap_s"])
    filling = bytes(int(command["size"]) - UDP_HEADERS - _HEAD.size)
    began = time.monotonic()
    for number in range(count):
        transport.sendto(_HEAD.pack(TRAIN, spec.index + 1, number) + filling, to)
        if gap_s > 0:
            await asyncio.sleep(max(0.0, began + (number + 1) * gap_s - time.monotonic()))
    return count
