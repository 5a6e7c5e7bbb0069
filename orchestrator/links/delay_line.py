"""delay_line: the user-space shaper as the orchestrator uses it. Starts the fabric, speaks to it, ends it.

Nothing here blocks the event loop, and nothing crosses a shaped link: requests go through the fabric's own pipe.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.links.lateness import Lateness
from orchestrator.links.readback import ShapeNotAppliedError, differences, from_json, in_words, to_json
from orchestrator.links.servant import Servant
from orchestrator.links.shape import LinkShape
from orchestrator.plan import DirectedLink
from orchestrator.substrates.base import LinkCount

Place = int | tuple[str, int]  # a pid in the node's namespace here, or (host, port) of the tunnel on its board


@dataclass(frozen=True)
class Missed:
    """Packets that were on no link: all 0 in a healthy run."""

    unread: dict[str, int]  # by node: the fabric fetched them too late, the kernel dropped them
    no_route: int  # to an address that nobody has, or that cannot be reached
    refused: int  # the receiving node's device was gone


class DelayLine:
    """The network of a run. `open` it first, `close` it whatever happens; `priority` says how it was scheduled.

    `prefix` is the length of the nodes' network; `tunnels` our (host, port) of the tunnel to each node on a board.
    `slow_down`: real seconds in one of the run's, in which all times here are (node_image.clock).

    Open it in a thread that lives as long as the run: the fabric dies with the thread that started it.
    """

    def __init__(self, slow_down: float = 1.0) -> None:
        self._slow_down = slow_down
        self.priority = ""
        self.prefix = 0
        self.tunnels: dict[str, tuple[str, int]] = {}
        self._fabric = Servant("the fabric", "orchestrator.links.fabric")
        self._ask = self._fabric.ask
        self.close = self._fabric.close
        self._traffic: dict[str, dict[int, tuple[int, int, int]]] = {}  # by node, by bin

    @property
    def pid(self) -> int | None:
        """The fabric's process, while it is open."""
        return self._fabric.pid

    async def open(self, links: tuple[DirectedLink, ...], nodes: Mapping[str, tuple[Place, str]], log: Path) -> None:
        """Start the fabric and give every node (by name: where it is, and its address) a device `eb0`.

        The fabric's stderr goes to `log`. Raises RunBrokeError when a device cannot be made.
        """
        await self._fabric.start((str(self._slow_down),), log)
        self._take(
            await self._ask({"do": "open", "links": [asdict(link) for link in links], "nodes": _nodes_json(nodes)})
        )

    async def attach(self, nodes: Mapping[str, tuple[Place, str]]) -> None:
        """Give nodes that came back in a new place (same name and address) a new device."""
        self._take(await self._ask({"do": "attach", "nodes": _nodes_json(nodes)}))

    async def epoch(self, monotonic_s: float) -> None:
        """The run begins at this instant of time.monotonic(): traces, traffic bins and lateness count from there."""
        self._traffic.clear()
        await self._ask({"do": "epoch", "monotonic": monotonic_s})

    async def shape(self, link: DirectedLink, shape: LinkShape, up: bool) -> str:
        """Change a link and read it back; raises ShapeNotAppliedError if the fabric has another shape then."""
        answer = await self._ask({"do": "shape", "link": link.id, "shape": to_json(shape), "up": up})
        wrong = differences(shape, from_json(answer["shape"]))
        if answer["up"] != up:
            wrong.append(f"up: asked {up}, found {answer['up']}")
        if wrong:
            raise ShapeNotAppliedError(link.id, wrong)
        state = "up" if up else "down"
        return f"{link.id}: {state}, {in_words(shape)}; {answer['retimed']} packets under way re-timed, none lost"

    async def block(self, pairs: frozenset[tuple[str, str]]) -> str:
        """Let exactly these (source, target) nodes hear nothing; packets under way between them count as dropped."""
        answer = await self._ask({"do": "block", "pairs": sorted(pairs)})
        found = frozenset((source, target) for source, target in answer["pairs"])
        if found != pairs:
            raise ShapeNotAppliedError("all", [f"blocked pairs: asked {sorted(pairs)}, found {sorted(found)}"])
        return f"{len(found)} pairs blocked: {', '.join(f'{a}>{b}' for a, b in sorted(found)) or 'none'}"

    async def counters(self) -> dict[str, LinkCount]:
        """Counters of every directed link, by id."""
        answer = await self._ask({"do": "counters"})
        return {name: LinkCount(**count) for name, count in answer["links"].items()}

    async def traffic(self) -> dict[str, list[tuple[int, int, int]]]:
        """Per node: (index of a 0.1 s bin since the epoch, bytes sent, bytes received), bins with traffic only."""
        answer = await self._ask({"do": "traffic"})
        for name, bins in answer["bins"].items():
            known = self._traffic.setdefault(name, {})
            for index, sent, received in bins:  # a bin that was still open when last asked comes again with the rest
                _, before_sent, before_received = known.get(index, (index, 0, 0))
                known[index] = (index, before_sent + sent, before_received + received)
        return {name: list(bins.values()) for name, bins in self._traffic.items()}

    async def lateness(self) -> Lateness:
        """How late packets were delivered since the epoch."""
        return Lateness(**await self._ask({"do": "lateness"}))

    async def missed(self) -> Missed:
        """Packets that no link accounts for. Asks the kernel for each node: not for often."""
        return Missed(**await self._ask({"do": "missed"}))

    def _take(self, answer: dict[str, Any]) -> None:
        self.priority, self.prefix = answer["priority"], answer["prefix"]
        self.tunnels |= {name: (host, port) for name, (host, port) in answer["tunnels"].items()}


def _nodes_json(nodes: Mapping[str, tuple[Place, str]]) -> list[dict[str, Any]]:
    return [
        {"name": name, "pid" if isinstance(place, int) else "board": place, "address": address}
        for name, (place, address) in nodes.items()
    ]
