"""The fabric's ends of nodes: a TUN device in the namespace of a node here, or the tunnel to a node on a board.

Both are a file of which each read is one packet and each write sends one: the hot loop knows no difference. A device
is made from outside by entering the namespace, so a node (or a container) needs no capability and no program for it.
It vanishes when its file is closed: nothing to clean up, whatever happens.
"""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from node_image.kernel import inside_network_of, network_of
from node_image.tun import DEVICE, MTU, make_device

SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
TUNNEL_BUFFER_BYTES = 4 << 20
IP_MTU_DISCOVER, IP_PMTUDISC_DONT = 10, 0  # a packet that a path cannot carry whole is carried in pieces


class End(Protocol):
    """One node as the fabric reads and writes it; non-blocking."""

    @property
    def fd(self) -> int:
        """One packet a read, one packet a write."""

    def missed_packets(self) -> int:
        """Packets of the node that the kernel dropped because the fabric did not fetch them in time."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True)
class Tun:
    """An open device: the fabric's end (non-blocking) and the namespace of the other."""

    fd: int
    namespace: int

    def missed_packets(self) -> int:
        """See End."""
        with inside_network_of(self.namespace):
            text = Path("/proc/thread-self/net/dev").read_text()
        for line in text.splitlines():
            name, _, counters = line.partition(":")
            if name.strip() == DEVICE:
                return int(counters.split()[11])  # the 4th column of transmission: drop
        return 0

    def close(self) -> None:
        """Close both; the device goes with its file."""
        os.close(self.fd)
        os.close(self.namespace)


def open_tun(pid: int, address: str, prefix: int, *, mtu: int = MTU) -> Tun:
    """Make `eb0` with this address in the network namespace of process `pid`, up, loopback too, IPv6 off."""
    namespace = network_of(pid)
    try:
        with inside_network_of(namespace):
            fd = make_device(address, prefix, mtu)
    except BaseException:
        os.close(namespace)
        raise
    return Tun(fd, namespace)


class Tunnel:
    """A UDP socket connected to the agent of a board: one datagram is one packet of the node there."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            for forced, ordinary in ((SO_SNDBUFFORCE, socket.SO_SNDBUF), (SO_RCVBUFFORCE, socket.SO_RCVBUF)):
                try:
                    self._socket.setsockopt(socket.SOL_SOCKET, forced, TUNNEL_BUFFER_BYTES)
                except PermissionError:  # not root: as much as the machine's limits allow
                    self._socket.setsockopt(socket.SOL_SOCKET, ordinary, TUNNEL_BUFFER_BYTES)
            self._socket.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
            self._socket.setblocking(False)
            self._socket.connect((host, port))  # from here on nobody else's datagrams come in
        except BaseException:
            self._socket.close()
            raise

    @property
    def fd(self) -> int:
        """See End."""
        return self._socket.fileno()

    @property
    def local(self) -> tuple[str, int]:
        """Our address and port, as the board must know them."""
        host, port = self._socket.getsockname()
        return str(host), int(port)

    def missed_packets(self) -> int:
        """See End: drops of this socket, as the kernel counts them."""
        wanted = f":{self.local[1]:04X}"
        for line in Path("/proc/self/net/udp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(wanted):
                return int(fields[-1])
        return 0

    def close(self) -> None:
        """See End."""
        self._socket.close()
