"""Chance on a link: seeded sequences that give the same answers packet by packet and train by train.

An event of probability p at every packet is drawn as the number of packets until the next one (geometric), so a train
of a thousand packets costs as many draws as it has events. What is drawn for a packet depends on the seed and on how
many packets came before it alone, never on time: the same seed loses the same packets.
"""

import math
from random import Random
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.links.shape import BurstLoss

NEVER = 1 << 62  # packets: more than any link will carry
BLOCK = 256


class Chance:
    """Independent events: each packet is hit with the same probability."""

    __slots__ = ("_rng", "_wait", "probability")

    def __init__(self, probability: float, rng: Random) -> None:
        self._rng = rng
        self.set(probability)

    def set(self, probability: float) -> None:
        """Use another probability (0-1) from the next packet on."""
        self.probability = probability
        self._wait = self._gap()

    def _gap(self) -> int:
        """How many packets are spared before the next is hit."""
        return spared(self.probability, self._rng)

    def hit(self) -> bool:
        """Whether the next packet is hit."""
        if self._wait:
            self._wait -= 1
            return False
        self._wait = self._gap()
        return True

    def hits(self, packets: int) -> list[int]:
        """Which of the next so many packets are hit (indices from 0, ascending)."""
        found = []
        at = self._wait
        while at < packets:
            found.append(at)
            at += 1 + self._gap()
        self._wait = at - packets
        return found


def spared(probability: float, rng: Random) -> int:
    """Draw how many packets pass before one of this probability is hit (geometric, from 0)."""
    if probability <= 0.0:
        return NEVER
    if probability >= 1.0:
        return 0
    # 1 - random() lies in (0, 1]: its logarithm exists. The quotient may be infinite, which int() refuses.
    return int(min(NEVER, math.log(1.0 - rng.random()) / math.log1p(-probability)))


class BurstChance:
    """Gilbert-Elliott: a good and a bad state, stepped once a packet; each state has its own loss probability.

    The first state is drawn from the stationary distribution, so short runs are not flattered by a good start.
    """

    __slots__ = ("_bad", "_chances", "_leave", "_rng", "_stay", "model")

    def __init__(self, model: BurstLoss, rng: Random) -> None:
        self.model = model
        self._rng = rng
        self._leave = (model.to_bad, model.to_good)
        self._chances = (Chance(model.loss_good, rng), Chance(model.loss_bad, rng))
        moving = model.to_bad + model.to_good
        self._bad = bool(moving) and rng.random() < model.to_bad / moving
        self._stay = self._spell()

    def _spell(self) -> int:
        """How many packets see the present state: at least one, 1/probability of leaving on average."""
        return 1 + spared(self._leave[self._bad], self._rng)

    def hit(self) -> bool:
        """Whether the next packet is lost."""
        if self._stay == 0:
            self._bad = not self._bad
            self._stay = self._spell()
        self._stay -= 1
        return self._chances[self._bad].hit()

    def hits(self, packets: int) -> list[int]:
        """Which of the next so many packets are lost (indices from 0, ascending)."""
        found: list[int] = []
        at = 0
        while at < packets:
            if self._stay == 0:
                self._bad = not self._bad
                self._stay = self._spell()
            step = min(self._stay, packets - at)
            found.extend(at + hit for hit in self._chances[self._bad].hits(step))
            self._stay -= step
            at += step
        return found


class Spread:
    """Deviations with mean 0 and standard deviation 1, drawn in blocks.

    `pareto` has the shape of tc's table (alpha 3: many a little early, few much too late), scaled here so that its
    standard deviation is exactly 1; tc's table has 4/3 of sqrt(3/4) in place of 1.
    """

    __slots__ = ("_at", "_block", "_draw", "kind")

    def __init__(self, kind: Literal["normal", "pareto"], seed: str) -> None:
        self.kind = kind
        self._draw = np.random.default_rng(list(seed.encode()))
        self._block: list[float] = []
        self._at = 0

    def _drawn(self, count: int) -> NDArray[np.float64]:
        if self.kind == "normal":
            return self._draw.standard_normal(count)
        return ((1.0 - self._draw.random(count)) ** (-1.0 / 3.0) - 1.5) / math.sqrt(0.75)

    def one(self) -> float:
        """The next deviation."""
        if self._at == len(self._block):
            self._block = self._drawn(BLOCK).tolist()
            self._at = 0
        self._at += 1
        return self._block[self._at - 1]

    def many(self, count: int) -> NDArray[np.float64]:
        """The next so many, the same that `one` would have given."""
        ready = self._block[self._at : self._at + count]
        self._at += len(ready)
        return np.concatenate((ready, self._drawn(count - len(ready))))
