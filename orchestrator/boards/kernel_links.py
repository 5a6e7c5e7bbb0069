"""Links that the boards' own kernels make: netem below HTB on a board's data interface, for what its nodes send.

    node -- eb0 -- agent -- [data interface: htb class -- netem] -- network -- fabric -- ...

A link is made so where its source is a node on a board and it is the node's only way out; the fabric still counts its
packets, takes it down and blocks pairs, but adds neither rate nor delay nor loss. All other links are the fabric's.
Commands are values here; the board's agent runs them, and what it shows afterwards is compared with what was asked.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from node_image.board.shaping import HANDLE
from orchestrator.boards.station import Station
from orchestrator.errors import RunBrokeError
from orchestrator.links import netem
from orchestrator.links.readback import ShapeNotAppliedError, in_words
from orchestrator.links.shape import LinkShape
from orchestrator.plan import DirectedLink
from orchestrator.substrates.base import LinkCount

CLASS_RATE = "10gbit"  # HTB only tells the nodes apart; each netem has its link's own rate
TUNNEL_BYTES = netem.ETHERNET_BYTES + 20 + 8  # Ethernet, IP and UDP around a node's packet: not its link's to carry
LEAVES_FROM = 0xEB00  # handles of the netems


def commands(shape: LinkShape, device: str, number: int) -> tuple[tuple[str, ...], ...]:
    """What to run on the board. Run again with another shape, they change it and lose no packet."""
    to = ("dev", device, "parent", HANDLE)
    leaf = ("dev", device, "parent", f"{HANDLE}{number:x}", "handle", f"{LEAVES_FROM + number:x}:")
    return (
        ("tc", "class", "replace", *to, "classid", f"{HANDLE}{number:x}", "htb", "rate", CLASS_RATE, "quantum", "1514"),
        ("tc", "qdisc", "replace", *leaf, "netem", *netem.arguments(shape, header_bytes=TUNNEL_BYTES)),
    )


def made_by_boards(links: Iterable[DirectedLink], stations: Mapping[str, Station]) -> tuple[DirectedLink, ...]:
    """Which links the boards' kernels make; `stations` by node."""
    links = tuple(links)
    ways_out = Counter(link.source for link in links)
    return tuple(
        link
        for link in links
        if link.source in stations and not stations[link.source].board.is_here and ways_out[link.source] == 1
    )


@dataclass
class _Made:
    """A link, where its class is, and the shape that it was given last."""

    link: DirectedLink
    station: Station
    number: int
    shape: LinkShape


class KernelLinks:
    """All of a run's. `lay` them when the tunnels are connected, and those of a board again when it has come back."""

    def __init__(self, links: Iterable[DirectedLink], stations: Mapping[str, Station]) -> None:
        made = made_by_boards(links, stations)
        self._made = {
            link.id: _Made(link, stations[link.source], number, link.shape) for number, link in enumerate(made, 1)
        }
        self._counts: dict[str, dict[str, Any]] = {}  # by link, as its netem showed them last

    def __contains__(self, link: DirectedLink) -> bool:
        return link.id in self._made

    def left_to_fabric(self, links: Iterable[DirectedLink]) -> tuple[DirectedLink, ...]:
        """The links as the fabric is to lay them: ours without any shape."""
        return tuple(replace(link, shape=LinkShape()) if link in self else link for link in links)

    async def lay(self, nodes: Iterable[str]) -> None:
        """Give the links of these nodes the shapes that they had last."""
        names = set(nodes)
        for made in self._made.values():
            if made.link.source in names:
                await self.shape(made.link, made.shape)

    async def shape(self, link: DirectedLink, shape: LinkShape) -> str:
        """Change a link and read it back. ShapeNotAppliedError if the board has another shape then."""
        made = self._made[link.id]
        device = made.station.data_device
        argvs = commands(shape, device, made.number)
        await made.station.ask("shape", node=link.source, device=device, number=made.number, commands=argvs)
        made.shape = shape
        found = await self._netem_of(made)
        if wrong := netem.readback(json.dumps([found] if found else []), shape):
            raise ShapeNotAppliedError(link.id, wrong)
        return f"{link.id}: {in_words(shape)}, read back from {device} of {made.station.board.name}"

    async def counted(self, fabric: Mapping[str, LinkCount]) -> dict[str, LinkCount]:
        """The fabric's counters with what the netems still hold or have dropped; of a board that is away, as it was."""
        for made in self._made.values():
            try:
                self._counts[made.link.id] = await self._netem_of(made)
            except RunBrokeError:
                continue
        return {name: self._with_kernel(name, count) for name, count in fabric.items()}

    def facts(self) -> dict[str, str]:
        """The board that makes each link."""
        return {name: made.station.board.name for name, made in self._made.items()}

    def _with_kernel(self, name: str, count: LinkCount) -> LinkCount:
        found = self._counts.get(name)
        if not found:
            return count
        dropped, inside = int(found.get("drops", 0)), int(found.get("qlen", 0))
        inside_bytes = int(found.get("backlog", 0)) - TUNNEL_BYTES * inside
        made = self._made[name]
        return replace(
            count,
            offered_packets=count.offered_packets + dropped + inside,
            offered_bytes=count.offered_bytes + inside_bytes,
            dropped=count.dropped | ({"netem": dropped} if dropped else {}),
            dropped_bytes=None,  # the kernel does not tell
            in_flight_packets=count.in_flight_packets + inside,
            in_flight_bytes=count.in_flight_bytes + inside_bytes,
            as_laid=None if count.as_laid is None else count.as_laid and made.shape == made.link.shape,
        )

    async def _netem_of(self, made: _Made) -> dict[str, Any]:
        shown = (await made.station.ask("queues", device=made.station.data_device))["queues"]
        parent = f"{HANDLE}{made.number:x}"
        return next((dict(queue) for queue in shown if queue.get("parent") == parent), {})
