"""Plasticity p of a device, chosen before each local phase by a small agent that learns what pays off.

Every agent chooses among the same five rates. What it sees and the reward are those of ELABiP's proposal, scaled so
that a point of accuracy near the ceiling counts more than one far below it. Battery and load are seen, not rewarded; of
a device on mains that is as fast as ever both are 0, and the agents then are as they would be without them.
"""

from dataclasses import dataclass, field
from math import inf
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

RATES = (0.001, 0.005, 0.01, 0.05, 0.1)
FIRST = 3  # index of the rate to begin with

PERFORMANCE, CONSISTENCY, STALENESS = 1.0, 0.1, 0.02  # weights of the reward's three terms

FLAT = 0.005  # a change of accuracy below half a point is none
STATES = 3 * 3 * 3 * 2 * 2
LOW, BUSY = 0.8, 0.5  # the battery is low, the device busy from here on
TIMERS_NOISE = 0.05  # less load than this is none
Q_STEP, DISCOUNT = 0.3, 0.5
EPSILON, EPSILON_LEAST, EPSILON_DECAY = 0.3, 0.05, 0.97
PHASES_PER_DECAY = 4  # of the whole fleet

PG_STEP, BASELINE_STEP = 0.5, 0.2
INPUTS = 7  # of the policy


@dataclass(frozen=True)
class Seen:
    """A device's situation: accuracies (0-1) on its held-out samples before and after the last phase, staleness of
    its base in versions, divergence from the prior (0-1), the number of devices, how much of its battery is drained and
    of its speed lacking (0-1)."""

    before: float = 0.0
    after: float = 0.0
    staleness: float = 0.0
    divergence: float = 0.0
    devices: int = 1
    drained: float = 0.0
    load: float = 0.0

    @property
    def gain(self) -> float:
        """Change of accuracy as a share of what was missing."""
        return (self.after - self.before) / (1.0 - self.before + 0.05)

    @property
    def age(self) -> float:
        """Staleness as a share of the fleet's size, at most 2."""
        return min(self.staleness, 2.0 * self.devices) / self.devices


def reward(seen: Seen) -> float:
    """r = gain + 0.1 (1 - divergence) - 0.02 age."""
    return PERFORMANCE * seen.gain + CONSISTENCY * (1.0 - seen.divergence) - STALENESS * seen.age


@dataclass
class Pace:
    """How fast a device has been; it knows of its load by what other work leaves it: speed."""

    least_s: float = inf  # for one unit of work

    def load(self, work: float, took_s: float) -> float:
        """The share of its best speed that a device lacked in a piece of work: 1 - best time / time (0-1)."""
        one_s = took_s / work
        self.least_s = min(self.least_s, one_s)
        lacks = 1.0 - self.least_s / one_s if one_s > 0 else 0.0
        return lacks if lacks >= TIMERS_NOISE else 0.0


class Agent(Protocol):
    """Chooses the index of one of its rates, then is told what came of it."""

    @property
    def rates(self) -> tuple[float, ...]:
        """What there is to choose from."""

    def choose(self, seen: Seen, rng: np.random.Generator) -> int:
        """The rate for the next phase, given how the last one ended."""

    def learn(self, seen: Seen, action: int, gained: float, after: Seen) -> None:
        """`action` was taken in the situation `seen`; it brought this reward and led to `after`."""


def agent(name: str, fixed: float) -> Agent:
    """A new agent: `fixed` (always this rate), `pg` or `q`."""
    match name:
        case "fixed":
            return Fixed((fixed,))
        case "pg":
            return PolicyGradient()
        case _:
            return QLearning()


@dataclass(frozen=True)
class Fixed:
    """No agent: one rate for all times."""

    rates: tuple[float, ...]

    def choose(self, seen: Seen, rng: np.random.Generator) -> int:
        """The only rate."""
        return 0

    def learn(self, seen: Seen, action: int, gained: float, after: Seen) -> None:
        """Nothing to learn."""


def state(seen: Seen) -> int:
    """One of 108: accuracy {fell, flat, rose} x staleness {< N/2, <= N + 2, more} x divergence {< 0.05, < 0.2, more},
    and these 27 for each of battery {well, low} x load {light, busy}."""
    change, fleet = seen.after - seen.before, seen.devices
    trend = 0 if change < -FLAT else 1 if change <= FLAT else 2
    age = 0 if seen.staleness < fleet / 2 else 1 if seen.staleness <= fleet + 2 else 2
    distance = 0 if seen.divergence < 0.05 else 1 if seen.divergence < 0.2 else 2
    strain = 2 * (seen.drained >= LOW) + (seen.load >= BUSY)
    return 27 * strain + 9 * trend + 3 * age + distance


@dataclass
class QLearning:
    """Tabular Q-learning; explores only rates next to the best known one, so that no step is wild."""

    values: NDArray[np.float64] = field(default_factory=lambda: np.zeros((STATES, len(RATES))))
    epsilon: float = EPSILON
    current: int = FIRST
    rates: tuple[float, ...] = RATES

    def choose(self, seen: Seen, rng: np.random.Generator) -> int:
        """The best known rate (the current one among equals), or with probability epsilon a neighbour of it."""
        known = self.values[state(seen)]
        best = self.current if known[self.current] == known.max() else int(known.argmax())
        if rng.random() < self.epsilon:
            neighbours = [each for each in (best - 1, best + 1) if 0 <= each < len(RATES)]
            best = neighbours[int(rng.integers(len(neighbours)))]
        # A device does one phase while the fleet does as many as it has devices.
        self.epsilon = max(EPSILON_LEAST, self.epsilon * EPSILON_DECAY ** (seen.devices / PHASES_PER_DECAY))
        self.current = best
        return best

    def learn(self, seen: Seen, action: int, gained: float, after: Seen) -> None:
        """Q(s, a) += alpha (r + gamma max Q(s') - Q(s, a))."""
        target = gained + DISCOUNT * self.values[state(after)].max()
        self.values[state(seen), action] += Q_STEP * (target - self.values[state(seen), action])


def policy_input(seen: Seen) -> NDArray[np.float64]:
    """What the policy sees: 1, gain, age, divergence, accuracy, drained, load."""
    return np.array([1.0, seen.gain, seen.age, seen.divergence, seen.after, seen.drained, seen.load])


def _preset() -> NDArray[np.float64]:
    weights = np.zeros((len(RATES), INPUTS))
    weights[FIRST, 0] = 1.0
    return weights


@dataclass
class PolicyGradient:
    """A linear softmax policy trained by REINFORCE with a running baseline (Williams 1992)."""

    weights: NDArray[np.float64] = field(default_factory=_preset)
    baseline: float = 0.0
    rates: tuple[float, ...] = RATES

    def policy(self, seen: Seen) -> NDArray[np.float64]:
        """Probability of each rate."""
        preference = self.weights @ policy_input(seen)
        odds = np.exp(preference - preference.max())
        return np.asarray(odds / odds.sum())

    def choose(self, seen: Seen, rng: np.random.Generator) -> int:
        """A rate drawn from the policy."""
        return int(rng.choice(len(RATES), p=self.policy(seen)))

    def learn(self, seen: Seen, action: int, gained: float, after: Seen) -> None:
        """theta += 0.5 (r - b) grad log pi(action), then b += 0.2 (r - b)."""
        taken = np.zeros(len(RATES))
        taken[action] = 1.0
        advantage = gained - self.baseline
        self.weights += PG_STEP * advantage * np.outer(taken - self.policy(seen), policy_input(seen))
        self.baseline += BASELINE_STEP * advantage
