"""The fabric: throughput, added latency, small transfers on slow links, and what many links cost. Needs root.

`python -m bench.fabric`. Beside its figures: a veth pair of the kernel between the same two namespaces, measured in the
same run, or the arithmetic.
"""

import asyncio
import os
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

from bench.figures import Figure, show
from node_image.kernel import inside_network_of
from orchestrator.links.delay_line import DelayLine
from orchestrator.links.shape import LinkShape
from orchestrator.plan import DirectedLink

PORT = 5000
HEADERS = 20 + 32  # IP, and TCP with timestamps
SEGMENT = 1500 - HEADERS
FLOW_S = 3.0
PINGS = 1000
NODE_BPS, DATAGRAM = 0.5e6, 1500 - 28


class Host:
    """A namespace held by a sleeping process; sockets made here belong to it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.holder = subprocess.Popen(("unshare", "--net", "sleep", "600"))
        path = Path(f"/proc/{self.holder.pid}/ns/net")
        while path.stat().st_ino == Path("/proc/self/ns/net").stat().st_ino:
            time.sleep(0.002)
        self.namespace = os.open(path, os.O_RDONLY)

    def socket(self, kind: socket.SocketKind, address: str, port: int = 0) -> socket.socket:
        """A socket in the namespace, bound there."""
        with inside_network_of(self.namespace):
            made = socket.socket(socket.AF_INET, kind)
        made.bind((address, port))
        made.settimeout(30)
        return made

    def close(self) -> None:
        """End the namespace."""
        os.close(self.namespace)
        self.holder.kill()
        self.holder.wait()


@asynccontextmanager
async def fabric(hosts: dict[str, Host], up: LinkShape, down: LinkShape) -> AsyncIterator[DelayLine]:
    """A star of the hosts around a switch, every link up and down of these shapes."""
    ends = [end for name in hosts for end in ((name, "hub", up), ("hub", name, down))]
    links = tuple(DirectedLink(f"{a}>{b}", a, b, shape, seed) for seed, (a, b, shape) in enumerate(ends))
    shaper = DelayLine()
    with tempfile.TemporaryDirectory() as folder:
        try:
            places = {name: (host.holder.pid, host.address) for name, host in hosts.items()}
            await shaper.open(links, places, Path(folder) / "fabric.log")
            await shaper.epoch(time.monotonic())
            yield shaper
        finally:
            await shaper.close()


def connected(source: Host, target: Host, ends: tuple[str, str]) -> tuple[socket.socket, socket.socket]:
    """A TCP connection between these addresses of the two hosts."""
    with target.socket(socket.SOCK_STREAM, ends[1], PORT) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.listen()
        sender = source.socket(socket.SOCK_STREAM, ends[0])
        sender.connect((ends[1], PORT))
        receiver, _ = listener.accept()
    for end in (sender, receiver):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Ours closes first and must not keep the port for a minute.
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        end.settimeout(30)
    return sender, receiver


def goodput_bps(source: Host, target: Host, ends: tuple[str, str]) -> float:
    """Payload of one TCP flow, after its first half second."""
    sender, receiver = connected(source, target, ends)
    stop = threading.Event()

    def send() -> None:
        chunk = bytes(1 << 18)
        while not stop.is_set():
            sender.sendall(chunk)

    def receive(until_s: float) -> int:
        got = 0
        while time.monotonic() < until_s:
            got += receiver.recv_into(buffer)
        return got

    buffer = bytearray(1 << 20)
    thread = threading.Thread(target=send)
    thread.start()
    receive(time.monotonic() + 0.5)
    began = time.monotonic()
    got = receive(began + FLOW_S)
    took_s = time.monotonic() - began
    stop.set()
    while thread.is_alive():
        receiver.recv_into(buffer)
        thread.join(0.001)
    sender.close()
    receiver.close()
    return got * 8 / took_s


def median_rtt_s(source: Host, target: Host, ends: tuple[str, str]) -> float:
    """UDP there and back, 2 ms apart, 56 bytes."""
    with (
        source.socket(socket.SOCK_DGRAM, ends[0]) as ours,
        target.socket(socket.SOCK_DGRAM, ends[1], PORT) as theirs,
    ):
        rtts = []
        for _ in range(PINGS):
            began = time.perf_counter()
            ours.sendto(bytes(28), (ends[1], PORT))
            theirs.sendto(*theirs.recvfrom(2048))
            ours.recv(2048)
            rtts.append(time.perf_counter() - began)
            time.sleep(0.002)
    return median(rtts)


def transfer_s(source: Host, target: Host, ends: tuple[str, str], size: int) -> float:
    """From the first byte given to TCP until the last has arrived, on an open connection."""
    sender, receiver = connected(source, target, ends)
    time.sleep(0.5)  # the handshake's last packet is off the link
    began = time.monotonic()
    sender.sendall(bytes(size))
    left = size
    while left:
        left -= len(receiver.recv(left))
    took_s = time.monotonic() - began
    sender.close()
    receiver.close()
    return took_s


def cpu_s(pid: int) -> float:
    """CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def veth(source: Host, target: Host) -> tuple[str, str]:
    """A veth pair between the two namespaces, gone with them: what the kernel does without a fabric."""
    ends = ("10.99.0.1", "10.99.0.2")
    pids = [str(host.holder.pid) for host in (source, target)]
    pair = ("ip", "link", "add", "eb1", "netns", pids[0], "type", "veth", "peer", "name", "eb1", "netns", pids[1])
    subprocess.run(pair, check=True)
    for pid, address in zip(pids, ends, strict=True):
        inside = ("nsenter", "--target", pid, "--net", "ip")
        subprocess.run((*inside, "addr", "add", f"{address}/24", "dev", "eb1"), check=True)
        subprocess.run((*inside, "link", "set", "eb1", "up"), check=True)
    return ends


