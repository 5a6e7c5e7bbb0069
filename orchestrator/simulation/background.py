"""Background traffic on the virtual clock: the planned packets, one by one, through the queues that all others use."""

from collections import Counter
from collections.abc import Iterator
from itertools import dropwhile

from orchestrator.plan import Plan
from orchestrator.simulation.network import Network, Train
from orchestrator.simulation.virtual_time import VirtualTimeLoop
from orchestrator.traffic.flow import Flow, Packet, packets


class BackgroundPacket(Train):
    """A packet that nobody waits for."""

    __slots__ = ("_received", "_target")

    def __init__(self, size_bytes: int, target: str, received: Counter[str]) -> None:
        super().__init__(1, size_bytes, size_bytes)
        self._target = target
        self._received = received

    def arrived(self) -> None:
        """It is counted, and that is all."""
        self._received[self._target] += self.size_bytes

    def vanished(self) -> None:
        """It was lost; the link has counted it."""


class Background:
    """Sends what the plan's flows come to. A node that is down or frozen is no matter: these are others' packets."""

    def __init__(self, plan: Plan, network: Network, loop: VirtualTimeLoop) -> None:
        self._flows = plan.traffic
        self._network = network
        self._loop = loop
        self._sent: Counter[str] = Counter()
        self._received: Counter[str] = Counter()

    def begin(self, at_s: float = 0.0) -> None:
        """It is this second of the run now; what was due before is not sent."""
        for flow in self._flows:
            self._await((flow, dropwhile(lambda packet: packet[0] < at_s, packets(flow))))

    def bytes_by_node(self) -> dict[str, tuple[int, int]]:
        """IP bytes sent and received so far."""
        return {name: (self._sent[name], self._received[name]) for name in self._sent | self._received}

    def _await(self, flowing: tuple[Flow, Iterator[Packet]]) -> None:
        """Let the next packet of a flow leave at its time."""
        flow, left = flowing
        packet = next(left, None)
        if packet is not None:
            at_s, size_bytes = packet
            self._loop.schedule(self._network.epoch_s + at_s, self._send, (flow, left, size_bytes))

    def _send(self, leaving: tuple[Flow, Iterator[Packet], int]) -> None:
        flow, left, size_bytes = leaving
        self._sent[flow.source] += size_bytes
        route = self._network.route(flow.source, flow.target)
        self._network.send(BackgroundPacket(size_bytes, flow.target, self._received), route)
        self._await((flow, left))
