"""The switchboard: who listens, and every connection there is, for all nodes of a simulation."""

from collections.abc import Callable
from random import Random
from typing import Protocol

import numpy as np

from node_image.runtime import Array
from orchestrator.links.link import Link
from orchestrator.simulation.connection import Connection, End
from orchestrator.simulation.network import Network

NOTHING: Array = np.empty(0)


def _ignore(sender: str, receiver: str, item: object) -> None:
    """Nobody wants to know."""


class Listener(Protocol):
    """A living node, which others may dial."""

    def accept(self, end: End, peer: str) -> None:
        """A peer has dialled; this is our end."""


class Switchboard:
    """What all nodes share: the network, who listens, and the connections there are.

    `lost` is told of every message that was sent and will never be read: sender, receiver, and what was sent.
    """

    def __init__(self, network: Network, seed: int, lost: Callable[[str, str, object], None] = _ignore) -> None:
        self.network = network
        self.lost = lost
        self.rng = Random(f"{seed} transport")
        self.listening: dict[str, Listener] = {}
        self.connections: dict[Connection, None] = {}  # a set that keeps its order
        self.newest_copy: tuple[Array, Array] = NOTHING, NOTHING  # an array that was sent, and what receivers see of it

    def connect(self, dialer: str, listener: str, rtt_s: float) -> End:
        """Make a connection that both kernels have agreed on, and give the listener its end; returns the dialer's."""
        network = self.network
        routes = network.route(dialer, listener), network.route(listener, dialer)
        connection = Connection(network, (dialer, listener), routes, rtt_s, self.rng, self._forget)
        self.connections[connection] = None
        if listener in self.listening:
            self.listening[listener].accept(connection.listener, dialer)
        else:
            connection.listener.close()  # it ended while its answer was on the way
        return connection.dialer

    def settle(self) -> None:
        """Bring all counters up to now."""
        for connection in self.connections:
            connection.settle()

    def look_after(self, link: Link | None = None) -> None:
        """The network has changed (this link of it alone, if one is given): connections may be cut."""
        for connection in list(self.connections):
            if link is None or connection.goes_through(link):
                connection.look_after()

    def _forget(self, connection: Connection) -> None:
        self.connections.pop(connection, None)
        for end, other in ((connection.dialer, connection.listener), (connection.listener, connection.dialer)):
            for item in end.outgoing.receiver.undelivered():
                self.lost(end.name, other.name, item)
