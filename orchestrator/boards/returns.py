"""Boards that are lost in the middle of a run: tried again and again, and their nodes start anew when they are back."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from orchestrator.boards.kernel_links import KernelLinks
from orchestrator.boards.remote import Placed
from orchestrator.boards.station import Station
from orchestrator.errors import EdgebedError
from orchestrator.links.delay_line import DelayLine
from orchestrator.plan import PlannedNode

RETURN_EVERY_S = 2.0
Again = Callable[[Station, Sequence[PlannedNode]], Awaitable[None]]


class Returns:
    """Watches over boards once the run has them. `again` starts what lived on a board that is back."""

    def __init__(
        self,
        placed: Mapping[str, Placed],
        line: DelayLine,
        kernel: KernelLinks,
        now: Callable[[], float],
        again: Again,
    ) -> None:
        self.ending = False  # who is lost from then on is not waited for
        self.notes: list[str] = []
        self._placed = placed
        self._line = line
        self._kernel = kernel
        self._now = now
        self._again = again
        self._tasks: set[asyncio.Task[None]] = set()

    def lost(self, station: Station) -> None:
        """A board has gone, and its nodes with it."""
        self.notes.append(f"{station.board.name} was lost at {self._now():.3f} s: {station.lost}")
        gone = [placed for placed in self._placed.values() if placed.station is station]
        for placed in gone:
            placed.lose(f"its board {station.board.where} was lost: {station.lost}")
        if not self.ending:
            task = asyncio.create_task(self._return(station, gone), name=f"return of {station.board.name}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Try no more."""
        self.ending = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _return(self, station: Station, gone: Sequence[Placed]) -> None:
        before = station.facts.get("boot_id")
        while not self.ending:
            await asyncio.sleep(RETURN_EVERY_S)
            try:
                await station.enter()
                await self._line.attach(await tunnels(gone))
                await connect(gone, self._line)
                await self._kernel.lay(placed.node.name for placed in gone)
                await self._again(station, [placed.node for placed in gone])
            except (EdgebedError, OSError, TimeoutError):
                continue
            how = "rebooted" if station.facts["boot_id"] != before else "without a reboot"
            self.notes.append(f"{station.board.name} came back at {self._now():.3f} s, {how}")
            return


async def tunnels(nodes: Iterable[Placed]) -> dict[str, tuple[tuple[str, int], str]]:
    """Have a namespace made for each node on its board; where the fabric must send to."""
    ends: dict[str, tuple[tuple[str, int], str]] = {}
    for placed in nodes:
        node, station = placed.node, placed.station
        made = await station.ask("tunnel", node=node.name, data_address=station.address)
        ends[node.name] = (station.address, made["port"]), node.address
    return ends


async def connect(nodes: Iterable[Placed], line: DelayLine) -> None:
    """Have each board send the packets of its nodes to the fabric."""
    for placed in nodes:
        node, fabric = placed.node, line.tunnels[placed.node.name]
        await placed.station.ask("connect", node=node.name, fabric=fabric, address=node.address, prefix=line.prefix)
