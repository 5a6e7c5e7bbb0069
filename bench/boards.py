"""Boards over SSH: shipping node_image to five at once against one, and a command's own time beyond the round trip.

`python -m bench.boards`, as root, with sshd installed. The boards are real SSH servers in namespaces of this machine,
so five of them share its processors; each is behind a link of 20 Mbit/s, as a board on Wi-Fi is. Beside them: the same
archive by `ssh ... cat` of OpenSSH, and an echo over a bare TCP connection.
"""

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from bench.figures import Figure, show
from orchestrator.boards.inventory import Board, Inventory, load_inventory
from orchestrator.boards.link import BoardLink, reach
from orchestrator.boards.shipping import archive, ship
from tests.host import mark_session
from tests.sshd import Lab, lab, missing, run

BOARDS = 5
TIMES = 5
COMMANDS = 200
LINK = ("root", "tbf", "rate", "20mbit", "burst", "10kb", "latency", "100ms")


async def ship_to(inventory: Inventory, boards: Sequence[Board]) -> float:
    """Seconds to ship to boards that have been reached and do not have it; all at once."""
    links: list[BoardLink] = list(await asyncio.gather(*(reach(board, inventory.known_hosts) for board in boards)))
    try:
        began = time.monotonic()
        shipped = await asyncio.gather(*(ship(link) for link in links))
        took_s = time.monotonic() - began
        assert all(shipped), "it was there already"
        return took_s
    finally:
        await asyncio.gather(*(link.close() for link in links))


async def commands_of(inventory: Inventory) -> float:
    """Median seconds of a command to the first board and back."""
    link = await reach(inventory.boards[0], inventory.known_hosts)
    try:
        took = []
        for _ in range(COMMANDS):
            began = time.monotonic()
            await link.ask("clock")
            took.append(time.monotonic() - began)
        return median(took)
    finally:
        await link.close()


def empty(place: Lab) -> None:
    """Have no board hold anything."""
    for board in place.boards:
        run("find", str(board.store), "-mindepth", "1", "-delete")


def by_openssh(place: Lab, known_hosts: Path, content: bytes) -> float:
    """Seconds that `ssh board cat` takes for the same bytes, to one board, connecting included."""
    board = place.boards[0]
    argv = ["ssh", "-F", "none", "-i", str(board.client_key), "-o", f"UserKnownHostsFile={known_hosts}"]
    began = time.monotonic()
    subprocess.run(
        [*argv, f"root@{board.address}", f"cat > {board.store}/archive"], input=content, check=True, capture_output=True
    )
    return time.monotonic() - began


def figures() -> Iterator[Figure]:
    """Two figures."""
    with tempfile.TemporaryDirectory() as folder, lab(Path(folder)) as place:
        for number in range(1, BOARDS + 1):
            place.board(f"b{number}")
            run("tc", "qdisc", "add", "dev", f"ctl{number}", *LINK)
        inventory = load_inventory(place.inventory([board.entry() for board in place.boards]))
        one: list[float] = []
        five: list[float] = []
        for _ in range(TIMES):  # in turn, so that a busy moment of the machine hits both
            for boards, took in ((inventory.boards[:1], one), (inventory.boards, five)):
                empty(place)
                took.append(asyncio.run(ship_to(inventory, boards)))
        openssh_s = by_openssh(place, inventory.known_hosts, archive().content)
        beside = (
            f"one: {median(one):.3f} s, five: {median(five):.3f} s for {len(archive().content) / 1e3:.0f} kB each;"
            f" ssh cat to one, with connecting: {openssh_s:.3f} s"
        )
        yield Figure(
            "ship node_image to 5 boards, times that to one", median(five) / median(one), "x", 1.5, beside=beside
        )
        for board in place.boards:
            run("tc", "qdisc", "del", "dev", f"ctl{board.number}", "root")
        took_s = asyncio.run(commands_of(inventory))
        ping = run("ping", "-c", "20", "-i", "0.01", "-q", place.boards[0].address).rsplit("=", 1)[1]
        rtt_ms = float(ping.split("/")[1])
        beside = f"command {took_s * 1e3:.2f} ms, ping {rtt_ms:.2f} ms"
        yield Figure("a command on a board, beyond the round trip", took_s * 1e3 - rtt_ms, "ms", 10.0, beside=beside)


if __name__ == "__main__":
    mark_session()
    if missing():
        raise SystemExit(missing())
    for each in figures():
        show(each)
