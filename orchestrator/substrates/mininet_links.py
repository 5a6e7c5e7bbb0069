"""Mininet's own links, shaped by the kernel: every pair of directed links is a veth pair between two namespaces.

    d-1 [lo: 10.77.0.2/32] eb0 <-veth-> eb0 [gw-1, a router] eb3 <-veth-> eb0 [coordinator, lo: 10.77.0.1/32]

All ends are routers: each has its address on `lo`, one host route for every node along the plan's shortest path, and
fixed neighbours, so that no ARP packet is on the wire. So any graph works, rings too, where a bridge would loop. The
sender's device of each direction carries the shape (links/netem.py), and what `tc` says afterwards is compared with
what was asked.

Offered to the runs that ask for `shaper: netem`. What it cannot tell, it does not claim: netem counts what it drops by
chance and what its queue drops in one number, here under the reason `netem`.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from node_image.kernel import inside_network_of, network_of
from orchestrator.command import run
from orchestrator.errors import RunBrokeError
from orchestrator.links import netem
from orchestrator.links.routes import Routes
from orchestrator.links.shape import LinkShape, slowed
from orchestrator.plan import DirectedLink
from orchestrator.receipt import Check
from orchestrator.substrates.base import LinkCount

if TYPE_CHECKING:
    from mininet.net import Mininet

ROUTER_NETWORK = "10.78"
BIN_S = 0.1
SETTINGS = {
    "ipv4/ip_forward": "1",
    "ipv4/conf/all/rp_filter": "0",
    "ipv6/conf/all/disable_ipv6": "1",
    "ipv6/conf/default/disable_ipv6": "1",
}
Commands = Callable[..., tuple[tuple[str, ...], ...]]
Readback = Callable[..., list[str]]


class MininetLinks:
    """The network of a run on Mininet's veth links. `commands` and `readback` are the shaper's.

    `slow_down`: real seconds in one of the run's; the kernel has only the real ones and is told slowed shapes.
    """

    def __init__(
        self, slow_down: float = 1.0, commands: Commands = netem.commands, readback: Readback = netem.readback
    ) -> None:
        self._slow_down = slow_down
        self._commands = commands
        self._readback = readback
        self._pids: dict[str, int] = {}
        self._addresses: dict[str, str] = {}
        self._nodes: tuple[str, ...] = ()
        self._devices: dict[str, str] = {}  # directed link -> device at its source
        self._macs: dict[str, str] = {}  # directed link -> MAC at its far end
        self._shapes: dict[str, tuple[LinkShape, bool]] = {}  # directed link -> what it has now
        self._links: tuple[DirectedLink, ...] = ()
        self._routes = Routes(())
        self._blocked: frozenset[tuple[str, str]] = frozenset()
        self._bins: dict[str, dict[int, tuple[int, int]]] = {}
        self._polling: asyncio.Task[None] | None = None

    def lay(
        self, net: "Mininet", links: tuple[DirectedLink, ...], switches: tuple[str, ...], nodes: Mapping[str, str]
    ) -> None:
        """Make the veth pairs between the hosts of `nodes` (name: address) and a host for every switch."""
        self._links, self._nodes, self._routes = links, tuple(nodes), Routes(links)
        self._addresses = dict(nodes)
        for number, switch in enumerate(switches):
            net.addHost(switch, ip=None)
            self._addresses[switch] = f"{ROUTER_NETWORK}.{number // 250}.{number % 250 + 1}"
        self._pids = {end: net.get(end).shell.pid for end in self._addresses}  # it stays, whatever becomes of the node
        for end in self._addresses:
            self._prepare(end)
        used = dict.fromkeys(self._addresses, 0)
        for number, link in enumerate(links):
            back = f"{link.target}>{link.source}"
            if link.id in self._devices:
                continue
            ends = (link.source, link.target)
            names = [f"eb{used[end]}" for end in ends]
            addresses = [f"02:eb:{number >> 8 & 255:02x}:{number & 255:02x}:00:{side:02x}" for side in (1, 2)]
            net.addLink(
                net.get(ends[0]),
                net.get(ends[1]),
                intfName1=names[0],
                intfName2=names[1],
                addr1=addresses[0],
                addr2=addresses[1],
                params1={"ip": None},
                params2={"ip": None},
            )
            for end in ends:
                used[end] += 1
            self._devices[link.id], self._devices[back] = names[0], names[1]
            self._macs[link.id], self._macs[back] = addresses[1], addresses[0]
        for end in self._addresses:
            self._configure(end)

    async def open(self, log: Path) -> None:
        """Shape every link; raises RunBrokeError with what the kernel said. Writes no log."""
        for link in self._links:
            await self.shape(link, link.shape, True)

    async def attach(self, name: str, pid: int) -> None:
        """Move a node's devices out of its old namespace, which they outlived, and lay them out as they were."""
        for link in self._links:
            if link.source == name:
                self._in(name, ("ip", "link", "set", self._devices[link.id], "netns", str(pid)))
        self._pids[name] = pid
        self._configure(name)
        for source, target in self._blocked:
            if source == name:
                self._in(name, ("ip", "route", "replace", "blackhole", f"{self._addresses[target]}/32"))
        for link in self._links:
            if link.source == name:
                await self.shape(link, *self._shapes[link.id])

    async def epoch(self, monotonic_s: float) -> None:
        """The run begins: traffic is counted in bins from this instant."""
        self._polling = asyncio.create_task(self._poll(monotonic_s), name="traffic of veths")

    async def shape(self, link: DirectedLink, shape: LinkShape, up: bool) -> str:
        """Change one direction and read it back."""
        device = self._devices[link.id]
        self._shapes[link.id] = (shape, up)
        shape = slowed(shape, self._slow_down)
        for argv in self._commands(shape, device, up=up):
            self._in(link.source, argv)
        wrong = self._readback(self._in(link.source, netem.show(device)), shape, up=up)
        if wrong:
            raise RunBrokeError(f"link {link.id}: the kernel has not what was asked: {'; '.join(wrong)}")
        return f"{link.id}: {'up' if up else 'down'}, read back from tc on {device} of {link.source}"

    async def block(self, pairs: frozenset[tuple[str, str]]) -> str:
        """Exactly these pairs hear nothing: a blackhole route at the source."""
        for source, target in self._blocked - pairs:
            self._in(source, ("ip", "route", "replace", *self._route(source, target)))
        for source, target in pairs - self._blocked:
            self._in(source, ("ip", "route", "replace", "blackhole", f"{self._addresses[target]}/32"))
        self._blocked = pairs
        return f"{len(pairs)} pairs blocked by blackhole routes"

    async def counters(self) -> dict[str, LinkCount]:
        """What entered and left each direction, Ethernet headers taken off.

        The kernel does not keep apart what `Link` does: a duplicate counts as a packet, a corrupted one as delivered,
        and the bytes of those that were dropped are in no sum.
        """
        found = {}
        received = {end: self._interface_counters(end) for end in self._addresses}
        for link in self._links:
            text = self._in(link.source, ("tc", "-s", *netem.show(self._devices[link.id])[1:]))
            qdisc: dict[str, Any] = next(iter(json.loads(text or "[]")), {})
            far = received[link.target].get(self._devices[f"{link.target}>{link.source}"], (0, 0, 0, 0))
            packets, size_bytes = far[1], far[0] - netem.ETHERNET_BYTES * far[1]
            dropped, inside = int(qdisc.get("drops", 0)), int(qdisc.get("qlen", 0))
            passed = int(qdisc.get("packets", packets)) + inside
            offered_bytes = int(qdisc.get("bytes", far[0])) + int(qdisc.get("backlog", 0))
            found[link.id] = LinkCount(
                offered_packets=passed + dropped,
                offered_bytes=offered_bytes - netem.ETHERNET_BYTES * passed,
                delivered_packets=packets,
                delivered_bytes=size_bytes,
                dropped={"netem": dropped} if dropped else {},
                in_flight_packets=inside,
                in_flight_bytes=int(qdisc.get("backlog", 0)) - netem.ETHERNET_BYTES * inside,
            )
        return found

    async def traffic(self) -> dict[str, list[tuple[int, int, int]]]:
        """Per node: (0.1 s bin, bytes sent, bytes received), polled from the kernel's counters."""
        return {
            name: [(index, sent, received) for index, (sent, received) in sorted(bins.items())]
            for name, bins in self._bins.items()
        }

    async def fidelity(self) -> list[Check]:
        """The kernel does not say how late it is: what can be known are the probes."""
        return []

    async def close(self) -> None:
        """Stop counting; the devices end with their namespaces."""
        if self._polling is not None:
            self._polling.cancel()
            with suppress(asyncio.CancelledError):
                await self._polling

    def _prepare(self, end: str) -> None:
        """What its kernel does: forwards packets, and speaks no IPv6, or every new device would solicit routers and
        listeners, and the links would carry that too.
        """
        namespace = network_of(self._pids[end])
        try:
            with inside_network_of(namespace):
                for name, value in SETTINGS.items():
                    file = Path("/proc/sys/net") / name
                    if file.exists():  # a kernel without IPv6 has no settings of it
                        file.write_text(value)
        finally:
            os.close(namespace)

    def _configure(self, end: str) -> None:
        """Address, neighbours and routes of one end."""
        self._in(end, ("ip", "link", "set", "lo", "up"))
        self._in(end, ("ip", "address", "add", f"{self._addresses[end]}/32", "dev", "lo"))
        for link in self._links:
            if link.source == end:
                far, device = self._addresses[link.target], self._devices[link.id]
                self._in(end, ("ip", "link", "set", device, "up"))
                self._in(
                    end,
                    ("ip", "neigh", "replace", far, "lladdr", self._macs[link.id], "dev", device, "nud", "permanent"),
                )
        for target in self._nodes:
            if target != end and self._routes.path(end, target):
                self._in(end, ("ip", "route", "replace", *self._route(end, target)))

    def _route(self, source: str, target: str) -> tuple[str, ...]:
        path = self._routes.path(source, target)
        if not path:
            raise RunBrokeError(f"there is no way from {source} to {target}")
        via, device = self._addresses[path[0].target], self._devices[path[0].id]
        to = f"{self._addresses[target]}/32"
        return (to, "via", via, "dev", device, "onlink", "src", self._addresses[source])

    def _in(self, end: str, argv: tuple[str, ...]) -> str:
        """Run a command in the namespace of an end; its output, or RunBrokeError."""
        ran = run(("nsenter", f"--net=/proc/{self._pids[end]}/ns/net", *argv))
        if ran.returncode != 0:
            raise RunBrokeError(f"{end}: {' '.join(argv)} ended with {ran.returncode}: {ran.output}")
        return ran.output

    def _interface_counters(self, end: str) -> dict[str, tuple[int, int, int, int]]:
        """By device: bytes and packets received, bytes and packets sent."""
        found = {}
        for line in Path(f"/proc/{self._pids[end]}/net/dev").read_text().splitlines()[2:]:
            device, _, numbers = line.partition(":")
            fields = [int(number) for number in numbers.split()]
            found[device.strip()] = (fields[0], fields[1], fields[8], fields[9])
        return found

    async def _poll(self, epoch_s: float) -> None:
        was = {name: self._totals(name) for name in self._nodes}
        index, bin_s = 0, BIN_S * self._slow_down
        while True:
            await asyncio.sleep(epoch_s + (index + 1) * bin_s - time.monotonic())
            index = max(index, int((time.monotonic() - epoch_s) / bin_s) - 1)
            for name in self._nodes:
                now = self._totals(name)
                if now != was[name]:
                    bins = self._bins.setdefault(name, {})
                    bins[index] = (now[0] - was[name][0], now[1] - was[name][1])
                    was[name] = now
            index += 1

    def _totals(self, name: str) -> tuple[int, int]:
        """IP bytes that a node has sent and received on all its links."""
        counters = [value for device, value in self._interface_counters(name).items() if device != "lo"]
        sent = sum(value[2] - netem.ETHERNET_BYTES * value[3] for value in counters)
        received = sum(value[0] - netem.ETHERNET_BYTES * value[1] for value in counters)
        return sent, received
