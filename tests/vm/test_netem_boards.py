"""A board's own kernel makes the link of a node: HTB and netem on its data interface, and nothing left of them.

The board is a network namespace with a cable to another; what runs there is what its agent runs.
"""

import asyncio
import json
import os
import socket
import subprocess
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from node_image.board import shaping
from node_image.board.shaping import Shaping, priority, queues, remove_left
from node_image.board.tunnel import Tunnel
from node_image.kernel import inside_network_of, new_network
from orchestrator.boards.kernel_links import commands
from orchestrator.links import netem
from orchestrator.links.shape import LinkShape

pytestmark = [pytest.mark.root, pytest.mark.netem, pytest.mark.timeout(60)]

SLOW = LinkShape(rate_bps=1e6, delay_s=0.1, queue_bytes=20_000)
DATA, FABRIC = "10.97.0.1", "10.97.0.2"
NODE, PEER = "10.0.0.1", "10.0.0.2"


@dataclass(frozen=True)
class Cable:
    """`data` is the board's interface; `fabric` a socket at the other end."""

    board: int
    fabric: socket.socket

    def run(self, story: Coroutine[Any, Any, Any]) -> None:
        with inside_network_of(self.board):
            asyncio.run(story)


@pytest.fixture
def cable() -> Iterator[Cable]:
    board, far = new_network(), new_network()
    try:
        with inside_network_of(far):
            holder = subprocess.Popen(["sleep", "60"])
        try:
            with inside_network_of(board):
                ip("link", "add", "data", "type", "veth", "peer", "name", "far", "netns", str(holder.pid))
                ip("addr", "add", f"{DATA}/24", "dev", "data")
                ip("link", "set", "data", "up")
            with inside_network_of(far):
                ip("addr", "add", f"{FABRIC}/24", "dev", "far")
                ip("link", "set", "far", "up")
                fabric = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                fabric.bind((FABRIC, 0))
                fabric.settimeout(5.0)
            with fabric:
                yield Cable(board, fabric)
        finally:
            holder.kill()
            holder.wait()
    finally:
        os.close(board)
        os.close(far)


def ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True, capture_output=True)


def shape(shaping_: Shaping, wanted: LinkShape, number: int = 1) -> None:
    """Set it and read it back, as the orchestrator does over SSH."""
    shaping_.set("data", commands(wanted, "data", number))
    found = next(queue for queue in queues("data") if queue.get("parent") == f"{shaping.HANDLE}{number:x}")
    assert netem.readback(json.dumps([found]), wanted) == []


def arrivals_s(fabric: socket.socket, count: int, began_s: float) -> list[float]:
    found = []
    for _ in range(count):
        fabric.recv(2048)
        found.append(time.monotonic() - began_s)
    return found


def test_packets_of_a_node_take_the_time_of_its_link_and_no_others_do(cable: Cable) -> None:
    async def story() -> None:
        shaped, tunnel = Shaping(), Tunnel(DATA)
        try:
            tunnel.connect(cable.fabric.getsockname(), NODE, 24)
            shape(shaped, SLOW)
            tunnel.mark(priority(1))
            with inside_network_of(tunnel.namespace):
                node = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with node, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                began_s = time.monotonic()
                other.sendto(b"of nobody", cable.fabric.getsockname())
                (at_once_s,) = arrivals_s(cable.fabric, 1, began_s)
                began_s = time.monotonic()
                for _ in range(5):
                    node.sendto(bytes(1222), (PEER, 9))  # 1250 bytes with its own headers: 10 ms at 1 Mbit/s
                await asyncio.sleep(0.01)  # the tunnel takes them
                first_s, *_, last_s = await asyncio.to_thread(arrivals_s, cable.fabric, 5, began_s)
            assert at_once_s < 0.05 < 0.1 < first_s, "the delay is the node's alone"
            assert 0.030 < last_s - first_s < 0.080, "four more packets, a hundredth of a second each"
        finally:
            tunnel.close()
            shaped.close()

    cable.run(story())


def test_a_shape_changes_where_it_is_and_the_interface_is_given_back(cable: Cable) -> None:
    async def story() -> None:
        shaped = Shaping()
        shape(shaped, SLOW)
        shape(shaped, LinkShape(delay_s=0.02, loss=0.1), number=2)
        shape(shaped, LinkShape(rate_bps=5e6, delay_s=0.01, queue_bytes=20_000))
        assert [queue["kind"] for queue in queues("data")].count("netem") == 2
        shaped.close()
        assert [queue["kind"] for queue in queues("data")] == ["noqueue"]

    cable.run(story())


def test_what_a_killed_agent_left_is_removed_and_what_is_somebody_elses_is_refused(cable: Cable) -> None:
    async def story() -> None:
        shape(Shaping(), SLOW)  # never closed
        remove_left()
        assert [queue["kind"] for queue in queues("data")] == ["noqueue"]
        shaping.run(("tc", "qdisc", "add", "dev", "data", "root", "handle", "7:", "htb"))
        with pytest.raises(RuntimeError, match="data has a queue of somebody else's"):
            shape(Shaping(), SLOW)
        remove_left()
        assert queues("data")[0]["handle"] == "7:"

    cable.run(story())
