"""A board that takes part in a run: its link, its agent, its clock, and that it is lost when it falls silent."""

import asyncio
import base64
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from orchestrator.boards.check import check_board, checks_of, data_address, device_of
from orchestrator.boards.clock import Offset, measure
from orchestrator.boards.inventory import Board, Inventory
from orchestrator.boards.link import ANSWER_WITHIN_S, BoardLink, reach
from orchestrator.boards.shipping import archive, ship
from orchestrator.errors import RunBrokeError
from orchestrator.hosts.ssh import BoardError

LEASE_S = 10.0  # so long may the orchestrator be silent before a board heals itself, and a board before it is lost
BEATS = 4  # in a lease
LOOK_WITHIN_S = 90.0
ECHOES = 20
ECHO_BYTES = 1400
ECHO_WAIT_S = 1.0
END_WITHIN_S = 10.0
LARGEST_FILE = 16 << 20
MOST_OFFSETS = 20  # of those during a run that environment.json keeps


class Bridge(Protocol):
    """A node on the board, as far as its station knows it."""

    def take(self, message: dict[str, Any]) -> None:
        """A line or the end of the node."""


@dataclass(frozen=True)
class DataPath:
    """What datagrams between the fabric and the board take; of `sent`, `back` came back."""

    address: str
    sent: int
    back: int
    rtt_s: float | None  # median