async def two_nodes() -> AsyncIterator[Figure]:
    """Throughput, latency and a small transfer over a path of two links."""
    hosts = {"a": Host("10.0.0.1"), "b": Host("10.0.0.2")}
    try:
        a, b = hosts.values()
        bare_ends = veth(a, b)
        ends = (a.address, b.address)
        bare_bps, bare_rtt_s = goodput_bps(a, b, bare_ends), median_rtt_s(a, b, bare_ends)
        for shape, text, goal in ((LinkShape(), "no rate", 1.0), (LinkShape(rate_bps=1e9), "1 Gbit/s", None)):
            async with fabric(hosts, shape, shape) as shaper:
                found_bps = await asyncio.to_thread(goodput_bps, a, b, ends)
                late_s = (await shaper.lateness()).p99_s
            ideal = "" if goal else f"ideal {SEGMENT / 1500:.3g}; "
            beside = f"{ideal}veth with offloads {bare_bps / 1e9:.3g}; lateness p99 {late_s * 1e3:.2g} ms"
            yield Figure(
                f"TCP goodput, two links, 1500-byte packets, {text}", found_bps / 1e9, "Gbit/s", goal, True, beside
            )
        async with fabric(hosts, LinkShape(), LinkShape()):
            rtt_s = await asyncio.to_thread(median_rtt_s, a, b, ends)
        yield Figure(
            "added median RTT, links without delay",
            (rtt_s - bare_rtt_s) * 1e3,
            "ms",
            0.3,
            beside=f"veth {bare_rtt_s * 1e3:.3g} ms",
        )
        delayed = LinkShape(delay_s=0.005)
        async with fabric(hosts, delayed, delayed):
            rtt_s = await asyncio.to_thread(median_rtt_s, a, b, ends)
        yield Figure("added median RTT, four delays of 5 ms", (rtt_s - 0.02 - bare_rtt_s) * 1e3, "ms", 0.3)
        size, rate_bps = 10_000, 1e5
        async with fabric(hosts, LinkShape(rate_bps=rate_bps), LinkShape()):
            found_s = await asyncio.to_thread(transfer_s, a, b, ends, size)
        segments = -(-size // SEGMENT)
        ideal_s = (size + segments * HEADERS) * 8 / rate_bps
        beside = f"{found_s:.4f} s against {ideal_s:.4f} s"
        yield Figure(
            "10 kB on 0.1 Mbit/s, off the arithmetic by", abs(found_s / ideal_s - 1) * 100, "%", 3.0, beside=beside
        )
    finally:
        for host in hosts.values():
            host.close()


async def many_nodes(nodes: int, goal: float | None) -> AsyncIterator[Figure]:
    """Every node sends as fast as its uplink carries, to its neighbour's downlink."""
    hosts = {f"n{index}": Host(f"10.0.1.{index + 1}") for index in range(nodes)}
    shape = LinkShape(rate_bps=NODE_BPS, queue_bytes=30_000)
    try:
        async with fabric(hosts, shape, shape) as shaper:
            members = list(hosts.values())
            sockets = [host.socket(socket.SOCK_DGRAM, host.address, PORT) for host in members]
            stop_s = time.monotonic() + FLOW_S

            def send() -> None:
                gap_s, due_s = 1500 * 8 / NODE_BPS / nodes, time.monotonic()
                index = 0
                while due_s < stop_s:
                    time.sleep(max(0.0, due_s - time.monotonic()))
                    sockets[index].sendto(bytes(DATAGRAM), (members[(index + 1) % nodes].address, PORT))
                    index, due_s = (index + 1) % nodes, due_s + gap_s

            pid = shaper.pid
            assert pid is not None
            before_s, began = cpu_s(pid), time.monotonic()
            await asyncio.to_thread(send)
            share = (cpu_s(pid) - before_s) / (time.monotonic() - began)
            await asyncio.sleep(0.3)
            lateness, counts = await shaper.lateness(), await shaper.counters()
            for each in sockets:
                each.close()
        packets = sum(count.delivered_packets for count in counts.values())
        beside = f"{packets / FLOW_S:.0f} packets a second over all links; lateness p99 {lateness.p99_s * 1e3:.2g} ms"
        yield Figure(
            f"a core's share, {2 * nodes} directed links at 0.5 Mbit/s each", share * 100, "%", goal, beside=beside
        )
    finally:
        for host in hosts.values():
            host.close()


def figures() -> Iterator[Figure]:
    """All of them."""

    async def collect() -> list[Figure]:
        found = [figure async for figure in two_nodes()]
        for nodes, goal in ((50, 25.0), (100, None)):
            found += [figure async for figure in many_nodes(nodes, goal)]
        return found

    yield from asyncio.run(collect())


if __name__ == "__main__":
    for each in figures():
        show(each)
