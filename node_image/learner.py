"""Learner: the model, the rule and the data of one node. Weights go in and out as one flat float32 vector.

All that learners of the same run have in common - samples, split, module, initial weights - exists once a process,
so that thousands of simulated devices fit in one. A learner itself holds its weights only once they differ from the
initial ones. Because the module is shared, one local phase or evaluation runs at a time in a process.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from node_image import registry
from node_image.data import drift
from node_image.data.arrival import arrange
from node_image.data.partition import Indices, Split, split
from node_image.data.task import Labels, Samples, Task
from node_image.network import Constraint, Mask, Network, Part, flatten
from node_image.outcomes import DivergedError, Evaluation, NoSamplesError, Phase, UnfitError
from node_image.parameters import read
from node_image.runtime import Cost
from node_image.spec import NodeSpec
from node_image.trial import Trial

if TYPE_CHECKING:
    import torch
    from torch import nn

Vector = NDArray[np.float32]
EVALUATION_BATCH = 256
EVERYTHING = "everything"  # the selection that leaves all weights free
TRIAL_SAMPLES = 256  # of the whole task, for a selection that tries things out before the run
NOTHING: Indices = np.empty(0, np.int64)


@dataclass(slots=True)
class Pool:
    """Samples received from others, in memory for at most as many as the task has."""

    x: Samples
    y: NDArray[Any]
    taken: int = 0


@dataclass(slots=True)
class Pace:
    """When a device's next local phase may begin; shared by all views of its learner."""

    phase_every_s: float = 0.0  # local phases begin at least so long after each other
    next_phase_s: float = 0.0


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
    changes: tuple[drift.Change, ...] = ()  # what happens to the samples during the run
    pace: Pace = field(default_factory=Pace)
    selector: registry.Selector | None = None  # None: all weights are trained
    made_from: tuple[Any, ...] = ()  # the model's name and parameters, and the rest of what `_network` takes
    _weights: Vector | None = None
    _pool: Pool | None = None
    _has_looked: bool = False

    @property
    def parameters(self) -> int:
        """Number of weights of the model."""
        return len(self.initial)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The named tensors that the flat vector of weights consists of."""
        return self.network.parts

    @property
    def head_start(self) -> int:
        """Where the head begins in the flat vector: weight (classes, features) row by row, then bias (classes)."""
        return self.network.head_start

    @property
    def public(self) -> Samples:
        """Raw samples that all nodes share, in the same order; empty where the task keeps none."""
        return self.task.public_x

    def label_counts(self, now: float) -> Labels:
        """How many samples of each class have arrived at `now`; shape (classes,)."""
        return np.bincount(self._sensed(self._places(self.samples(now), now), now)[1], minlength=self.task.classes)

    def trainable(self) -> Mask | None:
        """The weights that the device's selection lets move in the next local phase; None: all."""
        return self.selector.mask() if self.selector is not None else None

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

    def until_phase_s(self, now: float) -> float:
        """How long the device rests before its next local phase, which is taken to begin then."""
        begins_s = max(now, self.pace.next_phase_s)
        self.pace.next_phase_s = begins_s + self.pace.phase_every_s
        return begins_s - now

    def cost(self, steps: int, now: float, trainable: Mask | None = None) -> Cost:
        """Work of a local phase of so many steps."""
        there, batch = self.samples(now), self.rule_parameters.batch_size
        passes, rest = divmod(steps, max(1, math.ceil(there / batch)))
        constraint = Constraint(trainable=self._movable(trainable))
        work = self.rule.cost(self.rule_parameters, self.network, constraint, passes * there + rest * batch, steps)
        looked_at = self.selector.samples if self.selector is not None else 0
        return Cost(work.macs + self.network.macs * looked_at, work.ops + self.network.ops * (looked_at > 0))

    def train(
        self,
        steps: int,
        now: float,
        rng: np.random.Generator,
        proximal: float = 0.0,
        trainable: Mask | None = None,
    ) -> Phase:
        """One local phase: so many minibatches from passes over the samples there are at `now`.

        `proximal` pulls towards the weights at the start: proximal/2 ||w - w0||^2 is added to the loss. Weights outside
        `trainable`, or left out by the device's selection, stay as they are.
        Raises NoSamplesError, and DivergedError (with the weights as before).
        """
        there = self.samples(now)
        if there == 0:
            raise NoSamplesError(
                f"no sample has arrived at {now:.3f} s; the first minibatch will at {self.ready_s:.3f} s"
            )
        with self.network.lock:
            return self._train(there, now, steps, rng, Constraint(proximal, self._movable(trainable)))

    def features(self, x: Samples) -> Vector:
        """What the head sees of these raw samples; shape (samples, features)."""
        module, width = self.network.module[:-1], self.network.features
        return self._forward(module, x, None) if len(x) else np.empty((0, width), np.float32)

    def features_cost(self, samples: int) -> Cost:
        """Work of computing so many samples' features."""
        head = self.network.features * self.network.classes
        batches = math.ceil(samples / EVALUATION_BATCH)
        return Cost(macs=float((self.network.macs - head) * samples), ops=float((self.network.ops - 1) * batches))

    def predict(self, x: Samples, weights: Vector | None = None) -> Vector:
        """Probabilities of the classes for these raw samples; shape (samples, classes).

        Raises ValueError where the task is not to tell classes apart.
        """
        if self.task.train_boxes is not None:
            raise ValueError("a detector gives no probabilities of classes; choose an algorithm that needs none")
        scores = self._forward(self.network.module, x, weights).astype(np.float64)
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        odds /= odds.sum(axis=1, keepdims=True)
        return np.asarray(odds, np.float32)

    def evaluate(self, weights: Vector | None = None, own: bool = False, now: float = 0.0) -> Evaluation:
        """Test these weights on the whole test set; without any, the model's own. The model keeps its own.

        With `own`, on what the device itself meets: the test samples of the classes that it holds at `now`, as drift
        has changed them by then.
        """
        if not own:
            return self.task.objective.evaluate(self._scores_of_the_test(weights), self.task.test_targets)
        x, targets = self._own_test(now)
        return self.task.objective.evaluate(self._forward(self.network.module, x, weights), targets)

    def narrower(self, share: float) -> "Learner":
        """A learner of the same samples by the same rule, whose model has so large a share of this one's width.

        It begins with fresh weights, and trains all of them. UnfitError where the model has no narrower form.
        """
        name, parameters, *others = self.made_from
        narrow = getattr(registry.MODELS[name], "narrower", None)
        if narrow is None:
            known = ", ".join(sorted(each for each, model in registry.MODELS.items() if hasattr(model, "narrower")))
            raise UnfitError(f"model {name}: has no narrower form; models that have: {known}")
        made_from = (name, narrow(parameters, share), *others)
        network, initial = _network(*made_from)
        network.tested.is_kept = self.network.tested.is_kept
        return replace(self, network=network, initial=initial, selector=None, made_from=made_from, _weights=None)

    def evaluation_cost(self) -> Cost:
        """Work of one evaluation: a forward pass over the test set."""
        samples = len(self.task.test_y)
        batches = math.ceil(samples / EVALUATION_BATCH)
        return Cost(macs=float(self.network.macs * samples), ops=float(self.network.ops * batches))

    def raw(self, first: int, count: int, now: float = 0.0) -> tuple[Samples, NDArray[Any]]:
        """Own samples `first` to `first + count` in order of arrival, as the sensor gives them, with their targets."""
        x, targets = self._sensed(self._places(first + count, now)[first:], now)
        return x, self.task.objective.as_sent(targets)

    def take(self, x: NDArray[np.generic], y: NDArray[np.generic]) -> None:
        """Learn from another node's raw samples (and no longer from own ones); the oldest go when the pool is full.

        Raises ValueError where they are not samples of this task.
        """
        task, targets = self.task, self.task.train_targets
        fits = task.objective.are_sent(y) and y.shape[1:] == targets.shape[1:]
        if not fits or x.dtype != task.train_x.dtype or x.shape != (len(y), *task.shape):
            wanted = f"{task.train_x.dtype} of shape (n, *{task.shape}) with {task.objective.sent_form}"
            raise ValueError(f"samples must be {wanted} (found {x.dtype} of {x.shape}, labels {y.dtype} of {y.shape})")
        if self._pool is None:
            self._pool = Pool(np.empty_like(task.train_x), np.empty_like(targets))
        pool = self._pool
        place = (pool.taken + np.arange(len(y))) % len(pool.y)
        pool.x[place], pool.y[place] = x, y
        pool.taken += len(y)

    def _places(self, there: int, now: float) -> Indices:
        """Where the first so many of the device's samples lie among the task's."""
        return drift.held(self.changes, self.own, self.task.train_y, now)[:there]

    def _sensed(self, places: Indices, now: float) -> tuple[Samples, NDArray[Any]]:
        """Own raw samples with their targets, as they are now."""
        x, targets = self.task.train_x[places], self.task.train_targets[places]
        return drift.sensed(self.changes, self.task, x, targets, places, now) if self.changes else (x, targets)

    def _own_test(self, now: float) -> tuple[Samples, NDArray[Any]]:
        """The test samples of the classes that the device holds, as it would sense them; all, if it holds none."""
        task = self.task
        held = np.unique(task.train_y[self._places(len(self.own), now)])
        places = np.flatnonzero(np.isin(task.test_y, held) | (len(held) == 0))
        x, targets = task.test_x[places], task.test_targets[places]
        ids = places + len(task.train_y)
        return drift.sensed(self.changes, task, x, targets, ids, now) if self.changes else (x, targets)

    def _held(self) -> Vector:
        return self.initial if self._weights is None else self._weights

    def _movable(self, trainable: Mask | None) -> Mask | None:
        chosen = self.trainable()
        return chosen if trainable is None else trainable if chosen is None else trainable & chosen

    def _scores_of_the_test(self, weights: Vector | None) -> Vector:
        """What the head says of the test set. Its features are not computed again where they are known."""
        import torch

        network, held = self.network, self._held() if weights is None else weights
        if not network.tested.is_kept:
            return self._forward(network.module, self.task.test_x, held)
        with network.lock, torch.inference_mode():
            np.copyto(network.buffer, held)
            below = network.buffer[: network.head_start]
            if not network.tested.knows(below):
                network.tested.features = [network.module[:-1](x) for x in self._batches_of(self.task.test_x)]
                network.tested.below = below.copy()
            return torch.cat([network.head(each) for each in network.tested.features]).numpy()

    def _batches_of(self, x: Samples) -> "Iterator[torch.Tensor]":
        return (self._as_input(x[start : start + EVALUATION_BATCH]) for start in range(0, len(x), EVALUATION_BATCH))

    def _forward(self, module: "nn.Module", x: Samples, weights: Vector | None) -> Vector:
        import torch

        with self.network.lock, torch.inference_mode():
            np.copyto(self.network.buffer, self._held() if weights is None else weights)
            return torch.cat([module(each) for each in self._batches_of(x)]).numpy()

    def _train(self, there: int, now: float, steps: int, rng: np.random.Generator, constraint: Constraint) -> Phase:
        network = self.network
        np.copyto(network.buffer, self._held())
        if self.selector is not None and self.selector.samples and not self._has_looked:
            self.selector.observe(network, self._watched(there, now))
            self._has_looked = True
        step = self.rule.begin(self.rule_parameters, network, constraint)
        total, samples = 0.0, 0
        for batch in self._batches(there, now, steps, rng):
            total += float(step(*self._minibatch(batch, now))) * len(batch)
            samples += len(batch)
        loss = total / samples
        if not (math.isfinite(loss) and _is_finite(network.buffer)):
            raise DivergedError(f"the loss is {loss} after {steps} steps; try a smaller learning_rate")
        self._weights = network.buffer.copy()
        if self.selector is not None:
            self.selector.observe(network, self._watched(there, now))
        return Phase(loss, samples, steps)

    def _batches(self, there: int, now: float, steps: int, rng: np.random.Generator) -> Iterator[Indices]:
        """Where the samples of each minibatch lie, in the pool or among the task's."""
        size = self.rule_parameters.batch_size
        places = self._places(there, now) if self._pool is None else np.arange(there)
        while True:
            order = places[rng.permutation(there)] if self.rule_parameters.shuffle else places
            for start in range(0, there, size):
                if steps == 0:
                    return
                steps -= 1
                yield order[start : start + size]

    def _minibatch(self, batch: Indices, now: float) -> "tuple[torch.Tensor, torch.Tensor]":
        pool = self._pool
        x, y = self._sensed(batch, now) if pool is None else (pool.x[batch], pool.y[batch])
        return self._as_input(x), self.network.tensor(y)

    def _watched(self, there: int, now: float) -> "torch.Tensor":
        """The samples on which the selection looks at the model: the first that have arrived."""
        assert self.selector is not None
        return self._as_input(self._sensed(self._places(min(there, self.selector.samples), now), now)[0])

    def _as_input(self, x: Samples) -> "torch.Tensor":
        return self.network.tensor(_scaled(self.task, x))