class Station:
    """One board. `enter` it, and `leave` it whatever happens."""

    def __init__(self, board: Board, inventory: Inventory, run_id: str) -> None:
        self.board = board
        self.bridges: dict[str, Bridge] = {}
        self.offsets: list[Offset] = []
        self.facts: dict[str, Any] = {}
        self.data: DataPath | None = None
        self.data_device = ""
        self.lost = ""  # why, once it is
        self.on_lost: Callable[[Station], None] = lambda _: None
        self.on_metered: Callable[[dict[str, Any]], None] = lambda _: None
        self._inventory = inventory
        self._run_id = run_id
        self._link: BoardLink | None = None
        self._beating: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Of the board's data interface."""
        if self.data is None:
            raise RuntimeError("enter it first")
        return self.data.address

    async def enter(self) -> None:
        """Reach it, ship what it lacks, start its agent, measure its clock and the way of the packets.

        BoardError with a remedy where it cannot take part.
        """
        began = time.monotonic()
        link = await reach(self.board, self._inventory.known_hosts)
        try:
            found = await link.ask("look", LOOK_WITHIN_S, **link.places())
            for check in checks_of(self.board, found, 0.0):
                if check.status == "fail":
                    raise BoardError(self.board.where, f"{check.name}: {check.found}", check.remedy)
            shipped = await ship(link)
            if not await link.become_agent(archive().tree, as_root=True):
                remedy = "as root it needs CAP_SYS_ADMIN and CAP_NET_ADMIN: in a container, --privileged"
                raise BoardError(self.board.where, "its agent cannot make network namespaces", remedy)
            link.on_message = self._hear
            settled = await link.ask("settle", store=self.board.store, run=self._run_id, lease_s=LEASE_S)
            self._link, self.lost = link, ""
            self.offsets = [await measure(link)]  # a board that came back has a clock that began anew
            self.data = await self._echo(str(data_address(self.board, found)))
            self.data_device = device_of(self.data.address, found) or ""
        except BaseException:
            self._link = None
            await link.close()
            raise
        self.facts = {
            **{key: found[key] for key in ("machine", "kernel", "cores", "boot_id")},
            "python": settled["python"],
            "libraries": found["agent"].get("libraries"),
            "node_image": archive().tree,
            "shipped": shipped,
            "entered_s": round(time.monotonic() - began, 3),
        }
        self._beating = asyncio.create_task(self._beat(link), name=f"heartbeat of {self.board.name}")

    async def leave(self) -> None:
        """End its agent, and with it whatever of the run is on the board."""
        link, self._link = self._link, None
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
        if link is None:
            return
        with suppress(RunBrokeError):
            self.offsets.append(await measure(link))
            await link.ask("end", END_WITHIN_S)
            async with asyncio.timeout(END_WITHIN_S):
                await asyncio.shield(link.lost)  # it ends when everything is as it was before
        await link.close()

    async def ask(self, do: str, within_s: float = ANSWER_WITHIN_S, **fields: Any) -> dict[str, Any]:
        """Ask its agent; RunBrokeError where it is lost."""
        if self._link is None:
            raise RunBrokeError(f"{self.board.where} is lost: {self.lost or 'it has been left'}")
        return await self._link.ask(do, within_s, **fields)

    def tell(self, do: str, **fields: Any) -> None:
        """Tell its agent; one that is lost takes no notice."""
        if self._link is not None:
            self._link.tell(do, **fields)

    async def put(self, name: str, content: bytes) -> str:
        """A file into the run's folder there; returns its path."""
        placed = await self.ask("put", name=name, base64=base64.b64encode(content).decode())
        return str(placed["path"])

    async def fetch(self, node: str, into: Path) -> None:
        """What a node left there: its stderr and its checkpoints, each up to 16 MiB."""
        for name, size_bytes in (await self.ask("files", node=node))["files"].items():
            target = (into / name).resolve()
            if size_bytes > LARGEST_FILE or not target.is_relative_to(into.resolve()):
                continue
            content = b""
            while len(content) < size_bytes:
                piece = await self.ask("fetch", node=node, name=name, offset=len(content))
                if not (read := base64.b64decode(piece["base64"])):
                    break
                content += read
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    def later_s(self) -> float:
        """What must be added to a time that a node there tells (s): how much its clock lost against ours since then.

        A change that is smaller than what the measurements may err by is none.
        """
        first, last = self.offsets[0], self.offsets[-1]
        change_s = first.ahead_s - last.ahead_s
        return change_s if abs(change_s) > (first.rtt_s + last.rtt_s) / 2 else 0.0

    def to_json(self) -> dict[str, Any]:
        """For environment.json."""
        return {
            **self.facts,
            "profile": self.board.profile,
            "clock": self._clock(),
            "data_path": None if self.data is None else asdict(self.data),
            **({"lost": self.lost} if self.lost else {}),
        }

    def _clock(self) -> dict[str, Any]:
        """Offsets of its clock before, during (some of many) and after the run."""
        told = [asdict(offset) for offset in self.offsets]
        during = told[1:-1]
        some = during[:: max(1, len(during) // MOST_OFFSETS)]
        return {"before": told[:1], "during": some, "after": told[-1:], "measured": len(told)}

    def _hear(self, message: dict[str, Any]) -> None:
        if "metered" in message:
            with suppress(ValueError, TypeError, KeyError, AttributeError):  # not as our agent would say it
                self.on_metered(message["metered"])
            return
        bridge = self.bridges.get(message.get("node", ""))
        if bridge is not None:
            bridge.take(message)

    async def _beat(self, link: BoardLink) -> None:
        """Renew the lease and measure the clock, until the board is silent for too long or its connection ends."""
        loop = asyncio.get_running_loop()
        while not link.lost.done() and loop.time() - link.heard_at < LEASE_S:
            await asyncio.wait({link.lost}, timeout=LEASE_S / BEATS)
            if not link.lost.done():
                with suppress(RunBrokeError):
                    self.offsets.append(await measure(link, 2, within_s=LEASE_S / BEATS))
        self.lost = link.lost.result() if link.lost.done() else f"no word from it for {LEASE_S:g} s"
        self._link = None
        self.on_lost(self)
        await link.close()

    async def _echo(self, address: str) -> DataPath:
        """Send datagrams of the size of packets to the board and back; BoardError if none comes back."""
        port = (await self.ask("echo", data_address=address, count=ECHOES))["port"]
        rtts = await asyncio.to_thread(_echo, address, port)
        if not rtts:
            raise BoardError(
                self.board.where,
                f"datagrams to its data address {address} do not come back",
                "let UDP through from this machine (firewall?), or correct `data` in the inventory",
            )
        return DataPath(address, ECHOES, len(rtts), median(rtts))


def _echo(address: str, port: int) -> list[float]:
    rtts: list[float] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.settimeout(ECHO_WAIT_S)
        try:
            own.connect((address, port))
        except OSError:
            return []
        for number in range(ECHOES):
            began = time.monotonic()
            wanted = number.to_bytes(4, "big") + bytes(ECHO_BYTES - 4)
            try:
                own.send(wanted)
                while own.recv(2 * ECHO_BYTES) != wanted:
                    pass
            except OSError:
                if number > 2 and not rtts:
                    return []
                continue
            rtts.append(time.monotonic() - began)
    return rtts


async def refusals(inventory: Inventory, boards: tuple[Board, ...], shaper: str) -> list[str]:
    """Why boards cannot take part, a line each with its remedy; empty where all can."""
    reports = await asyncio.gather(*(check_board(board, inventory) for board in boards))
    where = {board.name: board.where for board in boards}
    return [
        f"{where[report.board]}: {check.name}: {check.found}. Try: {check.remedy}"
        for report in reports
        for check in report.checks
        if check.status == "fail" or (check.name == shaper and check.status != "ok")
    ]
