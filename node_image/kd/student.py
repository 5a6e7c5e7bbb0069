"""`student`: what is shared are weights, the readout's alone (ELABiP's default) or, with open features, the model's.

z_k is the b-bit difference to the prior. G <- (1 - a) G + a (w_ref + delta) with a = alpha (staleness + 1) ** -a. With
beta 0 and 32 bits this is FedAsync restricted to the readout: what ELABiP saves comes from features that are learnt
without labels, and from few bits. A student that is a network of its own is in `full`. `none` is the same with the
whole model: naive parameter mixing, no distillation.
"""

from dataclasses import dataclass, field

import numpy as np

from node_image import readout
from node_image.aggregate import mix, polynomial
from node_image.experience import Experience
from node_image.kd.lessons import contrasted
from node_image.kd.strategy import NOTHING, ByMinibatches, Kept, Setting, devices, floats
from node_image.packing import Vector, pack_model, pack_update, unpack_model, unpack_update
from node_image.readout import Matrix
from node_image.runtime import Body, Cost


@dataclass
class StudentPupil(ByMinibatches):
    """A device's half: `reference` is the prior as it arrived, on which its next update builds."""

    reference: Vector = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.reference = self.setting.initial

    def adopt(self, body: Body) -> Vector:
        """The prior becomes the device's own weights; an acknowledgement changes nothing."""
        if self.setting.params.prior == "none":
            return NOTHING
        self.reference = unpack_model(body, self.setting.parts)
        self.weights = self.setting.weights_of(self.reference)
        return self.reference[: self.setting.parts[-2].start]

    def learn(self, seen: Experience, plasticity: float, rng: np.random.Generator) -> float:
        """Contrastive Hebbian steps; the clamped target leans towards the prior's prediction by beta."""
        params = self.setting.params
        prior = self.says(seen.h) if params.beta else None
        self.weights, loss = contrasted(params, self.weights, seen, prior, plasticity, rng)
        return loss

    def says(self, h: Matrix) -> Matrix:
        """What the prior says of these samples."""
        return readout.probabilities(self.setting.weights_of(self.reference), h)

    def cost(self, seen: Experience) -> Cost:
        """H minibatches, and three looks; the prior answers all samples where beta lets it speak."""
        own = super().cost(seen)
        return Cost(own.macs + self.weights.size * len(seen.h) * (self.setting.params.beta > 0), own.ops)

    def divergence(self, seen: Experience) -> float:
        """Between what the device and the prior say of the samples held out."""
        return readout.divergence(readout.probabilities(self.weights, seen.held_h), self.says(seen.held_h))

    def knowledge(self, seen: Experience, features: Vector) -> Body:
        """The difference to the prior in few bits."""
        below = features[: self.setting.parts[-2].start]
        current = np.concatenate([below, readout.flatten(self.weights)])
        return pack_update(self.reference, current, self.setting.parts, self.setting.params.bits)


@dataclass
class StudentPrior:
    """The coordinator's half: G, and for personal priors each device's own last weights.

    A personal prior is (1 - m) G + m w_k, m being `personal_share`. Without a prior every update builds on the initial
    weights, which both ends know.
    """

    setting: Setting
    g: Vector = field(init=False)
    own: dict[str, Vector] = field(default_factory=dict)
    _packed: tuple[Vector, Body, Vector] | None = None  # G, as it travels and as it arrives, for all who hear the same

    def __post_init__(self) -> None:
        self.g = self.setting.initial

    def take(self, sender: str, body: Body, reference: Vector, staleness: int) -> None:
        """Mix in w_ref + delta."""
        params = self.setting.params
        base = self.setting.initial if params.prior == "none" else reference
        update = unpack_update(body, base, self.setting.parts)
        self.g = mix(self.g, update, params.mixing * polynomial(staleness, params.polynomial_a))
        if params.prior == "personal":
            self.own[sender] = update

    def settle(self, rng: np.random.Generator) -> None:
        """Nothing is left to do."""

    def cost(self) -> Cost:
        """Work of one mix."""
        return Cost(2.0 * self.g.size, 3.0)

    def body(self, device: str) -> tuple[Body, Vector]:
        """The prior in few bits, and as it arrives."""
        params = self.setting.params
        if params.prior == "none":
            return {}, NOTHING
        if device in self.own:
            return self._pack(mix(self.g, self.own[device], params.personal_share))
        if self._packed is None or self._packed[0] is not self.g:
            self._packed = self.g, *self._pack(self.g)
        return self._packed[1:]

    def vector(self) -> Vector:
        """G."""
        return self.g

    def kept(self) -> Kept:
        """G, and each device's own."""
        return {"g": self.g, **{f"own/{device}": vector for device, vector in self.own.items()}}

    def restore(self, kept: Body) -> None:
        """G, and each device's own."""
        self.g = floats(kept, "g")
        self.own = {device: floats(kept, f"own/{device}") for device in devices(kept, "own/")}

    def _pack(self, told: Vector) -> tuple[Body, Vector]:
        packed = pack_model(told, self.setting.parts, self.setting.params.bits)
        return packed, unpack_model(packed, self.setting.parts)
