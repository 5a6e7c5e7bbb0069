"""`stats`: z_k are sums over features, from which the coordinator solves the ridge regression on all samples at once.

Exact whatever the order, the staleness and the split. Devices do not learn: they count. Each update says from which of
the device's samples on its sums are, so that after a loss or a crash none counts twice and none is left out.
The sums tell the coordinator the second moments of a device's features.
"""

from dataclasses import dataclass, field

import numpy as np

from node_image import distillation, knowledge, readout
from node_image.algorithms.exchange import whole
from node_image.distillation import Sums
from node_image.experience import Experience
from node_image.kd.lessons import phase_cost
from node_image.kd.strategy import NOTHING, Kept, Setting, counted, devices, doubles, one
from node_image.packing import RefusedError, Vector, pack_model, unpack_model
from node_image.readout import Matrix
from node_image.runtime import Body, Cost

LEAST_PENALTY = 1e-6  # keeps the equations solvable


@dataclass
class StatsPupil:
    """A device's half: its samples from number `first` on are not with the coordinator yet."""

    setting: Setting
    weights: Matrix = field(init=False)
    first: int = 0
    pause_s: float = 1.0  # it has nothing else to do

    def __post_init__(self) -> None:
        self.weights = self.setting.weights_of(self.setting.initial)

    def adopt(self, body: Body) -> Vector:
        """The solved readout, and how many of this device's samples are in it."""
        held = whole(body, "held")
        if self.setting.params.prior != "none":
            self.weights = self.setting.weights_of(unpack_model(body, self.setting.parts))
        self.first = held
        return NOTHING

    def learn(self, seen: Experience, plasticity: float, rng: np.random.Generator) -> float:
        """Nothing: the coordinator solves."""
        return readout.cross_entropy(
            readout.probabilities(self.weights, seen.h), readout.one_hot(seen.labels, self.setting.classes)
        )

    @property
    def shared(self) -> Matrix:
        """The solved readout."""
        return self.weights

    @property
    def steps(self) -> int:
        """One look at all samples."""
        return 1

    def samples(self, seen: Experience) -> int:
        """Each once, to see how the solved readout does."""
        return len(seen.h)

    def cost(self, seen: Experience) -> Cost:
        """A look at all, and three at those held out."""
        return phase_cost(self.weights, self.samples(seen), self.steps, seen)

    def divergence(self, seen: Experience) -> float:
        """None: the device's weights are the prior's."""
        return 0.0

    def knowledge(self, seen: Experience, features: Vector) -> Body:
        """Sums of the samples that the coordinator does not have; nothing where it has all."""
        h, labels = seen.since(self.first)
        if not len(h):
            return {}
        new = distillation.sums(h, labels, self.setting.classes)
        return {"first": self.first, "z": knowledge.pack_sums(new)}


@dataclass
class StatsPrior:
    """The coordinator's half: the sums of all samples, and how many of each device's are in them."""

    setting: Setting
    weights: Matrix = field(init=False)
    total: Sums = field(init=False)
    held: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.weights = self.setting.weights_of(self.setting.initial)
        self.total = distillation.no_sums(self.weights.shape[1], self.setting.classes)

    def take(self, sender: str, body: Body, reference: Vector, staleness: int) -> None:
        """Add the sums of samples that follow those held already."""
        first, held = whole(body, "first"), self.held.get(sender, 0)
        if first != held:
            raise RefusedError("gap" if first > held else "counted")
        packed = knowledge.row_of_bytes(body, "z")
        new = knowledge.unpack_sums(packed, self.weights.shape[1], self.setting.classes)
        self.total += new
        self.held[sender] = held + new.samples

    def settle(self, rng: np.random.Generator) -> None:
        """W = (A + lambda I)^-1 S."""
        if self.total.samples:
            self.weights = distillation.ridge(self.total, max(self.setting.params.ridge, LEAST_PENALTY))

    def cost(self) -> Cost:
        """Work of solving D equations for C classes."""
        classes, features = self.weights.shape
        return Cost(features**3 / 3 + classes * features**2, 3.0)

    def body(self, device: str) -> tuple[Body, Vector]:
        """W in few bits, and how many of the device's samples are in it."""
        held: Body = {"held": self.held.get(device, 0)}
        if self.setting.params.prior == "none":
            return held, NOTHING
        return {**held, **pack_model(self.vector(), self.setting.parts, self.setting.params.bits)}, NOTHING

    def vector(self) -> Vector:
        """W."""
        return readout.flatten(self.weights)

    def kept(self) -> Kept:
        """The sums, and whose samples are in them."""
        held = {f"held/{device}": count for device, count in self.held.items()}
        return {"a": self.total.gram, "s": self.total.cross, "samples": self.total.samples, **held}

    def restore(self, kept: Body) -> None:
        """The sums, and whose samples are in them."""
        self.total = Sums(one(kept, "samples"), doubles(kept, "a"), doubles(kept, "s"))
        self.held = {device: int(counted(kept, f"held/{device}")) for device in devices(kept, "held/")}
        if self.total.samples:
            self.weights = distillation.ridge(self.total, max(self.setting.params.ridge, LEAST_PENALTY))