def _scaled(task: Task, x: Samples) -> Vector:
    scaled = x.astype(np.float32)
    scaled *= np.float32(task.scale)
    if task.offset:
        scaled += np.float32(task.offset)
    return scaled


def _is_finite(weights: Vector) -> bool:
    # One quick product tells of most; where it overflows, each weight must be looked at.
    return math.isfinite(np.dot(weights, weights)) or bool(np.isfinite(weights).all())


def build(spec: NodeSpec) -> Learner:
    """The learner of a node. A process that is about to fork, or holds many nodes, pays for what they share once.

    Raises UnfitError where the node's parts do not fit together: its task, model, rule, selection and algorithm.
    """
    rule, selection = registry.RULES[spec.rule.name], registry.SELECTIONS[spec.selection.name]
    task, model = _task_key(spec), spec.model
    model_parameters = read(registry.MODELS[model.name].Parameters, model.parameters)
    rule_parameters = read(rule.Parameters, spec.rule.parameters)
    made_from = (model.name, model_parameters, spec.rule.name, rule_parameters, task, spec.data_seed)
    network, fresh = _network(*made_from)
    initial = fresh if spec.initial is None else _initial(spec.initial, *made_from)
    own, partition, selector = NOTHING, spec.task.partition, None
    if spec.selection.name != EVERYTHING:  # begun even where nobody trains: a fork server's nodes share what it finds
        chosen, rng = read(selection.Parameters, spec.selection.parameters), np.random.default_rng([spec.seed, 4])
        selector = selection.begin(chosen, network, rng, _trial(spec.initial, *made_from))
        _check_mask(spec.selection.name, selector.mask(), len(network.buffer))
    if spec.role == "device":
        parameters = read(registry.PARTITIONS[partition.name], partition.parameters)
        share = _split(task, parameters, spec.devices, spec.data_seed)[spec.index]
        labels = _task(*task).train_y
        own = arrange(share, labels, spec.task.arrival, spec.data_seed, spec.index)
    drifts = [read(registry.DRIFTS[each.name], each.parameters) for each in spec.task.drift]
    changes = drift.of_device(drifts, spec.index, spec.devices, spec.data_seed)
    if changes and _task(*task).train_boxes is not None:
        raise UnfitError(f"task {spec.task.name}: drift is for classes, not for boxes; leave drift out")
    learner = Learner(
        task=_task(*task),
        network=network,
        initial=initial,
        rule=rule,
        rule_parameters=rule_parameters,
        own=own,
        stream_per_s=spec.task.stream_per_s,
        changes=changes,
        pace=Pace(spec.phase_every_s),
        selector=selector if spec.role == "device" else None,
        made_from=made_from,
    )
    algorithm = registry.ALGORITHMS[spec.algorithm.name]
    if (fits := getattr(algorithm, "fits", None)) is not None:
        fits(read(algorithm.Parameters, spec.algorithm.parameters), learner)
    return learner


