"""`logits`: z_k are class probabilities on public samples that all nodes hold, and the device's label counts.

The coordinator fuses what devices said last, class by class (`distillation.fuse`), and sharpens it. It has no weights
to test, so it keeps a readout of its own, which learns the result on the public samples after each update.
The label counts tell the coordinator of which classes a device's samples are.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from node_image import distillation, knowledge, readout
from node_image.aggregate import polynomial
from node_image.experience import Experience
from node_image.kd import strategy
from node_image.kd.lessons import half_and_half, steps_cost, taught
from node_image.kd.strategy import NOTHING, ByMinibatches, Kept, Setting
from node_image.packing import RefusedError, Vector
from node_image.readout import Matrix
from node_image.runtime import Body, Cost


@dataclass
class LogitsPupil(ByMinibatches):
    """A device's half: it learns half from its labels, half from what the fleet says of the public samples (`q`)."""

    q: Matrix | None = None

    def adopt(self, body: Body) -> Vector:
        """The fleet's word on the public samples; at first there is none."""
        public = self.setting.public
        if not len(public):
            raise RefusedError("no_public_samples")
        if "z" in body:
            shape, bits = (len(public), self.setting.classes), self.setting.params.bits
            self.q = knowledge.unpack_probabilities(knowledge.row_of_bytes(body, "z"), shape, bits)
        return NOTHING

    def learn(self, seen: Experience, plasticity: float, rng: np.random.Generator) -> float:
        """Half and half; local samples alone while nobody has said anything."""
        public = self.setting.public[:0] if self.q is None else self.setting.public
        targets = public if self.q is None else self.q
        params = self.setting.params
        self.weights, loss = half_and_half(params, self.weights, seen, public, targets, plasticity, rng)
        return loss

    def divergence(self, seen: Experience) -> float:
        """Between what the device and the fleet say of the public samples."""
        if self.q is None:
            return 0.0
        return readout.divergence(readout.probabilities(self.weights, self.setting.public), self.q)

    def knowledge(self, seen: Experience, features: Vector) -> Body:
        """Counts and probabilities, 4 C + ceil(R C b / 8) bytes."""
        counts = np.bincount(seen.labels, minlength=self.setting.classes)
        said = readout.probabilities(self.weights, self.setting.public)
        packed = knowledge.pack_probabilities(said, self.setting.params.bits)
        return {"z": np.concatenate([knowledge.pack_counts(counts), packed])}


@dataclass(frozen=True)
class Opinion:
    """A device's last word: (R, C) probabilities, its label counts, and the number of the update it was fresh at."""

    probabilities: Matrix
    counts: NDArray[np.int64]
    at: int


@dataclass
class LogitsPrior:
    """The coordinator's half: everybody's last opinion, what they come to (`q`), and a readout that learns it."""

    setting: Setting
    weights: Matrix = field(init=False)
    opinions: dict[str, Opinion] = field(default_factory=dict)
    taken: int = 0
    q: Matrix | None = None

    def __post_init__(self) -> None:
        self.weights = self.setting.weights_of(self.setting.initial)

    def take(self, sender: str, body: Body, reference: Vector, staleness: int) -> None:
        """Replace the device's opinion, and fuse all; one weighs less the more updates came since."""
        counts, packed = knowledge.unpack_counts(knowledge.row_of_bytes(body, "z"), self.setting.classes)
        shape = len(self.setting.public), self.setting.classes
        said = knowledge.unpack_probabilities(packed, shape, self.setting.params.bits)
        self.taken += 1
        self.opinions[sender] = Opinion(said, counts, self.taken - staleness)
        self._fuse()

    def settle(self, rng: np.random.Generator) -> None:
        """The coordinator's readout learns q."""
        if self.q is not None:
            self.weights = taught(self.setting.params, self.weights, self.setting.public, self.q, rng)

    def cost(self) -> Cost:
        """Work of a phase's steps."""
        return steps_cost(self.setting.params, self.weights)

    def body(self, device: str) -> tuple[Body, Vector]:
        """q in few bits; nothing while nobody has said anything."""
        params = self.setting.params
        if self.q is None or params.prior == "none":
            return {}, NOTHING
        return {"z": knowledge.pack_probabilities(self.q, params.bits)}, NOTHING

    def vector(self) -> Vector:
        """The coordinator's readout."""
        return readout.flatten(self.weights)

    def kept(self) -> Kept:
        """All opinions, and the readout."""
        kept: Kept = {"g": self.vector(), "taken": self.taken}
        for device, each in self.opinions.items():
            kept |= {f"p/{device}": each.probabilities, f"n/{device}": each.counts, f"at/{device}": each.at}
        return kept

    def restore(self, kept: Body) -> None:
        """All opinions, and the readout."""
        self.weights = self.setting.weights_of(strategy.floats(kept, "g"))
        self.taken = strategy.one(kept, "taken")
        for device in strategy.devices(kept, "p/"):
            said, counts = strategy.floats(kept, f"p/{device}"), strategy.counted(kept, f"n/{device}")
            self.opinions[device] = Opinion(said, counts, strategy.one(kept, f"at/{device}"))
        if self.opinions:
            self._fuse()

    def _fuse(self) -> None:
        params, heard = self.setting.params, [self.opinions[device] for device in sorted(self.opinions)]
        ages = [polynomial(self.taken - each.at, params.polynomial_a) for each in heard]
        fused = distillation.fuse([each.probabilities for each in heard], [each.counts for each in heard], ages)
        self.q = distillation.sharpen(fused, params.temperature)
