"""Whether boards can take part: what each has, and a remedy beside each thing that fails. All boards at once.

Nothing is changed on a board but its store: one that has a meter is sent node_image, which reads it.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.boards.clock import measure
from orchestrator.boards.inventory import Board, Inventory
from orchestrator.boards.link import BoardLink, reach
from orchestrator.boards.shipping import archive, ship
from orchestrator.errors import RunBrokeError
from orchestrator.hosts.ssh import BoardError, printable

LEAST_PYTHON = (3, 11)
LEAST_MEMORY_BYTES = 400e6  # a node with torch
LEAST_DISK_BYTES = 50e6
MOST_CLOCK_OFF_S = 1.0
LOOK_WITHIN_S = 90.0
Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """One line about a board. `remedy` is empty where nothing is to be done."""

    name: str
    status: Status
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class BoardReport:
    """All that was found out about a board."""

    board: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether it can take part in a run."""
        return all(check.status != "fail" for check in self.checks)


async def check_boards(inventory: Inventory, boards: Sequence[Board]) -> list[BoardReport]:
    """Check them all at the same time."""
    return await asyncio.gather(*(check_board(board, inventory) for board in boards))


async def check_board(board: Board, inventory: Inventory) -> BoardReport:
    """Reach a board and look at it; what cannot be reached has that as its one check."""
    try:
        link = await reach(board, inventory.known_hosts)
    except BoardError as error:
        return BoardReport(board.name, (Check("reach", "fail", error.problem, error.remedy),))
    try:
        offset = await measure(link)
        found = await link.ask("look", LOOK_WITHIN_S, **link.places())
        metered = [] if board.meter is None else [await _meter(link, board.meter, found)]
    except RunBrokeError as error:
        return BoardReport(board.name, (Check("look", "fail", str(error), "is its disk or its memory failing?"),))
    finally:
        await link.close()
    way = (
        "on this machine"
        if board.is_here
        else f"{board.user}@{board.host}:{board.port}, round trip {offset.rtt_s * 1e3:.1f} ms"
    )
    checks = (Check("reach", "ok", way), *checks_of(board, found, offset.wall_ahead_s), *metered)
    return BoardReport(board.name, checks)


def checks_of(board: Board, found: dict[str, Any], wall_ahead_s: float) -> Iterable[Check]:
    """Judge what was found; `wall_ahead_s` is how far the board's wall clock is ahead of ours."""
    yield _python(found)
    yield _libraries(found)
    yield _disk(board, found)
    yield _memory(found)
    yield _clock(wall_ahead_s)
    yield _root(board, found)
    yield (
        Check("tunnel", "ok", "/dev/net/tun is there")
        if found["tun"]
        else Check("tunnel", "fail", "no /dev/net/tun", "sudo modprobe tun, and name tun in /etc/modules")
    )
    yield _data(board, found)
    yield from _shapers(board, found)


def _python(found: dict[str, Any]) -> Check:
    agent = found["agent"]
    if "problem" in agent:
        said = printable(agent["problem"])
        return Check("python", "fail", f"{found['agent_python']}: {said}", "correct `python` in the inventory")
    version = ".".join(map(str, agent["version"]))
    if tuple(agent["version"][:2]) < LEAST_PYTHON:
        remedy = "install Python 3.11 or newer there, and name it as `python` in the inventory"
        return Check("python", "fail", f"{found['agent_python']} is Python {version}", remedy)
    return Check("python", "ok", f"{version} ({printable(found['agent_python'])}, {found['machine']})")


def _libraries(found: dict[str, Any]) -> Check:
    libraries = found["agent"].get("libraries", {})
    missing = [name for name, version in libraries.items() if version is None]
    if missing or not libraries:
        remedy = f"pip install {' '.join(missing)} there, or: edgebed boards ship --wheels FOLDER"
        return Check("libraries", "fail", f"no {', '.join(missing) or 'answer'}", remedy)
    return Check("libraries", "ok", ", ".join(f"{name} {printable(version)}" for name, version in libraries.items()))


def _disk(board: Board, found: dict[str, Any]) -> Check:
    if found["store_problem"]:
        remedy = "make room there, or name another folder as `store` in the inventory"
        return Check("disk", "fail", f"cannot write to {board.store}: {printable(found['store_problem'])}", remedy)
    free = f"{found['free_bytes'] / 1e6:.0f} MB free for {board.store}"
    if found["free_bytes"] < LEAST_DISK_BYTES:
        return Check("disk", "fail", free, f"a run needs {LEAST_DISK_BYTES / 1e6:.0f} MB: make room, or name a `store`")
    return Check("disk", "ok", free)


def _memory(found: dict[str, Any]) -> Check:
    available = found["memory_bytes"]
    if available is None:
        return Check("memory", "warn", "unknown")
    said = f"{available / 1e6:.0f} MB available"
    if available < LEAST_MEMORY_BYTES:
        return Check("memory", "warn", said, "a node with torch wants 400 MB: end other programs, or add swap")
    return Check("memory", "ok", said)


