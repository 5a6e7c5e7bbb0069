"""A node's network on a board: a namespace of its own, with one TUN device whose packets go to the fabric over UDP.

    node - eb0 (in its namespace) - this process - UDP on the board's data address - fabric - the plan's links

Each packet is one datagram. The fabric makes every delay, rate and loss, unless the board's own kernel makes those of
the node's link (shaping.py), on an interface that does not carry SSH. Between the namespace and the board there is
nothing else: a node reaches nobody but its peers.
"""

import asyncio
import os
import socket
from contextlib import suppress

from node_image.kernel import inside_network_of, new_network
from node_image.tun import make_device

MTU = 1472  # of eb0: with the headers of UDP and IP a packet fits an ordinary Ethernet frame
LARGEST_PACKET = 65536
BATCH = 64  # packets taken from one side before others have their turn
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
BUFFER_BYTES = 4 << 20
IP_MTU_DISCOVER, IP_PMTUDISC_DONT = 10, 0


class Tunnel:
    """One node's. Make it, `connect` it, `close` it; `port` is where the fabric sends to."""

    def __init__(self, data_address: str) -> None:
        self.namespace = new_network()
        self._device: int | None = None
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            for option in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
                with suppress(OSError):
                    self._socket.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
            self._socket.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
            self._socket.setblocking(False)
            self._socket.bind((data_address, 0))
        except OSError:
            self.close()
            raise

    @property
    def port(self) -> int:
        """UDP port on the board's data address."""
        return int(self._socket.getsockname()[1])

    def connect(self, fabric: tuple[str, int], address: str, prefix: int) -> None:
        """Make the device and carry packets to and from the fabric, and nobody else, from now on."""
        self._socket.connect(fabric)
        with inside_network_of(self.namespace):
            self._device = make_device(address, prefix, MTU)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._device, self._outwards, self._device)
        loop.add_reader(self._socket, self._inwards, self._device)

    def mark(self, priority: int) -> None:
        """Have its packets go into a class of the data interface's traffic control (shaping.py)."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, priority)

    def close(self) -> None:
        """Drop device, socket and namespace; the kernel ends the namespace with its last process."""
        if self._device is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._device)
            loop.remove_reader(self._socket)
            os.close(self._device)
            self._device = None
        self._socket.close()
        if self.namespace >= 0:
            os.close(self.namespace)
            self.namespace = -1

    def _outwards(self, device: int) -> None:
        with suppress(OSError):  # nothing more to read, or no way to the fabric just now: packets get lost on networks
            for _ in range(BATCH):
                self._socket.send(os.read(device, LARGEST_PACKET))

    def _inwards(self, device: int) -> None:
        with suppress(OSError):
            for _ in range(BATCH):
                os.write(device, self._socket.recv(LARGEST_PACKET))
