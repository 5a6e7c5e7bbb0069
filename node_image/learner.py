"""Learner: the model, the rule and the data of one node. Weights go in and out as one flat float32 vector.

All that learners of the same run have in common - samples, split, module, initial weights - exists once a process,
so that thousands of simulated devices fit in one. A learner itself holds its weights only once they differ from the
initial ones. Because the module is shared, one local phase or evaluation runs at a time in a process.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from node_image import registry
from node_image.data.partition import Indices, Split, split
from node_image.data.task import Labels, Samples, Task
from node_image.network import Network, flatten
from node_image.outcomes import DivergedError, Evaluation, NoSamplesError, Phase
from node_image.parameters import read
from node_image.runtime import Cost
from node_image.spec import NodeSpec

if TYPE_CHECKING:
    import torch

Vector = NDArray[np.float32]
TOP_K = (3, 5)  # also reported, where the task has more classes than that
EVALUATION_BATCH = 256
NOTHING: Indices = np.empty(0, np.int64)


@dataclass(slots=True)
class Pool:
    """Samples received from others, in memory for at most as many as the task has."""

    x: Samples
    y: Labels
    taken: int = 0


@dataclass(slots=True)
class Learner:
    """See the module's text. `own` are indices of this node's training samples, in order of arrival."""

    task: Task
    network: Network
    initial: Vector
    rule: registry.Rule
    rule_parameters: Any
    own: Indices = field(default_factory=lambda: NOTHING)
    stream_per_s: float | None = None
    _weights: Vector | None = None
    _pool: Pool | None = None

    @property
    def parameters(self) -> int:
        """Number of weights of the model."""
        return len(self.initial)

    @property
    def untouched(self) -> bool:
        """Whether the model still has its initial weights, which say nothing about learning."""
        return self._weights is None

    def weights(self) -> Vector:
        """A copy of the model's weights."""
        return self._held().copy()

    def load(self, weights: Vector) -> None:
        """Replace the model's weights. The vector is kept, not copied: its owner leaves it as it is."""
        if weights.shape != self.initial.shape or weights.dtype != np.float32:
            raise ValueError(
                f"the model has {self.parameters} float32 weights (found {weights.shape} of {weights.dtype})"
            )
        self._weights = weights

    def samples(self, now: float) -> int:
        """Number of samples there are to learn from at `now` (s): own ones that have arrived, or those taken in.

        Once all own samples have arrived, the stream goes on with repeats, which add nothing to learn from.
        """
        if self._pool is not None:
            return min(self._pool.taken, len(self._pool.y))
        if self.stream_per_s is None:
            return len(self.own)
        arrived = math.floor(now * self.stream_per_s + 1e-9)  # so that sample n is there at n / stream_per_s
        return min(len(self.own), max(0, arrived))

    def arrival_s(self, samples: int) -> float:
        """Time at which so many own samples will have arrived (all of them, where there are fewer)."""
        return min(samples, len(self.own)) / self.stream_per_s if self.stream_per_s else 0.0

    @property
    def ready_s(self) -> float:
        """Time at which the first minibatch will have arrived."""
        return self.arrival_s(self.rule_parameters.batch_size)

    def epoch_steps(self, now: float) -> int:
        """Minibatches in one pass over the samples there are at `now`."""
        return -(-self.samples(now) // int(self.rule_parameters.batch_size))

    def cost(self, steps: int, now: float) -> Cost:
        """Work of a local phase of so many steps."""
        there, batch = self.samples(now), self.rule_parameters.batch_size
        passes, rest = divmod(steps, max(1, math.ceil(there / batch)))
        return self.rule.cost(self.network, passes * there + rest * batch, steps)

    def train(self, steps: int, now: float, rng: np.random.Generator, proximal: float = 0.0) -> Phase:
        """One local phase: so many minibatches from passes over the samples there are at `now`.

        `proximal` pulls towards the weights at the start: proximal/2 ||w - w0||^2 is added to the loss.
        Raises NoSamplesError, and DivergedError (with the weights as before).
        """
        there = self.samples(now)
        if there == 0:
            raise NoSamplesError(
                f"no sample has arrived at {now:.3f} s; the first minibatch will at {self.ready_s:.3f} s"
            )
        with self.network.lock:
            return self._train(there, steps, rng, proximal)

    def evaluate(self, weights: Vector | None = None) -> Evaluation:
        """Test these weights on the whole test set; without any, the model's own. The model keeps its own."""
        import torch
        from torch.nn.functional import cross_entropy

        y = torch.from_numpy(self.task.test_y)
        with self.network.lock, torch.inference_mode():
            np.copyto(self.network.buffer, self._held() if weights is None else weights)
            scores = torch.cat(
                [
                    self.network.module(self._as_input(self.task.test_x[start : start + EVALUATION_BATCH]))
                    for start in range(0, len(y), EVALUATION_BATCH)
                ]
            )
            # Number of classes that score above the right one; a NaN counts as above.
            rank = (~(scores <= scores.gather(1, y[:, None]))).sum(dim=1)
            correct = scores.argmax(dim=1) == y
            loss = float(cross_entropy(scores, y))
        top_k = {k: float((rank < k).float().mean()) for k in TOP_K if k < self.task.classes}
        return Evaluation(float(correct.float().mean()), loss, top_k, len(y))

    def evaluation_cost(self) -> Cost:
        """Work of one evaluation: a forward pass over the test set."""
        samples = len(self.task.test_y)
        batches = math.ceil(samples / EVALUATION_BATCH)
        return Cost(macs=float(self.network.macs * samples), ops=float(self.network.ops * batches))

    def raw(self, first: int, count: int) -> tuple[Samples, NDArray[np.uint8]]:
        """Own samples `first` to `first + count` in order of arrival, as the sensor gave them, with their labels."""
        chosen = self.own[first : first + count]
        return self.task.train_x[chosen], self.task.train_y[chosen].astype(np.uint8)

    def take(self, x: NDArray[np.generic], y: NDArray[np.generic]) -> None:
        """Learn from another node's raw samples (and no longer from own ones); the oldest go when the pool is full.

        Raises ValueError where they are not samples of this task.
        """
        task = self.task
        fits = y.ndim == 1 and x.dtype == task.train_x.dtype and x.shape == (*y.shape, *task.shape)
        if not fits or y.dtype != np.uint8 or not (y.astype(np.int64) < task.classes).all():
            wanted = f"{task.train_x.dtype} of shape (n, *{task.shape}) with n uint8 labels below {task.classes}"
            raise ValueError(f"samples must be {wanted} (found {x.dtype} of {x.shape}, labels {y.dtype} of {y.shape})")
        if self._pool is None:
            self._pool = Pool(np.empty_like(task.train_x), np.empty_like(task.train_y))
        pool = self._pool
        place = (pool.taken + np.arange(len(y))) % len(pool.y)
        pool.x[place], pool.y[place] = x, y
        pool.taken += len(y)

    def _held(self) -> Vector:
        return self.initial if self._weights is None else self._weights

    def _train(self, there: int, steps: int, rng: np.random.Generator, proximal: float) -> Phase:
        network = self.network
        np.copyto(network.buffer, self._held())
        step = self.rule.begin(self.rule_parameters, network, proximal)
        total, samples = 0.0, 0
        for batch in self._batches(there, steps, rng):
            total += float(step(*self._minibatch(batch))) * len(batch)
            samples += len(batch)
        loss = total / samples
        if not (math.isfinite(loss) and _is_finite(network.buffer)):
            raise DivergedError(f"the loss is {loss} after {steps} steps; try a smaller learning_rate")
        self._weights = network.buffer.copy()
        return Phase(loss, samples, steps)

    def _batches(self, there: int, steps: int, rng: np.random.Generator) -> Iterator[Indices]:
        """Where the samples of each minibatch lie, in the pool or among the task's."""
        size, places = self.rule_parameters.batch_size, self.own[:there] if self._pool is None else np.arange(there)
        while True:
            order = places[rng.permutation(there)] if self.rule_parameters.shuffle else places
            for start in range(0, there, size):
                if steps == 0:
                    return
                steps -= 1
                yield order[start : start + size]

    def _minibatch(self, batch: Indices) -> "tuple[torch.Tensor, torch.Tensor]":
        if self._pool is not None:
            x, y = self._pool.x[batch], self._pool.y[batch]
        else:
            x, y = self.task.train_x[batch], self.task.train_y[batch]
        return self._as_input(x), self.network.tensor(y)

    def _as_input(self, x: Samples) -> "torch.Tensor":
        scaled = x.astype(np.float32)
        scaled *= np.float32(self.task.scale)
        if self.task.offset:
            scaled += np.float32(self.task.offset)
        return self.network.tensor(scaled)


def _is_finite(weights: Vector) -> bool:
    # One quick product tells of most; where it overflows, each weight must be looked at.
    return math.isfinite(np.dot(weights, weights)) or bool(np.isfinite(weights).all())


def build(spec: NodeSpec) -> Learner:
    """The learner of a node. A process that is about to fork, or holds many nodes, pays for what they share once."""
    rule = registry.RULES[spec.rule.name]
    task, model = _task_key(spec), spec.model
    model_parameters = read(registry.MODELS[model.name].Parameters, model.parameters)
    network, initial = _network(model.name, model_parameters, task, spec.data_seed)
    own, partition = NOTHING, spec.task.partition
    if spec.role == "device":
        parameters = read(registry.PARTITIONS[partition.name], partition.parameters)
        own = _split(task, parameters, spec.devices, spec.data_seed)[spec.index]
    return Learner(
        task=_task(*task),
        network=network,
        initial=initial,
        rule=rule,
        rule_parameters=read(rule.Parameters, spec.rule.parameters),
        own=own,
        stream_per_s=spec.task.stream_per_s,
    )


TaskKey = tuple[str, Any, int, str | None]  # name, parameters, data seed, data folder


def _task_key(spec: NodeSpec) -> TaskKey:
    parameters = read(registry.TASKS[spec.task.name].Parameters, spec.task.parameters)
    return spec.task.name, parameters, spec.data_seed, spec.task.data_dir


@cache
def _task(name: str, parameters: Any, data_seed: int, data_dir: str | None) -> Task:
    return registry.TASKS[name].load(parameters, data_seed, data_dir)


@cache
def _split(task: TaskKey, partition: Any, devices: int, data_seed: int) -> Split:
    data = _task(*task)
    return split(partition, data.train_y, data.ids, devices, data_seed)


@cache
def _network(name: str, parameters: Any, task: TaskKey, data_seed: int) -> tuple[Network, Vector]:
    """The shared module, and its initial weights as `torch.manual_seed(data_seed)` makes them."""
    import torch

    torch.set_num_threads(1)  # two threads on shared cores made a round 23 times slower
    data = _task(*task)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(data_seed)
        network = flatten(registry.MODELS[name].build(parameters, data.shape, data.classes))
    initial = network.buffer.copy()
    initial.flags.writeable = False
    return network, initial
