"""Making a TUN device in the network namespace of this thread. Linux alone; needs root in that namespace."""

import fcntl
import os
import socket
import struct
from pathlib import Path

DEVICE = "eb0"
MTU = 1500
QUEUE_PACKETS = 5000  # what the kernel holds for us while we are elsewhere

IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
IFF_UP, IFF_RUNNING = 0x1, 0x40
TUNSETIFF = 0x400454CA
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
SIOCSIFADDR, SIOCSIFNETMASK = 0x8916, 0x891C
SIOCSIFMTU, SIOCSIFTXQLEN = 0x8922, 0x8943


def make_device(address: str, prefix: int, mtu: int = MTU) -> int:
    """Make `eb0` with this address, up, loopback too, IPv6 off. Returns its file (non-blocking): closed, it is gone."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, TUNSETIFF, _request(DEVICE, struct.pack("H", IFF_TUN | IFF_NO_PI)))
        _configure(address, prefix, mtu)
    except BaseException:
        os.close(fd)
        raise
    return fd


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
