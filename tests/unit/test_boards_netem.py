"""Links that boards' kernels make: golden commands, which links they are, and why a board cannot."""

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest

from node_image.board import shaping
from node_image.board.shaping import Shaping, priority
from orchestrator.boards.check import no_netem
from orchestrator.boards.inventory import Board
from orchestrator.boards.kernel_links import KernelLinks, commands, made_by_boards
from orchestrator.boards.placement import this_machine
from orchestrator.boards.station import Station
from orchestrator.links.shape import LinkShape
from orchestrator.plan import DirectedLink
from orchestrator.substrates.base import LinkCount

WIFI = LinkShape(rate_bps=2e7, delay_s=0.002, jitter_s=0.001, loss=0.01, queue_bytes=150_000)
PI = Board("pi", "pi.local", 22, "pi", Path("key"), "raspberry_pi_4", interface="eth1")


def link(source: str, target: str, shape: LinkShape = WIFI) -> DirectedLink:
    return DirectedLink(f"{source}>{target}", source, target, shape, 1)


class FakeStation:
    """A board whose netem has no shape but the one it is given."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.data_device = "eth1"
        self.asked: list[dict[str, Any]] = []
        self.queues: list[dict[str, Any]] = []

    async def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        self.asked.append({"do": do, **fields})
        return {"queues": self.queues}


def station(board: Board) -> Station:
    return cast(Station, FakeStation(board))


def test_a_class_tells_the_node_apart_and_a_netem_below_it_makes_the_link() -> None:
    by_class, by_netem = (" ".join(argv) for argv in commands(WIFI, "eth1", 10))
    assert by_class == "tc class replace dev eth1 parent eb: classid eb:a htb rate 10gbit quantum 1514"
    assert by_netem == (
        "tc qdisc replace dev eth1 parent eb:a handle eb0a: netem limit 105 delay 2000us 1000us distribution normal"
        " loss random 1% duplicate 0% corrupt 0% reorder 0% rate 20000000bit -42"
    )
    assert priority(10) == 0x00EB000A, "what htb compares with its class"


def test_the_one_way_out_of_a_node_on_a_board_is_its_kernels_and_all_else_the_fabrics() -> None:
    pi, here = station(PI), station(this_machine("server"))
    links = (link("d-1", "s"), link("s", "d-1"), link("d-2", "s"), link("d-2", "d-1"), link("c", "s"))
    stations = {"d-1": pi, "d-2": pi, "c": here}
    assert [each.id for each in made_by_boards(links, stations)] == ["d-1>s"], "d-2 has two ways, c is here"
    kernel = KernelLinks(links, stations)
    left = {each.id: each.shape for each in kernel.left_to_fabric(links)}
    assert left["d-1>s"] == LinkShape()
    assert left["s>d-1"] == WIFI
    assert kernel.facts() == {"d-1>s": "pi"}


async def _counted(kernel: KernelLinks, count: LinkCount) -> LinkCount:
    return (await kernel.counted({"d-1>s": count}))["d-1>s"]


def test_what_a_netem_holds_or_has_dropped_is_added_to_what_the_fabric_saw() -> None:
    fake = FakeStation(PI)
    fake.queues = [{"parent": "eb:1", "drops": 3, "qlen": 2, "backlog": 2 * (1000 + 42)}]
    kernel = KernelLinks((link("d-1", "s"),), {"d-1": cast(Station, fake)})
    found = asyncio.run(_counted(kernel, LinkCount(10, 9000, 10, 9000, {}, {}, as_laid=True)))
    assert (found.offered_packets, found.offered_bytes) == (15, 11_000)
    assert (found.in_flight_packets, found.in_flight_bytes) == (2, 2000)
    assert (found.dropped, found.dropped_bytes) == ({"netem": 3}, None)
    assert found.as_laid


def found(**changes: Any) -> dict[str, Any]:
    own = {
        "interfaces": {"lo": "127.0.0.1", "eth0": "10.0.0.5", "eth1": "10.0.1.5"},
        "ssh_address": "10.0.0.5",
        "shapers": {"netem": "", "htb": "", "tbf": "no"},
    }
    return {**own, **changes}


def test_a_board_whose_data_interface_is_its_own_can_be_shaped_by_its_kernel() -> None:
    assert no_netem(PI, found()) == ("", "")


@pytest.mark.parametrize(
    ("changes", "interface", "said", "helps"),
    [
        ({"shapers": {"netem": "unknown qdisc", "htb": ""}}, "eth1", "tc netem: unknown qdisc", "modprobe sch_netem"),
        ({"shapers": {"netem": "", "htb": "unknown"}}, "eth1", "tc htb: unknown", "modprobe sch_htb"),
        ({"shapers": {}}, "eth1", "needs root", "modprobe"),
        ({}, "eth0", "eth0 carries packets of nodes and SSH", "name another interface as `data`"),
        ({}, None, "eth0 carries packets of nodes and SSH", "name another interface as `data`"),
        ({"ssh_address": "fe80::1"}, "eth1", "which interface carries SSH is not known", "IPv4"),
        ({"ssh_address": None}, "eth1", "which interface carries SSH is not known", "IPv4"),
    ],
)
def test_why_it_cannot_is_said_with_what_helps(
    changes: dict[str, Any], interface: str | None, said: str, helps: str
) -> None:
    board = Board("pi", "pi.local", 22, "pi", Path("key"), "raspberry_pi_4", interface=interface)
    why, remedy = no_netem(board, found(**changes))
    assert said in why
    assert helps in remedy


def test_the_agent_runs_no_command_but_tcs_on_the_one_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def run(argv: Any) -> str:
        ran.append(" ".join(argv))
        return json.dumps([{"kind": "fq_codel", "handle": "0:", "root": True}]) if "show" in argv else ""

    monkeypatch.setattr(shaping, "run", run)
    for hostile in (("reboot",), ("tc", "qdisc", "replace", "dev", "eth0", "root", "netem")):
        with pytest.raises(ValueError, match="not commands of tc for eth1"):
            Shaping().set("eth1", [hostile])
    assert ran == []
    Shaping().set("eth1", commands(WIFI, "eth1", 1))
    assert next(line for line in ran if "show" not in line) == "tc qdisc replace dev eth1 root handle eb: htb default 0"


def test_an_interface_with_somebody_elses_queue_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [{"kind": "cake", "handle": "8001:", "root": True}]
    monkeypatch.setattr(shaping, "run", lambda argv: json.dumps(shown))
    with pytest.raises(RuntimeError, match=r"eth1 has a queue of somebody else's \(cake 8001:\)"):
        Shaping().set("eth1", commands(WIFI, "eth1", 1))