def _check_mask(selection: str, mask: Mask | None, weights: int) -> None:
    """A mask of neurons, say, in place of weights would fail much later, somewhere in a rule."""
    if mask is not None and (mask.dtype != np.bool_ or mask.shape != (weights,)):
        raise UnfitError(
            f"selection {selection}: mask() gave {mask.dtype} of shape {mask.shape}; it must give bool of shape "
            f"({weights},), one for each weight of the model, or None for all"
        )


TaskKey = tuple[str, Any, int, str | None, tuple[int, ...], int]  # with data seed, folder, classes, public samples


def _task_key(spec: NodeSpec) -> TaskKey:
    parameters = read(registry.TASKS[spec.task.name].Parameters, spec.task.parameters)
    return spec.task.name, parameters, spec.data_seed, spec.task.data_dir, spec.task.classes, spec.task.public


@cache
def _task(
    name: str, parameters: Any, data_seed: int, data_dir: str | None, classes: tuple[int, ...], public: int
) -> Task:
    return registry.TASKS[name].load(parameters, data_seed, data_dir).restricted(classes).sharing(public, data_seed)


@cache
def _split(task: TaskKey, partition: Any, devices: int, data_seed: int) -> Split:
    data = _task(*task)
    return split(partition, data.train_y, data.ids, devices, data_seed)


