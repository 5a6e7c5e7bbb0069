"""What the ways to distil have in common: the two halves, what they begin with, and a readout that is taught."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from node_image import readout
from node_image.algorithms.elabip_parameters import Parameters
from node_image.experience import Experience
from node_image.kd.lessons import phase_cost
from node_image.network import Part
from node_image.packing import Vector
from node_image.readout import Labels, Matrix
from node_image.runtime import Body, Cost, NodeRuntime

if TYPE_CHECKING:
    from node_image.learner import Learner

Kept = dict[str, int | float | str | bool | NDArray[np.generic]]
NOTHING = np.empty(0, np.float32)


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


async def setting(node: NodeRuntime, params: Parameters, learner: "Learner") -> Setting:
    """Where a node begins; the learner has the features that are shared by all."""
    start = 0 if params.is_open else learner.head_start
    public = learner.public if params.kd == "logits" else learner.public[:0]
    features = await node.compute(lambda: learner.features(public), learner.features_cost(len(public)))
    return Setting(params, shifted(learner.parts, start), learner.weights()[start:], readout.extended(features))


class Pupil(Protocol):
    """A device's half. `weights` is its readout; after a phase it listens for `pause_s` at least."""

    weights: Matrix
    pause_s: float

    @property
    def shared(self) -> Matrix:
        """The readout of the network that is shared with the fleet: the same, but for a student of its own."""

    def adopt(self, body: Body) -> Vector:
        """Install a prior; the features that came with it (none: an empty vector). RefusedError where it is garbage."""

    def learn(self, seen: Experience, plasticity: float, rng: np.random.Generator) -> float:
        """A local phase; the mean cross-entropy of its minibatches in nats. `weights` is replaced, never changed."""

    @property
    def steps(self) -> int:
        """Minibatches in a local phase."""

    def samples(self, seen: Experience) -> int:
        """How many samples (repeats counted) a local phase uses."""

    def cost(self, seen: Experience) -> Cost:
        """Work of a local phase, and of the looks at it: accuracy before and after, and divergence."""

    def divergence(self, seen: Experience) -> float:
        """How far the device is from the prior (0-1)."""

    def knowledge(self, seen: Experience, features: Vector) -> Body:
        """z_k. `features` are the weights below the readout, for who shares them."""


@dataclass
class ByMinibatches:
    """What pupils share that learn a readout of their own by H minibatches a local phase."""

    setting: Setting
    weights: Matrix = field(init=False)
    pause_s: float = 0.0

    def __post_init__(self) -> None:
        self.weights = self.setting.weights_of(self.setting.initial)

    @property
    def shared(self) -> Matrix:
        """The device's own readout."""
        return self.weights

    @property
    def steps(self) -> int:
        """H."""
        return self.setting.params.local_steps

    def samples(self, seen: Experience) -> int:
        """H minibatches."""
        return self.setting.params.local_steps * self.setting.params.batch_size

    def cost(self, seen: Experience) -> Cost:
        """H minibatches, and three looks."""
        return phase_cost(self.weights, self.samples(seen), self.steps, seen)


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
