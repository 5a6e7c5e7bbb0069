"""A world of devices that speak among themselves, along a graph: no coordinator, no torch, no network, no real time."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from node_image.learner import Learner
from node_image.registry import Algorithm
from tests.contract.conversation import SIZE, FakeNode, Post, Recorded, Sent, World, prompt

Adjacency = NDArray[np.bool_]


class Peer(FakeNode):
    """A device that knows its neighbours, and where it is."""

    def __init__(self, world: "PeerWorld", name: str, learner: Learner) -> None:
        super().__init__(world, name, learner)
        self.peers = world.around[name]
        self.coordinator = None
        self._place = world.places.get(name)

    def position_m(self) -> tuple[float, float] | None:
        return self._place


class PeerWorld(World):
    """Device `device<i>` speaks to `device<j>` where `adjacency[i, j]`."""

    def __init__(self, algorithm: Algorithm, adjacency: Adjacency, post: Post = prompt, **parameters: Any) -> None:
        super().__init__(algorithm, len(adjacency), post, **parameters)
        self.around = {
            name: tuple(self.devices[other] for other in np.flatnonzero(row))
            for name, row in zip(self.devices, adjacency, strict=True)
        }
        self.places: dict[str, tuple[float, float]] = {}
        self.first: Mapping[str, float] = {}  # what all weights of a device are when it starts

    def start(self, name: str) -> None:
        held = np.full(SIZE, self.first.get(name, 0.0), np.float32)
        fresh = replace(self.learners[name], phases=0, held=held, taken=[], steps=[], pulls=[])
        self.learners[name] = fresh
        node = Peer(self, name, self.real_learners.get(name, cast(Learner, fresh)))
        self._nodes[name] = node
        part = self._algorithm.device(node, self._params)
        self._tasks[name] = asyncio.get_running_loop().create_task(part, name=name)

    def live(self, seconds: float) -> None:
        """Start all devices and let so much time pass."""
        self.run(seconds, start=self.devices)

    def model(self, name: str) -> float:
        """The first weight of a device, now."""
        return float(self.learners[name].held[0])

    def recorded(self, metric: str) -> list[Recorded]:
        """All records of a metric."""
        return [each for each in self.records if each.metric == metric]


def ring(devices: int) -> Adjacency:
    """Each to the next, the last to the first."""
    steps = np.abs(np.subtract.outer(np.arange(devices), np.arange(devices)))
    return np.asarray((steps == 1) | (steps == devices - 1))


def full(devices: int) -> Adjacency:
    """Each to every other."""
    return ~np.eye(devices, dtype=np.bool_)


def geometric(devices: int, range_m: float, seed: int) -> tuple[Adjacency, NDArray[np.float64]]:
    """Places in a square of 100 m, and who is in range of whom."""
    places = np.random.default_rng(seed).uniform(0.0, 100.0, (devices, 2))
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    return (apart <= range_m) & full(devices), places


def chance(seed: int, lost: float = 0.1, repeated: float = 0.1, slowest_s: float = 0.2) -> Post:
    """A post that loses, repeats, delays and so reorders, always alike for the same seed."""
    rng = np.random.default_rng(seed)

    def post(message: Sent) -> tuple[float, ...]:
        copies = 0 if rng.random() < lost else 2 if rng.random() < repeated else 1
        return tuple(rng.uniform(0.001, slowest_s, copies).tolist())

    return post


def forget(matches: Callable[[Sent], bool]) -> Post:
    """Messages that match are lost, all others arrive."""
    return lambda message: () if matches(message) else prompt(message)
