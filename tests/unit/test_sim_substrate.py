"""The simulated substrate: its levers act, its runs are the same byte for byte, and its links balance."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from node_image import registry
from node_image.parameters import parameter
from node_image.runtime import Cost, NodeRuntime
from node_image.spec import Chosen
from orchestrator.errors import RunBrokeError
from orchestrator.links.shape import LinkShape
from orchestrator.plan import Plan, PlannedNode
from orchestrator.simulation.substrate import Simulation
from orchestrator.simulation.virtual_time import VirtualTimeLoop
from orchestrator.substrates.base import LinkCount, NodeExit, NodeLine, NodeUse
from tests.plans import star


@dataclass(frozen=True)
class CountingParameters:
    """None that matters; at least one is needed to tell it from a mistake."""

    raises_at: int = parameter(0, "count at which the coordinator fails", minimum=0)


class Counting:
    """Devices work for 0.1 s and report; the coordinator counts reports, and goes on from its checkpoint."""

    Parameters = CountingParameters

    async def device(self, node: NodeRuntime, params: CountingParameters) -> None:
        assert node.coordinator is not None
        number = 0
        while True:
            await node.compute(lambda: None, Cost(macs=1e8, ops=0))
            number += 1
            await node.send(node.coordinator, "report", {"number": number, "draw": float(node.rng.random())})

    async def coordinator(self, node: NodeRuntime, params: CountingParameters) -> None:
        count = int((node.restored() or {"count": 0})["count"])
        while (message := await node.receive()) is not None:
            count += 1
            if count == params.raises_at:
                raise ZeroDivisionError("as told")
            node.record("aggregated_updates", 1)
            node.record("train_loss", float(message.body["draw"]))
            node.record("version", count)
            await node.save({"count": count})


@pytest.fixture(autouse=True)
def _counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "ALGORITHMS", {**registry.ALGORITHMS, "counting": Counting()})


def counting(devices: int = 2, **options: Any) -> Plan:
    return star(devices, algorithm=Chosen("counting"), **options)


@dataclass
class Ran:
    """What a run left."""

    items: list[NodeLine | NodeExit]
    links: dict[str, LinkCount]
    uses: dict[str, NodeUse]
    traffic: dict[str, list[tuple[int, int, int]]]

    def lines(self, node: str) -> list[dict[str, Any]]:
        return [json.loads(item.line) for item in self.items if isinstance(item, NodeLine) and item.node == node]

    def values(self, node: str, metric: str) -> list[tuple[float, float]]:
        return [(line["t"], line["value"]) for line in self.lines(node) if line.get("metric") == metric]

    def exits(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for item in self.items:
            if isinstance(item, NodeExit):
                found.setdefault(item.node, []).append(item.returncode)
        return found


Script = Callable[[Simulation, dict[str, PlannedNode]], Awaitable[None]]


async def idle(simulation: Simulation, nodes: dict[str, PlannedNode]) -> None:
    """No fault."""


def simulate(plan: Plan, directory: Path, script: Script = idle) -> Ran:
    async def main() -> Ran:
        items: list[NodeLine | NodeExit] = []
        async with Simulation(plan, directory) as simulation:

            async def listen() -> None:
                async for item in simulation.output():
                    items.append(item)

            listening = asyncio.create_task(listen())
            for node in plan.nodes:
                await simulation.start(node)
            await simulation.begin()
            await script(simulation, {node.name: node for node in plan.nodes})
            await simulation.sleep_until(plan.stop_after_s)
            for node in plan.nodes:
                await simulation.stop(node)
            links, uses, traffic = await simulation.links(), await simulation.uses(), await simulation.traffic()
            for node in plan.nodes:
                await simulation.collect(node, directory / node.name)
        await listening
        return Ran(items, links, uses, traffic)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main())


def count_at(ran: Ran, t: float) -> float:
    return max((value for when, value in ran.values("coordinator", "version") if when <= t), default=0.0)


LOSSY = LinkShape(rate_bps=2e6, delay_s=0.02, jitter_s=0.005, loss=0.02, queue_bytes=30_000)


def test_the_same_plan_gives_the_same_bytes_and_another_seed_gives_others(tmp_path: Path) -> None:
    plan = star(3, shape=LOSSY, algorithm=Chosen("fedavg", {"local_epochs": 1, "rounds": 4}), stop_after_s=6.0)
    first, again = (simulate(plan, tmp_path / name) for name in ("a", "b"))
    other_links = tuple(replace(link, seed=link.seed + 1) for link in plan.links)
    other = simulate(replace(plan, links=other_links), tmp_path / "c")
    assert first == again
    assert first.items != other.items
    files = [sorted((tmp_path / name).rglob("*.safetensors")) for name in ("a", "b")]
    assert [path.name for path in files[0]] == [path.name for path in files[1]]  # a name holds its content's hash
    assert files[0]


def test_nodes_are_ready_then_started_and_every_life_ends_once(tmp_path: Path) -> None:
    ran = simulate(counting(stop_after_s=2.0), tmp_path)
    for name in ("coordinator", "d-1", "d-2"):
        events = [line["event"] for line in ran.lines(name) if "event" in line]
        assert events[:2] == ["ready", "started"]
    assert ran.exits() == {"coordinator": [0], "d-1": [0], "d-2": [0]}


def test_computing_is_counted_as_busy_time(tmp_path: Path) -> None:
    ran = simulate(counting(stop_after_s=5.0), tmp_path)
    assert ran.uses["d-1"].busy_s == pytest.approx(5.0, abs=0.01)
    assert ran.uses["coordinator"].busy_s == 0.0
    assert count_at(ran, 5.0) == pytest.approx(2 * 49, abs=2)


def test_a_killed_coordinator_goes_on_from_its_checkpoint_and_devices_come_back_to_it(tmp_path: Path) -> None:
    async def script(simulation: Simulation, nodes: dict[str, PlannedNode]) -> None:
        await simulation.sleep_until(3.0)
        evidence = await simulation.kill(nodes["coordinator"])
        assert "signal 9, 2 connections" in evidence
        await simulation.sleep_until(6.0)
        await simulation.start(nodes["coordinator"])

    ran = simulate(counting(stop_after_s=10.0), tmp_path, script)
    counts = [value for _, value in ran.values("coordinator", "version")]
    assert counts == list(range(1, len(counts) + 1))  # nothing counted twice, nothing forgotten
    assert count_at(ran, 5.9) == count_at(ran, 3.0)
    assert count_at(ran, 10.0) > count_at(ran, 6.0) + 50
    assert len(ran.values("d-1", "reconnects")) == 1
    assert ran.exits()["coordinator"] == [-9, 0]
    assert any("state" in path.parts for path in (tmp_path / "coordinator").rglob("*"))


def test_a_partition_silences_its_pairs_and_what_waited_comes_after_it_heals(tmp_path: Path) -> None:
    async def script(simulation: Simulation, nodes: dict[str, PlannedNode]) -> None:
        await simulation.sleep_until(2.0)
        cut = frozenset({("d-1", "coordinator"), ("coordinator", "d-1")})
        assert await simulation.block(cut) == "2 pairs blocked: coordinator>d-1, d-1>coordinator"
        await simulation.sleep_until(12.0)
        assert (await simulation.links())["d-1>coordinator"].dropped["partition"] > 0
        assert await simulation.block(frozenset()) == "0 pairs blocked: none"

    ran = simulate(counting(stop_after_s=20.0), tmp_path, script)
    received = ran.values("coordinator", "received_payload_bytes")
    assert len(ran.values("d-1", "reconnects")) == 1  # 5 s of silence break a connection
    assert count_at(ran, 11.9) - count_at(ran, 3.0) == pytest.approx(89, abs=3)  # those of d-2 alone
    assert count_at(ran, 20.0) - count_at(ran, 12.0) > 2 * 80 + 50
    assert len(received) > 0


def test_a_short_cut_is_bridged_by_the_connection_and_loses_no_message(tmp_path: Path) -> None:
    async def script(simulation: Simulation, nodes: dict[str, PlannedNode]) -> None:
        await simulation.sleep_until(2.0)
        await simulation.block(frozenset({("d-1", "coordinator")}))
        await simulation.sleep_until(4.0)
        await simulation.block(frozenset())

    ran = simulate(counting(1, stop_after_s=10.0), tmp_path, script)
    assert not ran.values("d-1", "reconnects")
    assert count_at(ran, 10.0) == pytest.approx(99, abs=2)


def test_a_paused_device_does_nothing_and_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    async def script(simulation: Simulation, nodes: dict[str, PlannedNode]) -> None:
        await simulation.sleep_until(2.05)
        assert await simulation.pause(nodes["d-1"]) == "d-1: frozen"
        await simulation.sleep_until(7.05)
        assert await simulation.resume(nodes["d-1"]) == "d-1: thawed, 0.0 ms of CPU used while frozen"

    ran = simulate(counting(1, stop_after_s=10.0), tmp_path, script)
    assert count_at(ran, 7.0) == count_at(ran, 2.2)
    assert count_at(ran, 10.0) == pytest.approx(49, abs=2)
    assert not ran.values("d-1", "reconnects")


def test_a_node_that_is_frozen_when_the_run_ends_is_killed(tmp_path: Path) -> None:
    async def script(simulation: Simulation, nodes: dict[str, PlannedNode]) -> None:
        await simulation.pause(nodes["d-1"])

    assert simulate(counting(1, stop_after_s=2.0), tmp_path, script).exits() == {"coordinator": [0], "d-1": [-9]}


def test_a_straggler_computes_at_its_share_and_is_told_how_long_it_was_held_back(tmp_path: Path) -> None:
    async def script(simulation: Simulation, nodes: dict[str, PlannedNode]) -> None:
        assert await simulation.slow(nodes["d-1"], 0.25) == "d-1: computes at 25% of its speed"

    ran = simulate(counting(2, stop_after_s=8.0), tmp_path, script)
    sent = {name: len(ran.values(name, "sent_payload_bytes")) for name in ("d-1", "d-2")}
    assert sent["d-2"] == pytest.approx(4 * sent["d-1"], rel=0.1)
    assert ran.uses["d-1"].throttled_s == pytest.approx(6.0, abs=0.1)
    assert ran.uses["d-2"].throttled_s == 0.0


def test_a_link_that_is_down_carries_nothing_until_it_is_up(tmp_path: Path) -> None:
    plan = counting(1, stop_after_s=8.0)

    async def script(simulation: Simulation, nodes: dict[str, PlannedNode]) -> None:
        await simulation.sleep_until(2.0)
        for link in plan.links:
            assert ": down," in await simulation.shape(link, link.shape, up=False)
        await simulation.sleep_until(4.0)
        for link in plan.links:
            assert ": up," in await simulation.shape(link, link.shape)

    ran = simulate(plan, tmp_path, script)
    assert count_at(ran, 4.0) <= count_at(ran, 2.1)
    assert count_at(ran, 8.0) == pytest.approx(79, abs=2)
    assert ran.links["d-1>coordinator"].dropped["down"] > 0


def test_a_device_that_dies_is_noticed_and_comes_back_with_a_fresh_life(tmp_path: Path) -> None:
    async def script(simulation: Simulation, nodes: dict[str, PlannedNode]) -> None:
        await simulation.sleep_until(1.0)
        await simulation.kill(nodes["d-1"])
        assert await simulation.kill(nodes["d-1"]) == "d-1: had ended before"
        await simulation.sleep_until(3.0)
        await simulation.start(nodes["d-1"])
        with pytest.raises(RunBrokeError, match="d-1 runs already"):
            await simulation.start(nodes["d-1"])

    ran = simulate(counting(1, stop_after_s=5.0), tmp_path, script)
    assert count_at(ran, 3.0) == count_at(ran, 1.1)
    assert count_at(ran, 5.0) == pytest.approx(9 + 19, abs=2)
    assert ran.uses["d-1"].busy_s == pytest.approx(3.0, abs=0.05)


def test_an_algorithm_that_raises_ends_its_node_with_its_last_words(tmp_path: Path) -> None:
    plan = star(1, algorithm=Chosen("counting", {"raises_at": 5}), stop_after_s=3.0)
    ran = simulate(plan, tmp_path)
    exits = [item for item in ran.items if isinstance(item, NodeExit) and item.node == "coordinator"]
    assert [(each.returncode, each.asked) for each in exits] == [(1, False)]
    assert "ZeroDivisionError: as told" in exits[0].last_words
    assert "ZeroDivisionError: as told" in (tmp_path / "coordinator" / "stderr").read_text()


def test_every_byte_offered_to_a_link_was_delivered_or_dropped_and_nodes_agree_with_links(tmp_path: Path) -> None:
    ran = simulate(counting(3, shape=LOSSY, stop_after_s=5.0), tmp_path)
    for count in ran.links.values():
        assert count.dropped_bytes is not None
        assert count.offered_packets == count.delivered_packets + sum(count.dropped.values()) + count.in_flight_packets
        assert count.offered_bytes == count.delivered_bytes + sum(count.dropped_bytes.values()) + count.in_flight_bytes
    sent = {name: sum(row[1] for row in rows) for name, rows in ran.traffic.items()}
    received = {name: sum(row[2] for row in rows) for name, rows in ran.traffic.items()}
    for name in ("d-1", "d-2", "d-3"):
        assert sent[name] == ran.links[f"{name}>coordinator"].offered_bytes
        assert received[name] == ran.links[f"coordinator>{name}"].delivered_bytes
    assert sent["coordinator"] == sum(ran.links[f"coordinator>{name}"].offered_bytes for name in ("d-1", "d-2", "d-3"))


def test_leaving_an_interrupted_simulation_ends_every_node(tmp_path: Path) -> None:
    plan = counting(2)

    async def main() -> list[NodeLine | NodeExit]:
        async with Simulation(plan, tmp_path) as simulation:
            for node in plan.nodes:
                await simulation.start(node)
            await simulation.begin()
            await simulation.sleep_until(1.0)
        return [item async for item in simulation.output()]

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        items = runner.run(main())
    assert sorted(item.node for item in items if isinstance(item, NodeExit)) == ["coordinator", "d-1", "d-2"]


def test_it_refuses_a_real_clock(tmp_path: Path) -> None:
    async def main() -> None:
        async with Simulation(counting(), tmp_path):
            pass

    with pytest.raises(TypeError, match="runs on a VirtualTimeLoop"):
        asyncio.run(main())
