"""Slowed time: what stands on the run's clock keeps its figures, and real time is so many times as long."""

import asyncio
import select
import socket
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from node_image.clock import SlowedLoop, event_loop, scenario_seconds, slow_down_of_loop
from node_image.connection import tune
from node_image.handshake import Identity
from node_image.learner import Learner
from node_image.recorder import Recorder
from node_image.runtime import Cost
from node_image.spec import NodeSpec
from node_image.tcp import TcpRuntime
from orchestrator.errors import MachineCannotError
from orchestrator.links.forwarding import Forwarding
from orchestrator.links.shape import BurstLoss, LinkShape, TraceRef, slowed
from orchestrator.links.timer import Timer
from orchestrator.outcome import RunOptions
from orchestrator.plan import DirectedLink, Plan, make_plan, plan_from_json, plan_json
from orchestrator.preflight import preflight
from orchestrator.receipt import Check, slow_down_needed
from orchestrator.run import _about_time, _warn_of_load
from orchestrator.scenario import load_scenario
from orchestrator.substrates import SUBSTRATES
from orchestrator.substrates.mininet_links import MininetLinks
from orchestrator.substrates.placed import HEADROOM, Placed
from tests.plans import star

SCENARIO = """
name: slow
stop_after: 10 s
devices:
  - {group: pi, count: 1, profile: raspberry_pi_4, link: {rate: 1 Mbit/s, delay: 10 ms}}
learning: {task: {name: digits}, model: {name: mlp}, algorithm: {name: fedavg}}
"""


def planned(folder: Path, *changes: str) -> Plan:
    path = folder / "slow.yaml"
    path.write_text(SCENARIO)
    return make_plan(load_scenario(path, changes))


def test_the_clock_of_a_loop_runs_so_many_times_slower_than_the_real_one() -> None:
    async def measure() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        real, ours = time.monotonic(), loop.time()
        await asyncio.sleep(0.05)
        return time.monotonic() - real, loop.time() - ours

    with asyncio.Runner(loop_factory=lambda: event_loop(4.0)) as runner:
        real_s, ours_s = runner.run(measure())
    assert real_s / ours_s == pytest.approx(4, rel=0.02)
    assert ours_s >= 0.049


