"""`student: full`: what is shared is a narrower network beside the device's own, which learns from its answers.

As in FedKD (Wu et al. 2022), where a mentor stays and its mentee travels: the wide network stays at home, its features
learned from the device's samples alone; the narrow one is mixed with everybody's. In each phase

    the device learns from its labels and, by beta, from what the prior, a student, says of its samples;
    the student begins as the prior and learns what the device then says of the same samples, softened by tau.

With beta 0 the fleet's student learns from all devices, and no device from it. The student's features are those that
devices train together in the critical period, without labels; nothing is propagated through either network.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from node_image import readout
from node_image.algorithms.elabip_parameters import Parameters
from node_image.experience import Experience
from node_image.kd.lessons import contrasted, phase_cost, taught
from node_image.kd.strategy import Setting
from node_image.kd.student import StudentPupil
from node_image.packing import Vector
from node_image.readout import Matrix
from node_image.runtime import Body, Cost


def imitated(params: Parameters, student: Matrix, h: Matrix, scores: Matrix, rng: np.random.Generator) -> Matrix:
    """A student's readout after H minibatches towards a teacher's `scores` (samples, classes) of the same samples.

    They descend tau^2 KL(softmax(scores / tau) || softmax(W h / tau)), whose gradient is tau (y - t) h: W / tau learns
    the softened answers as any readout does, and W moves tau times as far.
    """
    tau = np.float32(params.student_temperature)
    learned: Matrix = tau * taught(params, student / tau, h, readout.softmax(scores / tau), rng)
    return learned


@dataclass
class FullStudentPupil:
    """A device's half. `setting` is the student's; `weights` are the readout of the device's own network."""

    setting: Setting
    weights: Matrix
    pause_s: float = 0.0
    student: StudentPupil = field(init=False)

    def __post_init__(self) -> None:
        self.student = StudentPupil(self.setting)

    @property
    def shared(self) -> Matrix:
        """The student's readout."""
        return self.student.weights

    def adopt(self, body: Body) -> Vector:
        """The prior becomes the student; the device's own network stays as it is."""
        return self.student.adopt(body)

    def learn(self, seen: Experience, plasticity: float, rng: np.random.Generator) -> float:
        """First the device, then the student from it; the loss is the device's."""
        params, narrow = self.setting.params, _beside(seen)
        prior = self.student.says(narrow.h) if params.beta else None
        self.weights, loss = contrasted(params, self.weights, seen, prior, plasticity, rng)
        student = imitated(params, self.student.weights, narrow.h, seen.h @ self.weights.T, rng)
        if not np.isfinite(student).all():
            return math.inf  # and the student stays as it was
        self.student.weights = student
        return loss

    @property
    def steps(self) -> int:
        """H of the device and H of the student."""
        return 2 * self.setting.params.local_steps

    def samples(self, seen: Experience) -> int:
        """H minibatches; the student sees as many again."""
        return self.setting.params.local_steps * self.setting.params.batch_size

    def cost(self, seen: Experience) -> Cost:
        """Both learn; the device answers all its samples, and so does the prior where beta lets it speak."""
        own = phase_cost(self.weights, self.samples(seen), self.steps, seen)
        told = self.weights.size + (self.shared.size if self.setting.params.beta else 0)
        return Cost(own.macs + 2.0 * self.shared.size * self.samples(seen) + told * len(seen.h), own.ops + 2.0)

    def divergence(self, seen: Experience) -> float:
        """Between what the device and the prior say of the samples held out."""
        prior = self.student.says(_beside(seen).held_h)
        return readout.divergence(readout.probabilities(self.weights, seen.held_h), prior)

    def knowledge(self, seen: Experience, features: Vector) -> Body:
        """The student's difference to the prior in few bits."""
        return self.student.knowledge(seen, features)


def _beside(seen: Experience) -> Experience:
    assert seen.beside is not None, "a full student sees by its own features"
    return seen.beside
