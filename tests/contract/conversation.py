"""A world in which algorithms converse without network, torch or real time: what is tested is who says what to whom.

Nodes run on the virtual clock; messages lie in memory. A `Post` decides each message's fate: the delays (s) after
which copies of it arrive, none if it is lost. The fake learner only counts.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from node_image.learner import Learner
from node_image.network import Mask, Part
from node_image.outcomes import DivergedError, Evaluation, NoSamplesError, Phase
from node_image.records import METRICS
from node_image.registry import Algorithm
from node_image.runtime import Body, Cost, Message
from node_image.spec import Limits
from orchestrator.simulation.virtual_time import VirtualTimeLoop

T = TypeVar("T")
Vector = NDArray[np.float32]
COORDINATOR = "coordinator"
PARTS = (  # one neuron, and a head of one class
    Part("0.weight", 0, 1, (1, 1), 0),
    Part("1.weight", 1, 2, (1, 1), 1),
    Part("1.bias", 2, 3, (1,), 1),
)
SIZE = PARTS[-1].end


@dataclass(frozen=True)
class Sent:
    """One message on its way: when it left, from whom to whom."""

    t: float
    sender: str
    dest: str
    kind: str
    body: Body


Post = Callable[[Sent], tuple[float, ...]]


def prompt(message: Sent) -> tuple[float, ...]:
    """Every message arrives once, after 10 ms."""
    return (0.01,)


@dataclass
class FakeLearner:
    """Training adds `drift` to every weight that may move and takes `step_s` a step; evaluating takes 1 ms.

    `pulls` are the proximal terms of its phases, and `steps` their lengths.
    """

    index: int
    drift: float = 1.0
    own_samples: int = 10
    step_s: float = 0.1
    diverges: bool = False
    selected: Mask | None = None
    parameters: int = SIZE
    parts: tuple[Part, ...] = PARTS
    head_start: int = PARTS[-2].start
    classes: int = 1
    ready_s: float = 0.0
    phases: int = 0
    held: Vector = field(default_factory=lambda: np.zeros(SIZE, np.float32))
    taken: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    pulls: list[float] = field(default_factory=list)

    @property
    def public(self) -> NDArray[np.uint8]:
        return np.arange(2, dtype=np.uint8)

    @property
    def own(self) -> range:
        return range(self.own_samples)

    def weights(self) -> Vector:
        return self.held.copy()

    def load(self, weights: Vector) -> None:
        assert weights.dtype == np.float32
        assert weights.shape == (SIZE,)
        self.held = weights

    def samples(self, now: float) -> int:
        return len(self.taken) or self.own_samples

    def arrival_s(self, samples: int) -> float:
        return 0.0

    def epoch_steps(self, now: float) -> int:
        return 1

    def until_phase_s(self, now: float) -> float:
        return 0.0

    def cost(self, steps: int, now: float, trainable: Mask | None = None) -> Cost:
        return Cost(macs=steps * self.step_s, ops=0)

    def trainable(self) -> Mask | None:
        return self.selected

    def label_counts(self, now: float) -> NDArray[np.int64]:
        return np.array([self.samples(now)], np.int64)

    def features(self, x: NDArray[np.uint8]) -> Vector:
        return x.reshape(len(x), int(np.prod(x.shape[1:])))[:, :1].astype(np.float32)

    def features_cost(self, samples: int) -> Cost:
        return Cost(macs=0.001, ops=0)

    def predict(self, x: NDArray[np.uint8], weights: Vector | None = None) -> Vector:
        return np.ones((len(x), self.classes), np.float32)

    def evaluation_cost(self) -> Cost:
        return Cost(macs=0.001, ops=0)

    def train(
        self,
        steps: int,
        now: float,
        rng: np.random.Generator,
        proximal: float = 0.0,
        trainable: Mask | None = None,
    ) -> Phase:
        if self.diverges:
            raise DivergedError("told to")
        if not self.samples(now):
            raise NoSamplesError("told to have none")
        moves = np.ones(SIZE, np.bool_)
        for mask in (trainable, self.selected):
            moves &= True if mask is None else mask
        self.held = self.held + np.where(moves, np.float32(self.drift), np.float32(0.0))
        self.phases += 1
        self.steps.append(steps)
        self.pulls.append(proximal)
        return Phase(loss=1.0, samples=self.own_samples, steps=steps)

    def evaluate(self, weights: Vector | None = None) -> Evaluation:
        tested = self.held if weights is None else weights
        return Evaluation(accuracy=0.5, loss=float(tested[0]), top_k={3: 0.7}, samples=4)

    def raw(self, first: int, count: int, now: float = 0.0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        chosen = np.arange(first, min(first + count, self.own_samples), dtype=np.uint8)
        return 100 * self.index + chosen, np.zeros_like(chosen)

    def take(self, x: NDArray[np.generic], y: NDArray[np.generic]) -> None:
        if x.shape != y.shape:
            raise ValueError("told to be alike")
        self.taken.extend(int(each) for each in np.asarray(x, np.int64))


class FakeNode:
    """A NodeRuntime of the world."""

    def __init__(self, world: "World", name: str, learner: Learner) -> None:
        self.name = name
        self.index = world.devices.index(name) if name != COORDINATOR else -1
        self.peers = world.devices if name == COORDINATOR else (COORDINATOR,)
        self.coordinator = None if name == COORDINATOR else COORDINATOR
        self.rng = np.random.default_rng(self.index + 1)
        self.learner = learner
        self.limits = Limits()
        self.charge: float | None = None
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._world = world

    def position_m(self) -> tuple[float, float] | None:
        return None

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def elapsed(self) -> float:
        return self.now()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def send(self, dest: str, kind: str, body: Body) -> None:
        self._world.post(Sent(self.now(), self.name, dest, kind, dict(body)))

    async def receive(self, within: float | None = None) -> Message | None:
        try:
            async with asyncio.timeout(within):
                return await self.inbox.get()
        except TimeoutError:
            return None

    async def compute(self, work: Callable[[], T], cost: Cost) -> T:
        result = work()
        await asyncio.sleep(cost.macs / self._world.macs_per_s)
        return result

    def record(self, metric: str, value: float, **labels: str) -> None:
        assert metric in METRICS, f"{metric} is not a metric"
        assert np.isfinite(value), f"{metric} is {value}"
        self._world.records.append(Recorded(self.now(), self.name, metric, float(value), labels))

    async def save(self, state: Body) -> None:
        self._world.checkpoints[self.name] = dict(state)

    def restored(self) -> Body | None:
        return self._world.checkpoints.get(self.name)


@dataclass(frozen=True)
class Recorded:
    """One record, with who wrote it."""

    t: float
    node: str
    metric: str
    value: float
    labels: Mapping[str, str]


class World:
    """Some devices and a coordinator that run one algorithm; a test looks at `sent`, `records` and `checkpoints`."""

    def __init__(self, algorithm: Algorithm, devices: int, post: Post = prompt, **parameters: Any) -> None:
        self.devices = tuple(f"device{index}" for index in range(devices))
        self.learners = {name: FakeLearner(index) for index, name in enumerate(self.devices)}
        self.sent: list[Sent] = []
        self.records: list[Recorded] = []
        self.checkpoints: dict[str, Body] = {}
        self.real_learners: dict[str, Learner] = {}
        self.macs_per_s = 1.0  # the fake learner's costs are seconds
        self._algorithm = algorithm
        self._params = algorithm.Parameters(**parameters)
        self._post = post
        self._nodes: dict[str, FakeNode] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._plans: list[tuple[float, Callable[[], None]]] = []

    def at(self, t: float, action: Callable[[], None]) -> None:
        """Do something at this time of the run."""
        self._plans.append((t, action))

    def start(self, name: str) -> None:
        """Begin a (new) life of a node: nothing but its checkpoint is left of a former one."""
        known = self.learners.get(name, FakeLearner(-1))
        fresh = replace(known, phases=0, held=np.zeros(SIZE, np.float32), taken=[], steps=[], pulls=[])
        self.learners[name] = fresh
        node = FakeNode(self, name, self.real_learners.get(name, cast(Learner, fresh)))
        part = self._algorithm.coordinator if name == COORDINATOR else self._algorithm.device
        self._nodes[name] = node
        self._tasks[name] = asyncio.get_running_loop().create_task(part(node, self._params), name=name)

    def crash(self, *names: str) -> None:
        """End nodes at once; what is on its way to them is lost."""
        for name in names:
            self._nodes.pop(name)
            self._tasks.pop(name).cancel()

    def post(self, message: Sent) -> None:
        """Hand a message, true or forged, to the post."""
        self.sent.append(message)
        for delay in self._post(message):
            asyncio.get_running_loop().call_later(delay, self._deliver, message, self._nodes.get(message.dest))

    def run(self, seconds: float, start: tuple[str, ...] | None = None) -> None:
        """Start everybody (or those named) and let so much time pass, or less if the coordinator ends before."""
        loop = VirtualTimeLoop()
        try:
            loop.run_until_complete(self._live(seconds, (COORDINATOR, *self.devices) if start is None else start))
        finally:
            loop.close()

    async def _live(self, seconds: float, start: tuple[str, ...]) -> None:
        loop = asyncio.get_running_loop()
        for name in start:
            self.start(name)
        for t, action in self._plans:
            loop.call_later(t, action)
        ended = loop.time() + seconds
        while loop.time() < ended and not self._over():
            await asyncio.sleep(min(0.5, ended - loop.time()))
        for name, task in self._tasks.items():
            if task.done() and task.exception() is not None:
                raise AssertionError(f"{name} crashed") from task.exception()
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _over(self) -> bool:
        failed = any(task.done() and task.exception() is not None for task in self._tasks.values())
        coordinator = self._tasks.get(COORDINATOR)
        return failed or (coordinator is not None and coordinator.done())

    def _deliver(self, message: Sent, addressee: FakeNode | None) -> None:
        if addressee is not None and self._nodes.get(message.dest) is addressee:
            addressee.inbox.put_nowait(Message(message.kind, message.sender, message.body, payload_bytes=64))

    def values(self, metric: str, node: str = COORDINATOR) -> list[float]:
        """What a node recorded of a metric, in order."""
        return [each.value for each in self.records if each.metric == metric and each.node == node]

    def said(self, sender: str | None = None) -> Counter[str]:
        """How many messages of each kind were sent (by one node, or by all)."""
        return Counter(each.kind for each in self.sent if sender in (None, each.sender))

    def refused(self) -> Counter[str]:
        """How many messages were refused, by reason."""
        return Counter(each.labels["reason"] for each in self.records if each.metric == "discarded_updates")
