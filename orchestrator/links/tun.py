"""TUN devices: one `eb0` inside the network namespace of each node; the fabric holds the other end.

The device is made from outside by entering the namespace, so a node (or a container) needs no capability and no
program for it. It vanishes when its file is closed: nothing to clean up, whatever happens.
"""

import fcntl
import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from node_image.kernel import inside_network_of, network_of

DEVICE = "eb0"
MTU = 1500
QUEUE_PACKETS = 5000  # what the kernel holds for us while the fabric is elsewhere

IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
IFF_UP, IFF_RUNNING = 0x1, 0x40
TUNSETIFF = 0x400454CA
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
SIOCSIFADDR, SIOCSIFNETMASK = 0x8916, 0x891C
SIOCSIFMTU, SIOCSIFTXQLEN = 0x8922, 0x8943


@dataclass(frozen=True)
class Tun:
    """An open device: the fabric's end (non-blocking) and the namespace of the other."""

    fd: int
    namespace: int

    def missed_packets(self) -> int:
        """Packets of the node that the kernel dropped because the fabric did not fetch them in time."""
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
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.ioctl(fd, TUNSETIFF, _request(DEVICE, struct.pack("H", IFF_TUN | IFF_NO_PI)))
                _configure(address, prefix, mtu)
            except BaseException:
                os.close(fd)
                raise
    except BaseException:
        os.close(namespace)
        raise
    return Tun(fd, namespace)


def _configure(address: str, prefix: int, mtu: int) -> None:
    # Without this the kernel would solicit IPv6 routers, and the counters would show it. No file: no IPv6 at all.
    ipv6 = Path(f"/proc/sys/net/ipv6/conf/{DEVICE}/disable_ipv6")
    if ipv6.exists():
        ipv6.write_text("1")
    mask = (0xFFFFFFFF << (32 - prefix)) & 0xFFFFFFFF
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for name in ("lo", DEVICE):
            if name == DEVICE:
                fcntl.ioctl(control, SIOCSIFMTU, _request(name, struct.pack("i", mtu)))
                fcntl.ioctl(control, SIOCSIFTXQLEN, _request(name, struct.pack("i", QUEUE_PACKETS)))
                fcntl.ioctl(control, SIOCSIFADDR, _request(name, _sockaddr(socket.inet_aton(address))))
                fcntl.ioctl(control, SIOCSIFNETMASK, _request(name, _sockaddr(struct.pack("!I", mask))))
            answer = fcntl.ioctl(control, SIOCGIFFLAGS, _request(name, b""))
            flags = struct.unpack_from("H", answer, 16)[0] | IFF_UP | IFF_RUNNING
            fcntl.ioctl(control, SIOCSIFFLAGS, _request(name, struct.pack("H", flags)))


def _request(name: str, value: bytes) -> bytes:
    """The kernel's `struct ifreq`: 16 bytes of name, 24 of value."""
    return struct.pack("16s24s", name.encode(), value)


def _sockaddr(address: bytes) -> bytes:
    return struct.pack("=HH4s", socket.AF_INET, 0, address)
