"""How fast the simulation is: `python -m bench.simulation`. Figures beside a bare loop's, measured in the same run.

Seconds are CPU seconds of this process, which has one thread: on an idle machine they are those of the clock.
"""

import asyncio
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from bench.figures import Figure, show
from node_image import registry
from node_image.learner import build
from node_image.parameters import parameter
from node_image.runtime import NodeRuntime
from node_image.spec import Chosen, TaskSpec
from orchestrator.plan import Plan
from orchestrator.simulation.substrate import Simulation
from orchestrator.simulation.virtual_time import VirtualTimeLoop
from orchestrator.substrates.base import NodeExit, NodeLine
from tests.plans import star

TASK = TaskSpec("digits", partition=Chosen("in_order"))
TIMES = 3
RULE = Chosen("backprop", {"learning_rate": 0.1, "batch_size": 32, "shuffle": False})


@dataclass(frozen=True)
class Trivial:
    """Parameters of the algorithm that only talks."""

    rounds: int = parameter(30, "how often", minimum=0)


class Echo:
    """Every round the coordinator sends each device a number, and each sends it back."""

    Parameters = Trivial

    async def device(self, node: NodeRuntime, params: Trivial) -> None:
        """Answer."""
        while (message := await node.receive()) is not None:
            await node.send(message.sender, "echo", message.body)

    async def coordinator(self, node: NodeRuntime, params: Trivial) -> None:
        """Ask all, wait for all."""
        for number in range(params.rounds):
            for peer in node.peers:
                await node.send(peer, "number", {"round": number})
            for _ in node.peers:
                await node.receive()


async def drive(plan: Plan) -> float:
    """Run a plan to the coordinator's end (or the plan's); seconds of real time from its begin."""
    over = asyncio.Event()
    async with Simulation(plan, Path(tempfile.gettempdir())) as simulation:

        async def listen() -> None:
            async for item in simulation.output():
                if isinstance(item, NodeExit) and not item.asked:
                    raise RuntimeError(item.last_words)
                if isinstance(item, NodeLine) and item.node == "coordinator" and '"event":"finished"' in item.line:
                    over.set()

        listening = asyncio.create_task(listen())
        for node in plan.nodes:
            await simulation.start(node)
        began = time.process_time()
        await simulation.begin()
        await asyncio.wait({listening, asyncio.create_task(over.wait())}, return_when=asyncio.FIRST_COMPLETED)
        took_s = time.process_time() - began
    await listening
    return took_s


def simulate(plan: Plan) -> float:
    """Seconds that a plan takes."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(drive(plan))


def fedavg(devices: int, rounds: int) -> float:
    """Device updates a second in simulation: one epoch of batches of 32 on an equal share of 1,500 digits."""
    plan = star(
        devices,
        algorithm=Chosen("fedavg", {"local_epochs": 1, "rounds": rounds}),
        task=TASK,
        rule=RULE,
        stop_after_s=3600.0,
    )
    build(plan.nodes[1].spec)  # what all share: data, split, module
    return devices * rounds / simulate(plan)


def bare_loop(devices: int, rounds: int) -> float:
    """Device updates a second of the same learning as a plain loop of plain torch."""
    task = build(star(devices, task=TASK, rule=RULE).nodes[1].spec).task
    x = torch.from_numpy(task.train_x).float().flatten(1) * task.scale
    y = torch.from_numpy(task.train_y)
    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    shares = torch.arange(len(y)).tensor_split(devices)
    start = [each.detach().clone() for each in net.parameters()]
    began = time.process_time()
    for _ in range(rounds):
        mean = [torch.zeros_like(each) for each in start]
        for share in shares:
            for weights, first in zip(net.parameters(), start, strict=True):
                weights.data.copy_(first)
            for first_sample in range(0, len(share), 32):
                batch = share[first_sample : first_sample + 32]
                net.zero_grad()
                loss = cross_entropy(net(x[batch]), y[batch])
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
                for weights in net.parameters():
                    if weights.grad is not None:
                        weights.data -= 0.1 * weights.grad
            for total, weights in zip(mean, net.parameters(), strict=True):
                total += weights.data * (len(share) / len(y))
        start = mean
    return devices * rounds / (time.process_time() - began)


def trivial(devices: int, rounds: int) -> float:
    """Seconds for an algorithm that only sends a number to each device and back."""
    registry.ALGORITHMS = {**registry.ALGORITHMS, "echo": Echo()}
    plan = star(devices, algorithm=Chosen("echo", {"rounds": rounds}), task=TASK, rule=RULE, stop_after_s=3600.0)
    return simulate(plan)


def idle(devices: int) -> tuple[float, float]:
    """Seconds for a minute of many connected devices that do nothing, and the memory (bytes) of all afterwards."""
    registry.ALGORITHMS = {**registry.ALGORITHMS, "echo": Echo()}
    task = TaskSpec("moving_digits", {"clips": devices, "test_clips": 100, "frames": 2}, partition=Chosen("in_order"))
    plan = star(devices, algorithm=Chosen("echo", {"rounds": 0}), task=task, rule=RULE, stop_after_s=60.0)

    async def wait() -> None:
        async with Simulation(plan, Path(tempfile.gettempdir())) as simulation:
            for node in plan.nodes:
                await simulation.start(node)
            await simulation.begin()
            await simulation.sleep_until(60.0)
            await simulation.traffic()

    began = time.process_time()
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(wait())
    return time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def compared(devices: int, rounds: int) -> Figure:
    """The simulation's updates a second as a share of the bare loop's: the best of each, taken in turn."""
    bare, ours = map(
        max, zip(*((bare_loop(devices, rounds), fedavg(devices, rounds)) for _ in range(TIMES)), strict=True)
    )
    beside = f"{ours:.0f} updates/s, bare loop of torch: {bare:.0f}"
    return Figure(f"FedAvg, {devices} devices", 100 * ours / bare, "%", 60.0, more_is_better=True, beside=beside)


def figures() -> Iterator[Figure]:
    """Five figures."""
    yield compared(100, 20)
    yield compared(1000, 20)
    yield Figure("a number and back, 200 devices, a message", trivial(200, 30) / 12_000 * 1e6, "us")
    took_s, memory_bytes = idle(10_000)
    yield Figure("10,000 idle devices for a minute, CPU time", took_s, "s")
    yield Figure("10,000 idle devices for a minute, memory", memory_bytes / 1e9, "GB", 2.0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for each in figures():
        show(each)
