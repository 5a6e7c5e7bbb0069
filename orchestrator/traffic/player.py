"""The player: the process that sends and receives background traffic, as UDP packets between the nodes' namespaces.

`python -m orchestrator.traffic.player PARENT_PID SLOW_DOWN` is started by `substrates/background.py` and speaks JSON
lines, as the fabric does (links/servant.py):

    open      flows [Flow], nodes [{name, pid, address}]: `pid` of a process in the node's namespace
    attach    nodes: those that came back in a new namespace
    epoch     monotonic: the instant at which the run begins; from_s: what is due before this second of it is not sent
    counters  answered with `flows`: for each in turn packets and bytes sent, the same received, packets not sent
    lateness  how late packets left, since the epoch

It is no node's: it lives outside of their control groups, and goes on while they crash, freeze or start again, as what
others do on a link would. Its sockets are in the nodes' namespaces all the same (a socket stays where it was made), so
its packets take the way of all others. It dies with its parent.
"""

import gc
import heapq
import json
import os
import select
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from itertools import dropwhile
from time import monotonic
from typing import Any

from node_image.kernel import die_with_parent, inside_network_of, network_of
from orchestrator import dataclass_json
from orchestrator.links.fabric import raise_priority
from orchestrator.links.lateness import STEP_S, STEPS, LatenessHistogram
from orchestrator.links.timer import Timer
from orchestrator.traffic.flow import HEADER_BYTES, MOST_BYTES, Flow, Packet, packets

PORT = 7002
STDIN = 0
BUFFER_BYTES = 4 << 20
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
AT_ONCE = 64  # packets read from one socket before others have their turn
_FLOW = struct.Struct("!I")
Answer = dict[str, Any]


class Count:
    """Packets and IP bytes of one flow."""

    __slots__ = ("received_bytes", "received_packets", "sent_bytes", "sent_packets", "unsent_packets")

    def __init__(self) -> None:
        self.sent_packets = self.sent_bytes = self.received_packets = self.received_bytes = self.unsent_packets = 0

    def numbers(self) -> tuple[int, int, int, int, int]:
        """As the counters are answered."""
        return self.sent_packets, self.sent_bytes, self.received_packets, self.received_bytes, self.unsent_packets


