"""`features`: z_k are prototypes, of each class how many samples, and mean and variance of their features.

The coordinator merges them exactly. A device learns half from its samples, half from Gaussian samples of the merged
prototypes. What is tested is a readout of the coordinator's own, which learns such samples after each update.
The counts tell the coordinator of which classes a device's samples are.
"""

from dataclasses import dataclass, field

import numpy as np

from node_image import distillation, knowledge, readout
from node_image.distillation import Prototypes
from node_image.experience import Experience
from node_image.kd import strategy
from node_image.kd.lessons import half_and_half, steps_cost, taught
from node_image.kd.strategy import NOTHING, ByMinibatches, Kept, Setting
from node_image.packing import Vector
from node_image.readout import Matrix
from node_image.runtime import Body, Cost


@dataclass
class FeaturesPupil(ByMinibatches):
    """A device's half."""

    merged: Prototypes | None = None

    def adopt(self, body: Body) -> Vector:
        """The fleet's prototypes; at first there are none."""
        if "z" in body:
            packed, width = knowledge.row_of_bytes(body, "z"), self.weights.shape[1] - 1
            merged = knowledge.unpack_prototypes(packed, self.setting.classes, width, self.setting.params.bits)
            self.merged = merged if merged.counts.any() else None
        return NOTHING

    def learn(self, seen: Experience, plasticity: float, rng: np.random.Generator) -> float:
        """Half and half; local samples alone while there are no prototypes."""
        params = self.setting.params
        h, targets = seen.h[:0], seen.h[:0]
        if self.merged is not None:
            count = params.local_steps * max(1, params.batch_size // 2)
            made, labels = distillation.pseudo_samples(self.merged, count, rng)
            h, targets = readout.extended(made), readout.one_hot(labels, self.setting.classes)
        self.weights, loss = half_and_half(params, self.weights, seen, h, targets, plasticity, rng)
        return loss

    def divergence(self, seen: Experience) -> float:
        """How far the device is from calling each prototype by its class."""
        if self.merged is None:
            return 0.0
        known = np.flatnonzero(self.merged.counts)
        said = readout.probabilities(self.weights, readout.extended(self.merged.mean[known]))
        return readout.divergence(said, readout.one_hot(known, self.setting.classes))

    def knowledge(self, seen: Experience, features: Vector) -> Body:
        """Prototypes of all the device's samples, 4 C + 8 + 2 C D b / 8 bytes."""
        own = distillation.prototypes(seen.h[:, :-1], seen.labels, self.setting.classes)
        return {"z": knowledge.pack_prototypes(own, self.setting.params.bits)}


@dataclass
class FeaturesPrior:
    """The coordinator's half: everybody's last prototypes, their union, and a readout that learns it."""

    setting: Setting
    weights: Matrix = field(init=False)
    last: dict[str, Prototypes] = field(default_factory=dict)
    merged: Prototypes | None = None

    def __post_init__(self) -> None:
        self.weights = self.setting.weights_of(self.setting.initial)

    def take(self, sender: str, body: Body, reference: Vector, staleness: int) -> None:
        """Replace the device's prototypes, which are of all its samples."""
        packed, width = knowledge.row_of_bytes(body, "z"), self.weights.shape[1] - 1
        self.last[sender] = knowledge.unpack_prototypes(packed, self.setting.classes, width, self.setting.params.bits)
        self._merge()

    def settle(self, rng: np.random.Generator) -> None:
        """The coordinator's readout learns what the prototypes say."""
        params = self.setting.params
        if self.merged is not None and self.merged.counts.any():
            made, labels = distillation.pseudo_samples(self.merged, params.local_steps * params.batch_size, rng)
            targets = readout.one_hot(labels, self.setting.classes)
            self.weights = taught(params, self.weights, readout.extended(made), targets, rng)

    def cost(self) -> Cost:
        """Work of a phase's steps."""
        return steps_cost(self.setting.params, self.weights)

    def body(self, device: str) -> tuple[Body, Vector]:
        """The merged prototypes in few bits; nothing while there are none."""
        params = self.setting.params
        if self.merged is None or params.prior == "none":
            return {}, NOTHING
        return {"z": knowledge.pack_prototypes(self.merged, params.bits)}, NOTHING

    def vector(self) -> Vector:
        """The coordinator's readout."""
        return readout.flatten(self.weights)

    def kept(self) -> Kept:
        """The readout, and each device's prototypes."""
        kept: Kept = {"g": self.vector()}
        for device, each in self.last.items():
            kept |= {f"n/{device}": each.counts, f"m/{device}": each.mean, f"v/{device}": each.variance}
        return kept

    def restore(self, kept: Body) -> None:
        """The readout, and each device's prototypes."""
        self.weights = self.setting.weights_of(strategy.floats(kept, "g"))
        for device in strategy.devices(kept, "n/"):
            mean, variance = strategy.floats(kept, f"m/{device}"), strategy.floats(kept, f"v/{device}")
            self.last[device] = Prototypes(strategy.counted(kept, f"n/{device}"), mean, variance)
        if self.last:
            self._merge()

    def _merge(self) -> None:
        self.merged = distillation.merge([self.last[device] for device in sorted(self.last)])
