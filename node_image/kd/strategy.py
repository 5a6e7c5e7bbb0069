"""What the ways to distil have in common: the two halves, what they begin with, and a readout that is taught."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from node_image import readout
from node_image.algorithms.elabip_parameters import Parameters
from node_image.experience import Experience
from node_image.network import Part
from node_image.packing import Vector
from node_image.readout import Labels, Matrix
from node_image.runtime import Body, Cost, NodeRuntime

Kept = dict[str, int | float | str | bool | NDArray[np.generic]]
NOTHING = np.empty(0, np.float32)
TEACHING = 0.1  # p with which the coordinator's own readout learns


@dataclass(frozen=True)
class Setting:
    """Where both halves begin: the shared vector (the head, or all weights where features are shared too) and its
    tensors, and the features of the public samples with the constant 1 behind (R, D + 1)."""

    params: Parameters
    parts: tuple[Part, ...]
    initial: Vector
    public: Matrix

    @property
    def classes(self) -> int:
        """C."""
        return self.parts[-1].shape[0]

    def weights_of(self, vector: Vector) -> Matrix:
        """The readout in a shared vector."""
        return readout.unflatten(vector[self.parts[-2].start :], self.classes)


async def setting(node: NodeRuntime, params: Parameters) -> Setting:
    """Where a node begins whose learner has the features that are shared by all."""
    learner = node.learner
    start = 0 if params.is_open else learner.head_start
    public = learner.public if params.kd == "logits" else learner.public[:0]
    features = await node.compute(lambda: learner.features(public), learner.features_cost(len(public)))
    return Setting(params, shifted(learner.parts, start), learner.weights()[start:], readout.extended(features))


class Pupil(Protocol):
    """A device's half. `weights` is its readout; after a phase it listens for `pause_s` at least."""

    weights: Matrix
    pause_s: float

    def adopt(self, body: Body) -> Vector:
        """Install a prior; the features that came with it (none: an empty vector). RefusedError where it is garbage."""

    def learn(self, seen: Experience, plasticity: float, rng: np.random.Generator) -> float:
        """A local phase; the mean cross-entropy of its minibatches in nats. `weights` is replaced, never changed."""

    @property
    def steps(self) -> int:
        """Minibatches in a local phase."""

    def samples(self, seen: Experience) -> int:
        """How many samples (repeats counted) a local phase uses."""

    def divergence(self, seen: Experience) -> float:
        """How far the device is from the prior (0-1)."""

    def knowledge(self, seen: Experience, features: Vector) -> Body:
        """z_k. `features` are the weights below the readout, for who shares them."""


@dataclass
class HalfAndHalf:
    """What devices share whose minibatches are half their own samples and half what the fleet says."""

    setting: Setting
    weights: Matrix = field(init=False)
    pause_s: float = 0.0

    def __post_init__(self) -> None:
        self.weights = self.setting.weights_of(self.setting.initial)

    @property
    def steps(self) -> int:
        """H."""
        return self.setting.params.local_steps

    def samples(self, seen: Experience) -> int:
        """H minibatches."""
        return self.setting.params.local_steps * self.setting.params.batch_size


class Prior(Protocol):
    """The coordinator's half: reads z_k, takes it in, says what a device is to hear."""

    def take(self, sender: str, body: Body, reference: Vector, staleness: int) -> None:
        """Take in an update made on what arrived as `reference`; RefusedError leaves everything as it was."""

    def settle(self, rng: np.random.Generator) -> None:
        """Make the readout of what was taken in."""

    def cost(self) -> Cost:
        """Work of `settle`."""

    def body(self, device: str) -> tuple[Body, Vector]:
        """What this device hears, and the vector that arrives with it (empty where no update builds on it)."""

    def vector(self) -> Vector:
        """What is to be tested: the shared vector."""

    def kept(self) -> Kept:
        """What a checkpoint must hold of it."""

    def restore(self, kept: Body) -> None:
        """Go on from a checkpoint."""


def shifted(parts: Sequence[Part], start: int) -> tuple[Part, ...]:
    """The parts from element `start` on, counted from there."""
    return tuple(
        Part(part.name, part.start - start, part.end - start, part.shape, part.child)
        for part in parts
        if part.start >= start
    )


def doubles(kept: Body, name: str) -> NDArray[np.float64]:
    """Numbers of a checkpoint that we wrote ourselves."""
    return np.asarray(kept[name]).astype(np.float64)


def floats(kept: Body, name: str) -> Vector:
    """As `doubles`, in float32."""
    return np.asarray(kept[name]).astype(np.float32)


def counted(kept: Body, name: str) -> Labels:
    """As `doubles`, in whole numbers."""
    return np.asarray(kept[name]).astype(np.int64)


def devices(kept: Body, prefix: str) -> list[str]:
    """Of which devices a checkpoint holds something with this prefix."""
    return sorted(name.removeprefix(prefix) for name in kept if name.startswith(prefix))


def one(kept: Body, name: str) -> int:
    """A whole number of a checkpoint."""
    return int(counted(kept, name))


def taught(params: Parameters, weights: Matrix, h: Matrix, targets: Matrix, rng: np.random.Generator) -> Matrix:
    """A readout after a phase's steps towards these targets, without logit adjustment."""
    used_to, none = readout.habit(h), np.zeros(len(weights), np.float32)
    for batch in readout.minibatches(len(h), params.batch_size, params.local_steps, rng):
        weights = readout.step(weights, h[batch], targets[batch], none, used_to, TEACHING, params.decay)
    return weights


def steps_cost(params: Parameters, weights: Matrix) -> Cost:
    """Work of H steps of a readout: 2 C D multiply-accumulates a sample, forward and Hebbian; ten operations a step."""
    samples = params.local_steps * params.batch_size
    return Cost(2.0 * weights.size * samples, 10.0 * params.local_steps)


def half_and_half(
    params: Parameters,
    weights: Matrix,
    seen: Experience,
    taught_h: Matrix,
    taught_targets: Matrix,
    plasticity: float,
    rng: np.random.Generator,
) -> tuple[Matrix, float]:
    """A readout after H minibatches, half local samples with their labels, half taught ones without logit adjustment.

    Also their mean cross-entropy. Where nothing is taught (no rows) all samples are local.
    """
    h, targets = seen.h, readout.one_hot(seen.labels, len(weights))
    local = params.batch_size if not len(taught_h) else max(1, params.batch_size // 2)
    both = zip(
        readout.minibatches(len(h), local, params.local_steps, rng),
        readout.minibatches(max(1, len(taught_h)), max(1, params.batch_size - local), params.local_steps, rng),
        strict=True,
    )
    total = 0.0
    for own, told in both:
        rows, wanted, adjustment = h[own], targets[own], np.tile(seen.log_prior, (len(own), 1))
        if len(taught_h):
            rows, wanted = np.concatenate([rows, taught_h[told]]), np.concatenate([wanted, taught_targets[told]])
            adjustment = np.concatenate([adjustment, np.zeros((len(told), len(weights)), np.float32)])
        total += readout.cross_entropy(readout.softmax(rows @ weights.T + adjustment), wanted)
        weights = readout.step(weights, rows, wanted, adjustment, seen.habit, plasticity, params.decay)
    return weights, total / params.local_steps
