"""How fast gossip is in simulation: `python -m bench.gossip`. Beside the bare arithmetic of the same learning.

Seconds are CPU seconds of this process, which has one thread: on an idle machine they are those of the clock.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from bench.figures import Figure, show
from bench.simulation import RULE, TASK, TIMES
from node_image.learner import build
from node_image.spec import Chosen, Peer
from orchestrator.links.shape import LinkShape
from orchestrator.plan import DirectedLink, Plan
from orchestrator.simulation.substrate import Simulation
from orchestrator.simulation.virtual_time import VirtualTimeLoop
from orchestrator.substrates.base import NodeExit, NodeLine
from tests.plans import star

LINK = LinkShape(rate_bps=20e6, delay_s=0.005, queue_bytes=250_000)


def ring(devices: int, algorithm: Chosen) -> Plan:
    """Devices on a ring without a coordinator, each with an equal share of 1,500 digits."""
    plan = star(devices, algorithm=algorithm, task=TASK, rule=RULE, stop_after_s=3600.0)
    nodes = list(plan.nodes[1:])
    pairs = [(number, (number + 1) % devices) for number in range(devices)]
    around: dict[int, list[int]] = {number: [] for number in range(devices)}
    for a, b in pairs:
        around[a].append(b)
        around[b].append(a)
    placed = tuple(
        replace(
            node,
            spec=replace(
                node.spec,
                coordinator=None,
                peers=tuple(Peer(nodes[other].name, nodes[other].address) for other in around[number]),
            ),
        )
        for number, node in enumerate(nodes)
    )
    ends = [(nodes[a].name, nodes[b].name) for a, b in pairs] + [(nodes[b].name, nodes[a].name) for a, b in pairs]
    links = tuple(DirectedLink(f"{a}>{b}", a, b, LINK, seed) for seed, (a, b) in enumerate(ends))
    return replace(plan, nodes=placed, links=links)


def bare(devices: int, rounds: int, steps: int) -> float:
    """Device rounds a second of plain torch: steps on each share, then each model's mean with its neighbours'."""
    task = build(star(devices, task=TASK, rule=RULE).nodes[1].spec).task
    x = torch.from_numpy(task.train_x).float().flatten(1) * task.scale
    y = torch.from_numpy(task.train_y)
    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    shares = torch.arange(len(y)).tensor_split(devices)
    models = [[each.detach().clone() for each in net.parameters()] for _ in shares]
    began = time.process_time()
    for _ in range(rounds):
        changes = []
        for share, model in zip(shares, models, strict=True):
            for weights, own in zip(net.parameters(), model, strict=True):
                weights.data.copy_(own)
            for _ in range(steps):  # a share is one minibatch
                net.zero_grad()
                loss = cross_entropy(net(x[share]), y[share])
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
                for weights in net.parameters():
                    if weights.grad is not None:
                        weights.data -= 0.1 * weights.grad
            changes.append([weights.data - own for weights, own in zip(net.parameters(), model, strict=True)])
        models = [
            [
                (before + own + after) / 3 + change
                for before, own, after, change in zip(
                    models[number - 1], models[number], models[(number + 1) % devices], changes[number], strict=True
                )
            ]
            for number in range(devices)
        ]
    return devices * rounds / (time.process_time() - began)


async def drive(plan: Plan) -> float:
    """Run a plan until every device has returned; CPU seconds from its begin."""
    async with Simulation(plan, Path(tempfile.gettempdir())) as simulation:

        async def listen() -> None:
            left = len(plan.nodes)
            async for item in simulation.output():
                if isinstance(item, NodeExit) and not item.asked:
                    raise RuntimeError(item.last_words)
                left -= isinstance(item, NodeLine) and '"event":"finished"' in item.line
                if not left:
                    return

        listening = asyncio.create_task(listen())
        for node in plan.nodes:
            await simulation.start(node)
        began = time.process_time()
        await simulation.begin()
        await listening
        return time.process_time() - began


def gossip(devices: int, rounds: int, steps: int) -> float:
    """Device rounds a second of DSGD in simulation."""
    plan = ring(devices, Chosen("dsgd", {"local_steps": steps, "rounds": rounds, "evaluate_every": 0}))
    build(plan.nodes[0].spec)  # what all share: data, split, module
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return devices * rounds / runner.run(drive(plan))


def compared(devices: int, rounds: int, steps: int) -> Figure:
    """Gossip's speed as a share of the bare arithmetic's: the best of each, taken in turn."""
    alone, ours = map(
        max, zip(*((bare(devices, rounds, steps), gossip(devices, rounds, steps)) for _ in range(TIMES)), strict=True)
    )
    what = f"DSGD on a ring, {devices} devices, {steps} step{'s' * (steps > 1)} a round"
    beside = f"{ours:.0f} device rounds/s, bare torch: {alone:.0f}"
    return Figure(what, 100 * ours / alone, "%", 60.0, more_is_better=True, beside=beside)


def figures() -> Iterator[Figure]:
    """Two figures: as much talk as there can be, and the five steps a round that gossip is rather run with."""
    yield compared(100, 40, 1)
    yield compared(100, 20, 5)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for each in figures():
        show(each)
