"""Orders that faults give to nodes: what a node does wrong because it is told to, alike in real and in virtual time.

Each is {"do": name, ...}:

    misbehave   send (way or null): alter what is sent from now on (byzantine.py); null: the truth again
    reset       end all connections by a reset (RST); peer (name): that with this one alone
    isolate     another has its address and its storage: listen no more, save nothing
    records     path: "cut" (with keep: whether records wait), or "up": they leave again, as they did
    connections say how many there are
    battery     left (0-1, or null): the device runs on a battery of which this share is left; null: on mains
    disk        bytes_per_s (number or null): write checkpoints so fast at most (disk.py); left out: only tell
    clock       fault, skew_s, drift, since_s: what a fault does to the node's own clock (own_clock.py), all 0: nothing;
                left out: only tell
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from node_image.byzantine import Sender
from node_image.disk import Disk
from node_image.own_clock import OwnClock, Wrong

Answer = dict[str, Any]


class Ordered(Protocol):
    """What both runtimes have beside what an algorithm sees."""

    sender: Sender
    disk: Disk
    own_clock: OwnClock
    charge: float | None  # share of its battery that is left; None: on mains

    async def reset(self, peer: str | None = None) -> int:
        """End all connections, or that with one peer, by a reset; returns how many there were."""

    def isolate(self) -> None:
        """Another has its address and its storage from now on."""

    def connections(self) -> int:
        """How many peers it is connected with."""

    def cut_records(self, keep: bool) -> None:
        """From now on no record leaves."""

    def release_records(self) -> tuple[int, int]:
        """They leave again, those that waited first: how many waited, and how many were lost."""

    def now(self) -> float:
        """What the node's own clock shows."""


async def _misbehave(node: Ordered, order: Mapping[str, Any]) -> Answer:
    node.sender.misbehave(order["send"])
    return {"send": order["send"], "altered": node.sender.altered}


async def _battery(node: Ordered, order: Mapping[str, Any]) -> Answer:
    node.charge = None if order["left"] is None else float(order["left"])
    return {"left": node.charge}


async def _disk(node: Ordered, order: Mapping[str, Any]) -> Answer:
    if "bytes_per_s" in order:
        node.disk.bytes_per_s = order["bytes_per_s"]
    return {"bytes_per_s": node.disk.bytes_per_s, **node.disk.told()}


async def _clock(node: Ordered, order: Mapping[str, Any]) -> Answer:
    if "fault" in order:
        wrong = Wrong(float(order["skew_s"]), float(order["drift"]), float(order["since_s"]))
        node.own_clock.set_wrong(int(order["fault"]), wrong if wrong.skew_s or wrong.drift else None)
    return {"reads_s": node.now()}


async def _reset(node: Ordered, order: Mapping[str, Any]) -> Answer:
    return {"connections_reset": await node.reset(order.get("peer"))}


async def _isolate(node: Ordered, _: Mapping[str, Any]) -> Answer:
    node.isolate()
    return {"isolated": True}


async def _connections(node: Ordered, _: Mapping[str, Any]) -> Answer:
    return {"connections": node.connections()}


async def _records(node: Ordered, order: Mapping[str, Any]) -> Answer:
    if order["path"] == "cut":
        node.cut_records(bool(order["keep"]))
        return {"records": "kept" if order["keep"] else "lost"}
    late, lost = node.release_records()
    return {"late": late, "lost": lost}


ORDERS: dict[str, Callable[[Ordered, Mapping[str, Any]], Awaitable[Answer]]] = {
    "battery": _battery,
    "clock": _clock,
    "connections": _connections,
    "disk": _disk,
    "isolate": _isolate,
    "misbehave": _misbehave,
    "records": _records,
    "reset": _reset,
}
