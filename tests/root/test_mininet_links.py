"""Mininet's own links: packets find their way over routers and rings. Shapes need netem, which another suite has."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.keys import RunKeys
from orchestrator.links.shape import LinkShape
from orchestrator.plan import DirectedLink, Plan
from orchestrator.substrates.calibration import Calibration
from orchestrator.substrates.mininet import MininetSubstrate
from orchestrator.substrates.mininet_links import MininetLinks
from tests.plans import star

pytestmark = pytest.mark.root


def unshaped(*_: object, **__: object) -> tuple[tuple[str, ...], ...]:
    return ()


def as_asked(*_: object, **__: object) -> list[str]:
    return []


def over(plan: Plan, pairs: list[tuple[str, str]], switches: tuple[str, ...]) -> Plan:
    links = tuple(
        DirectedLink(f"{a}>{b}", a, b, LinkShape(), 0) for one, two in pairs for a, b in ((one, two), (two, one))
    )
    return replace(plan, links=links, switches=switches)


RING = [("coordinator", "d-1"), ("d-1", "d-2"), ("d-2", "d-3"), ("d-3", "coordinator")]
TWO_TIER = [("d-1", "gw-1"), ("d-2", "gw-1"), ("d-3", "gw-2"), ("gw-1", "coordinator"), ("gw-2", "coordinator")]


@pytest.mark.parametrize(("pairs", "switches"), [(RING, ()), (TWO_TIER, ("gw-1", "gw-2"))])
def test_every_pair_of_nodes_reaches_the_other_and_bytes_are_counted(
    pairs: list[tuple[str, str]], switches: tuple[str, ...], tmp_path: Path
) -> None:
    plan = over(star(3), pairs, switches)

    async def pings() -> tuple[list[int], dict[str, int]]:
        substrate = MininetSubstrate(plan, tmp_path, RunKeys("links"), "netem", Calibration())
        substrate._network = MininetLinks(1.0, unshaped, as_asked)
        async with substrate:
            await asyncio.gather(*(substrate.start(node) for node in plan.nodes))
            answered = []
            for source in plan.nodes:
                for target in plan.nodes:
                    if source != target:
                        listen = {"do": "probe", "role": "listen", "seconds": 0.3}
                        listening = asyncio.ensure_future(substrate.ask(target, listen))
                        await asyncio.sleep(0.05)
                        ping = {"do": "probe", "role": "ping", "to": target.address, "count": 2}
                        answered.append(len((await substrate.ask(source, ping))["rtt_s"]))
                        await listening
            counts = await substrate.links()
        return answered, {name: count.delivered_bytes for name, count in counts.items()}

    answered, delivered = asyncio.run(pings())
    assert answered == [2] * 12
    assert all(size_bytes >= 56 for size_bytes in delivered.values()), delivered