def _clock(ahead_s: float) -> Check:
    said = f"{abs(ahead_s):.3f} s {'ahead of' if ahead_s >= 0 else 'behind'} ours"
    if abs(ahead_s) > MOST_CLOCK_OFF_S:
        remedy = "sudo timedatectl set-ntp true; records are right all the same: they go by the measured offset"
        return Check("clock", "warn", said, remedy)
    return Check("clock", "ok", said)


def _root(board: Board, found: dict[str, Any]) -> Check:
    if found["root"]:
        return Check("root", "ok", "root" if found["user_id"] == 0 else "sudo -n lets the agent be root")
    remedy = (
        f"with visudo on the board: {board.user or 'USER'} ALL=(root) NOPASSWD: {printable(found['agent_python'])}"
        " (namespaces and tunnels need it; nodes do not run as root)"
    )
    return Check("root", "fail", f"sudo -n refuses: {printable(found['root_said'])}", remedy)


def _data(board: Board, found: dict[str, Any]) -> Check:
    address, interfaces = data_address(board, found), found["interfaces"]
    if address is None or (not board.is_here and address not in interfaces.values()):
        there = ", ".join(f"{name} {at}" for name, at in sorted(interfaces.items()))
        wanted = board.interface or board.address
        remedy = f"correct `data` in the inventory; there are: {printable(there)}"
        return Check("data", "fail", f"no interface {wanted} with an IPv4 address", remedy)
    names = [name for name, at in interfaces.items() if at == address]
    shared = " (carries SSH too: packets of nodes and ours share it)" if address == found["ssh_address"] else ""
    return Check("data", "ok", f"{address} on {', '.join(names)}{shared}")


async def _meter(link: BoardLink, meter: Mapping[str, Any], found: dict[str, Any]) -> Check:
    """Have the board read its meter, by the node_image that a run would ship there."""
    if "problem" in found["agent"] or found["store_problem"]:
        return Check("meter", "fail", "not tried", "mend Python and disk first: what reads it is sent there")
    try:
        await ship(link)
        said = await link.ask("meter", LOOK_WITHIN_S, tree=archive().tree, meter=dict(meter), **link.places())
    except RunBrokeError as error:
        return Check("meter", "fail", printable(str(error), 300), "docs/energy.md says what each meter needs")
    if not said["works"]:
        return Check("meter", "fail", f"{said['name']}: {printable(said['problem'])}", printable(said["remedy"]))
    power = "no power known yet" if said["watts"] is None else f"{said['watts']:.2f} W"
    of, accuracy = printable(said["covers"]), printable(said["accuracy"])
    return Check("meter", "ok", f"{said['name']} reads {power}, of {of}; accuracy: {accuracy}")


def data_address(board: Board, found: dict[str, Any]) -> str | None:
    """Where the board takes in packets of its nodes; None where the inventory names what is not there."""
    if board.is_here:
        return "127.0.0.1"
    if board.address is not None:
        return board.address
    if board.interface is not None:
        at: str | None = found["interfaces"].get(board.interface)
        return at
    ssh: str | None = found["ssh_address"]
    return ssh


def device_of(address: str | None, found: dict[str, Any]) -> str | None:
    """The interface that has this address."""
    return next((name for name, at in found["interfaces"].items() if at == address), None)


def no_netem(board: Board, found: dict[str, Any]) -> tuple[str, str]:
    """Why the board's own kernel cannot shape links, and what helps; two empty texts where it can."""
    for kind in ("netem", "htb"):
        if problem := found["shapers"].get(kind, "not tried, because that needs root"):
            return f"tc {kind}: {printable(problem)}", f"modprobe sch_{kind}, where the board's kernel has it"
    device, carries_ssh = device_of(data_address(board, found), found), device_of(found["ssh_address"], found)
    if device is None:
        return "its data interface is not known", "name it as `data` in the inventory"
    if carries_ssh is None:
        ssh = found["ssh_address"] or "an unknown address"
        return f"which interface carries SSH is not known (it came in by {ssh})", "reach it by its main IPv4 address"
    if device == carries_ssh:
        remedy = "name another interface as `data` in the inventory: what carries SSH is never shaped"
        return f"{device} carries packets of nodes and SSH", remedy
    return "", ""


def _shapers(board: Board, found: dict[str, Any]) -> Iterable[Check]:
    yield Check("delay_line", "ok" if found["tun"] and found["root"] else "fail", "through the tunnel, needs no module")
    if board.is_here:
        return
    why, remedy = no_netem(board, found)
    if why:
        yield Check("netem", "warn", why, f"{remedy}; not needed: links are shaped by delay_line")
    else:
        device = device_of(data_address(board, found), found)
        yield Check("netem", "ok", f"its kernel can shape what leaves by {device} (--shaper netem)")