@cache
def _network(
    name: str, parameters: Any, rule_name: str, rule_parameters: Any, task: TaskKey, data_seed: int
) -> tuple[Network, Vector]:
    """The shared module, and its initial weights as `torch.manual_seed(data_seed)` makes them."""
    import torch

    torch.set_num_threads(1)  # two threads on shared cores made a round 23 times slower
    data = _task(*task)
    if data.train_boxes is not None and rule_name not in registry.RULES_OF_ANY_LOSS:
        known = ", ".join(sorted(registry.RULES_OF_ANY_LOSS))
        raise UnfitError(f"rule {rule_name}: learns classes, not detection; rules that can: {known}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(data_seed)
        outputs = data.objective.outputs
        architecture = registry.MODELS[name].build(parameters, data.shape, outputs)
        registry.RULES[rule_name].adapt(rule_parameters, architecture.module, data.shape, outputs)
        network = flatten(architecture, data.objective)
    if problem := data.objective.problem(network.layers[-1].outputs):
        raise UnfitError(f"model {name}: {problem}")
    initial = network.buffer.copy()
    initial.flags.writeable = False
    return network, initial


@cache
def _initial(file: str, *made_from: Any) -> Vector:
    """Initial weights from a file; parts that it lacks, or holds in another shape, stay as fresh ones.

    Raises UnfitError where no part of the file fits.
    """
    from safetensors.numpy import load_file

    stored = load_file(file)
    network, fresh = _network(*made_from)
    initial = fresh.copy()
    fitting = [part for part in network.parts if part.name in stored and stored[part.name].shape == part.shape]
    if not fitting:
        wanted = ", ".join(f"{part.name} {part.shape}" for part in network.parts[:3])
        raise UnfitError(f"{file}: no tensor fits the model, which has {wanted}, ...; made with another model?")
    for part in fitting:
        initial[part.start : part.end] = stored[part.name].reshape(-1)
    initial.flags.writeable = False
    return initial


@cache
def _trial(file: str | None, *made_from: Any) -> Trial:
    """What a selection may try out before the run, on samples drawn from the whole task."""
    network, fresh = _network(*made_from)
    *_, rule_name, rule_parameters, task, data_seed = made_from
    data = _task(*task)
    drawn = np.random.default_rng([data_seed, 7]).permutation(len(data.train_y))[:TRIAL_SAMPLES]
    return Trial(
        network=network,
        initial=fresh if file is None else _initial(file, *made_from),
        rule=registry.RULES[rule_name],
        rule_parameters=rule_parameters,
        x=network.tensor(_scaled(data, data.train_x[drawn])),
        y=network.tensor(data.train_targets[drawn]),
        seed=data_seed,
    )