class Player:
    """Sends each flow's packets at their instants of the run, and counts those that come."""

    def __init__(self, slow_down: float) -> None:
        self._slow_down = slow_down
        self._flows: list[Flow] = []
        self._counts: list[Count] = []
        self._addresses: dict[str, str] = {}
        self._sockets: dict[str, socket.socket] = {}
        self._by_fd: dict[int, socket.socket] = {}
        self._epoch_s = 0.0
        self._due: list[tuple[float, int, int, Iterator[Packet]]] = []  # when, flow, size, and what comes after it
        self._late = LatenessHistogram()
        self._timer = Timer(slow_down)
        self._epoll = select.epoll()
        self._epoll.register(self._timer.fd, select.EPOLLIN)
        self._unread = b""
        self._answers = {
            "open": self._open,
            "attach": self._attach,
            "epoch": self._begin,
            "counters": self._counters,
            "lateness": self._lateness,
        }

    def serve(self) -> None:
        """Send, receive and answer until stdin ends."""
        self._epoll.register(STDIN, select.EPOLLIN)
        while True:
            self._timer.set(self._due[0][0] if self._due else 0.0)
            for fd, _ in self._epoll.poll():
                if fd in self._by_fd:
                    self._receive(self._by_fd[fd])
                elif fd == STDIN and not self._hear():
                    return
            self._send_due()

    def _now(self) -> float:
        return monotonic() / self._slow_down

    def _hear(self) -> bool:
        """Answer what was asked; False once nobody is there to ask."""
        received = os.read(STDIN, 1 << 20)
        *lines, self._unread = (self._unread + received).split(b"\n")
        for line in lines:
            request = json.loads(line)
            try:
                answer = self._answers[request["do"]](request)
            except (OSError, ValueError) as error:
                answer = {"error": str(error)}
            sys.stdout.write(json.dumps({**answer, "number": request["number"]}) + "\n")
        sys.stdout.flush()
        return bool(received)

    def _open(self, request: Answer) -> Answer:
        self._flows = [dataclass_json.from_json(Flow, json.dumps(flow)) for flow in request["flows"]]
        self._counts = [Count() for _ in self._flows]
        answer = self._attach(request)
        gc.collect()  # from here on nothing makes cycles: a collection would be a pause of the traffic
        gc.freeze()
        gc.disable()
        return answer

    def _attach(self, request: Answer) -> Answer:
        for node in request["nodes"]:
            name, address = node["name"], node["address"]
            try:
                own = _socket(node["pid"], address)
            except OSError as error:
                raise OSError(f"cannot open a socket for the traffic of node {name} ({address}): {error}") from error
            old = self._sockets.pop(name, None)
            if old is not None:
                self._epoll.unregister(old)
                del self._by_fd[old.fileno()]
                old.close()
            self._addresses[name] = address
            self._sockets[name] = self._by_fd[own.fileno()] = own
            self._epoll.register(own, select.EPOLLIN)
        return {"nodes": len(self._sockets)}

    def _begin(self, request: Answer) -> Answer:
        self._epoch_s = request["monotonic"] / self._slow_down
        self._late = LatenessHistogram()
        self._due = []
        for flow in self._flows:
            ahead = dropwhile(lambda packet: packet[0] < request["from_s"], packets(flow))
            self._await(flow.index, ahead)
        return {"flows": len(self._flows)}

    def _counters(self, _: Answer) -> Answer:
        return {"flows": [count.numbers() for count in self._counts]}

    def _lateness(self, _: Answer) -> Answer:
        return asdict(self._late.summary())

    def _await(self, index: int, left: Iterator[Packet]) -> None:
        packet = next(left, None)
        if packet is not None:
            heapq.heappush(self._due, (self._epoch_s + packet[0], index, packet[1], left))

    def _send_due(self) -> None:
        """Send all whose time has come: late by what woke us, and by those before."""
        due, late = self._due, self._late
        while due and due[0][0] <= (now_s := self._now()):
            at_s, index, size_bytes, left = heapq.heappop(due)
            late.steps[min(int((now_s - at_s) / STEP_S), STEPS)] += 1
            late.max_s = max(late.max_s, now_s - at_s)
            flow, count = self._flows[index], self._counts[index]
            packet = _FLOW.pack(index).ljust(size_bytes - HEADER_BYTES, b"\0")
            try:
                self._sockets[flow.source].sendto(packet, (self._addresses[flow.target], PORT))
            except OSError:  # no room, or no way
                count.unsent_packets += 1
            else:
                count.sent_packets += 1
                count.sent_bytes += size_bytes
            self._await(index, left)

    def _receive(self, own: socket.socket) -> None:
        with suppress(BlockingIOError):
            for _ in range(AT_ONCE):
                packet = own.recv(MOST_BYTES)
                (index,) = _FLOW.unpack_from(packet)
                self._counts[index].received_packets += 1
                self._counts[index].received_bytes += len(packet) + HEADER_BYTES


def _socket(pid: int, address: str) -> socket.socket:
    """A UDP socket in the network namespace of a process; it stays there, and we do not."""
    namespace = network_of(pid)
    try:
        with inside_network_of(namespace):
            own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            own.setblocking(False)
            for forced in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
                own.setsockopt(socket.SOL_SOCKET, forced, BUFFER_BYTES)
            own.bind((address, PORT))
            return own
    finally:
        os.close(namespace)


def main() -> None:
    """Serve the process that started us; the arguments are its id and how many real seconds one of the run's lasts."""
    die_with_parent(int(sys.argv[1]))
    raise_priority()
    Player(float(sys.argv[2])).serve()


if __name__ == "__main__":
    main()
