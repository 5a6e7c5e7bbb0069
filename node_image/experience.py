"""What a device has experienced: features of its samples, computed once as they arrive, and their labels."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from node_image import readout
from node_image.readout import Habit, Labels, Matrix, Vector
from node_image.runtime import NodeRuntime

if TYPE_CHECKING:
    from node_image.learner import Learner


@dataclass
class Experience:
    """Features with the constant 1 behind (samples, features + 1), in order of arrival; every sixth is held out.

    At most `limit` samples are kept, the newest (0: all). `gamma` above 0 makes the features to learn from, `h`, an
    eligibility trace. The features are the `learner`'s (None: the node's own); `beside` is what a second network makes
    of the very same samples.
    """

    features: int
    classes: int
    limit: int = 0
    gamma: float = 0.0
    learner: "Learner | None" = None
    beside: "Experience | None" = None
    arrived: int = 0  # number of the next sample
    _rows: Matrix = field(init=False)
    _traces: Matrix = field(init=False)
    _labels: Labels = field(init=False)

    def __post_init__(self) -> None:
        self._rows = self._traces = np.empty((0, self.features + 1), np.float32)
        self._labels = np.empty(0, np.int64)
        self._derive()

    async def grow(self, node: NodeRuntime, there: int | None = None) -> None:
        """Take in what has arrived since, or up to sample number `there`, by the features as they are."""
        there = node.learner.samples(node.now()) if there is None else there
        learner, count = self.learner or node.learner, there - self.arrived
        if count > 0:
            x, labels = node.learner.raw(self.arrived, count, node.now())
            features = await node.compute(lambda: learner.features(x), learner.features_cost(count))
            self.add(readout.extended(features), labels.astype(np.int64))
        if self.beside is not None:
            await self.beside.grow(node, there)

    def renewed(self) -> "Experience":
        """For a network whose features have changed, the one beside where there is one: all is to be computed anew."""
        if self.beside is None:
            return Experience(self.features, self.classes, self.limit, self.gamma, self.learner)
        self.beside = self.beside.renewed()
        return self

    def add(self, h: Matrix, labels: Labels) -> None:
        """Take in the next samples."""
        traces = h
        if self.gamma:
            before = self._traces[-1] if len(self._traces) else h[0]
            traces = readout.eligibility(h, before, self.gamma)
        self.arrived += len(labels)
        self._rows = np.concatenate([self._rows, h])[-self.limit :]
        self._traces = np.concatenate([self._traces, traces])[-self.limit :]
        self._labels = np.concatenate([self._labels, labels])[-self.limit :]
        self._derive()

    def since(self, first: int) -> tuple[Matrix, Labels]:
        """All samples from number `first` on, those held out as well, as far as they are kept."""
        kept_from = self.arrived - len(self._rows)
        return self._rows[max(0, first - kept_from) :], self._labels[max(0, first - kept_from) :]

    def accuracy(self, weights: Matrix) -> float:
        """How a readout does on the samples held out."""
        return readout.accuracy(weights, self.held_h, self.held_labels)

    def _derive(self) -> None:
        held = readout.held_out(self.arrived - len(self._rows), len(self._rows))
        self.h, self.labels = self._traces[~held], self._labels[~held]
        self.held_h, self.held_labels = self._rows[held], self._labels[held]
        self.log_prior: Vector = readout.log_prior(np.bincount(self.labels, minlength=self.classes))
        if len(self.h):
            self.habit: Habit = readout.habit(self.h)