def test_timeouts_of_a_slowed_loop_are_slowed_with_it() -> None:
    async def in_time(seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await asyncio.to_thread(time.sleep, 0.1)
        except TimeoutError:
            return False
        return True

    with asyncio.Runner(loop_factory=lambda: event_loop(10.0)) as runner:
        assert runner.run(in_time(0.05))  # half a real second
        assert not runner.run(in_time(0.002))


def test_real_lengths_of_time_are_turned_into_those_of_the_loop() -> None:
    async def turned() -> tuple[float, float]:
        return slow_down_of_loop(), scenario_seconds(2.0)

    with asyncio.Runner(loop_factory=lambda: event_loop(4.0)) as runner:
        assert runner.run(turned()) == (4.0, 0.5)
    assert asyncio.run(turned()) == (1.0, 2.0)
    with asyncio.Runner(loop_factory=lambda: event_loop(1.0)) as runner:
        assert not isinstance(runner.get_loop(), SlowedLoop)


def test_work_takes_so_many_times_what_the_device_or_this_processor_needs(tmp_path: Path) -> None:
    spec = star(1).nodes[1].spec  # 1 GMAC/s

    def busy() -> float:
        began = time.thread_time()
        while time.thread_time() < began + 0.02:
            pass
        return time.thread_time() - began

    async def measure() -> tuple[float, float, float]:
        identity = Identity(spec.name, "0" * 16, bytes(32), {"coordinator": bytes(32)}, 1)
        recorder = cast(Recorder, None)  # nothing is recorded
        runtime = TcpRuntime(spec, identity, cast(Learner, None), recorder, tmp_path)
        try:
            await runtime.start(time.monotonic() - 40)
            began_s = runtime.now()
            used_s = await runtime.compute(busy, Cost(1.0, 0.0))  # as fast as the host
            host_s = runtime.now() - began_s
            runtime.slow_down(1.0)
            before_s = runtime.now()
            await runtime.compute(lambda: None, Cost(3e7, 0.0))
            return began_s, host_s / used_s, runtime.now() - before_s
        finally:
            await runtime.close()

    with asyncio.Runner(loop_factory=lambda: event_loop(4.0)) as runner:
        began_s, of_its_cpu_time, board_s = runner.run(measure())
    assert began_s >= 10  # 40 real seconds ago
    assert of_its_cpu_time >= 1  # of the run's seconds, where it took a quarter of them
    assert board_s >= 0.03


def test_the_kernel_keeps_idle_connections_for_as_long_in_the_runs_time() -> None:
    async def told() -> tuple[int, ...]:
        with socket.create_server(("127.0.7.1", 0)) as listening:
            _, writer = await asyncio.open_connection(*listening.getsockname())
            tune(writer)
            tcp = writer.get_extra_info("socket")
            names = (socket.TCP_USER_TIMEOUT, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            found = tuple(tcp.getsockopt(socket.IPPROTO_TCP, name) for name in names)
            writer.close()
        return found

    with asyncio.Runner(loop_factory=lambda: event_loop(4.0)) as runner:
        assert runner.run(told()) == (20_000, 120, 20, 3)


def test_a_slowed_shape_has_longer_times_a_lower_rate_and_the_same_bytes_and_chances() -> None:
    shape = LinkShape(8e6, 0.02, 0.003, "pareto", 0.01, BurstLoss(0.1, 0.5), 0.1, 0.2, 0.3, 60_000)
    found = slowed(shape, 4)
    assert (found.rate_bps, found.delay_s, found.jitter_s) == (2e6, 0.08, 0.012)
    assert replace(found, rate_bps=8e6, delay_s=0.02, jitter_s=0.003) == shape
    assert slowed(LinkShape(), 4) == LinkShape()
    traced = LinkShape(trace=TraceRef("cell.csv", "0", "csv"))
    assert slowed(traced, 1) == traced
    with pytest.raises(ValueError, match="cannot be slowed"):
        slowed(traced, 2)


def test_the_kernel_is_told_slowed_shapes_and_remembers_those_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[LinkShape] = []

    def commands(shape: LinkShape, device: str, *, up: bool) -> tuple[tuple[str, ...], ...]:
        told.append(shape)
        return ()

    links = MininetLinks(4.0, commands, lambda *_, **__: [])
    links._devices = {"a>b": "eb0"}
    monkeypatch.setattr(links, "_in", lambda *_: "")
    shape = LinkShape(8e6, 0.02)
    asyncio.run(links.shape(DirectedLink("a>b", "a", "b", shape, 0), shape, True))
    assert told == [LinkShape(2e6, 0.08)]
    assert links._shapes == {"a>b": (shape, True)}  # to be laid again where the node comes back


def test_a_timer_of_the_fabric_goes_off_at_an_instant_of_the_slowed_clock() -> None:
    timer = Timer(4.0)
    try:
        began = time.monotonic()
        timer.set(began / 4 + 0.01)
        assert select.select([timer.fd], [], [], 5)[0]
        assert time.monotonic() - began >= 0.04
    finally:
        timer.close()


def test_forwarding_counts_in_the_runs_seconds() -> None:
    forwarding = Forwarding(4.0)
    try:
        forwarding.begin(time.monotonic() - 8.0)  # two of the run's seconds ago
        assert forwarding._bin == 20
    finally:
        forwarding.close()


class Bounded:
    """A control group that remembers what it was told."""

    share: float | None = None

    def set_share(self, share: float | None) -> tuple[int, int] | None:
        self.share = share
        return None


def test_the_bound_of_a_node_is_of_real_seconds_since_its_work_is_paced(tmp_path: Path) -> None:
    shares = []
    for slow_down in (1.0, 4.0):
        node = star(1).nodes[1]
        node, group = replace(node, spec=replace(node.spec, slow_down=slow_down)), Bounded()
        placed = Placed(node, 0, group, tmp_path, share=0.2)  # type: ignore[arg-type]
        placed.bound()
        assert group.share is not None
        shares.append(group.share)
    assert shares == [pytest.approx(HEADROOM * 0.2)] * 2


def test_the_plan_and_every_node_are_told_and_at_full_speed_nothing_is_written(tmp_path: Path) -> None:
    plan = planned(tmp_path, "slow_down=4")
    assert {plan.slow_down, *(node.spec.slow_down for node in plan.nodes)} == {4.0}
    assert plan_from_json(plan_json(plan)) == plan
    assert NodeSpec.from_json(plan.nodes[0].spec.to_json()).slow_down == 4
    assert "slow_down" not in plan_json(planned(tmp_path))


@pytest.mark.parametrize(
    ("substrate", "changes", "words"),
    [
        ("ssh", {}, "boards and their radios have only the real clock"),
        ("mininet", {"meter": "rapl"}, "4 times the run's length"),
    ],
)
def test_what_cannot_be_slowed_is_refused_before_anything_is_made(
    substrate: str, changes: dict[str, str], words: str, tmp_path: Path
) -> None:
    kind = replace(SUBSTRATES[substrate], refuses=lambda _plan, _options: [])
    with pytest.raises(MachineCannotError, match=words):
        preflight(planned(tmp_path, "slow_down=4"), kind, RunOptions(tmp_path, **changes))  # type: ignore[arg-type]


def test_simulation_takes_no_notice(tmp_path: Path) -> None:
    preflight(planned(tmp_path, "slow_down=4"), SUBSTRATES["simulation"], RunOptions(tmp_path))


@pytest.mark.parametrize(("slow_down", "too_long"), [(4.0, False), (40.0, True)])
def test_a_run_whose_round_trips_outlast_tcps_first_time_out_says_so(slow_down: float, too_long: bool) -> None:
    plan = replace(star(1, shape=LinkShape(1e6, 0.02)), slow_down=slow_down)
    slowed_run = SimpleNamespace(kind=SUBSTRATES["mininet"], plan=plan, is_slowed=True)
    said = _about_time(slowed_run)  # type: ignore[arg-type]
    assert f"each of its seconds took {slow_down:g} real ones" in said
    assert ("waits for a SYN" in said) == too_long


@pytest.mark.parametrize(("slow_down", "warnings"), [(1.0, 1), (100_000.0, 0)])
def test_a_run_whose_steps_alone_are_too_much_says_so_as_it_begins(slow_down: float, warnings: int) -> None:
    said: list[str] = []
    plan = replace(star(1), slow_down=slow_down)
    begun = SimpleNamespace(kind=SUBSTRATES["mininet"], plan=plan, display=SimpleNamespace(warn=said.append))
    substrate = SimpleNamespace(facts=lambda: {"cpu_shares": {"a": None, "b": 30_000.0, "c": 20_000.0}})
    _warn_of_load(begun, substrate)  # type: ignore[arg-type]
    assert len(said) == warnings
    assert all("want 50000.0 cores" in text for text in said)


@pytest.mark.parametrize(
    ("check", "needed"),
    [
        (Check("step_time_ratio", "pi", 1.0, 1.9, 0.25, False), 4.0),
        (Check("lateness_p99_s", "fabric", 0.0, 0.0125, 0.005, False), 5.0),
        (Check("waiting_for_cpu_ratio", "a", 0.0, 0.7, 0.35, False), 4.0),
        (Check("rate_bps", "a>b", 4e6, 2e6, 2e5, False), 4.0),
        (Check("rtt_s", "a>b", 0.01, 0.014, 0.001, False), 8.0),
        (Check("rate_bps", "a>b", 4e6, 8e6, 2e5, False), None),  # too fast: no matter of time
        (Check("loss", "a>b", 0.0, 0.5, 0.01, False), None),
        (Check("lateness_p99_s", "fabric", 0.0, 0.001, 0.005, True), None),
    ],
)
def test_the_receipt_says_how_slow_this_machine_would_have_to_be(check: Check, needed: float | None) -> None:
    assert slow_down_needed([check], 2.0) == needed
