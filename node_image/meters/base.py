"""What meters have in common: a reading, what is known of its truth, and an error that holds its remedy.

A meter imports the standard library alone, so that a bare board can be asked which of them work there.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

NOT_STATED = "not stated by the maker"
LARGEST_NOISE_W = 0.1  # below zero: what a sensor's offset makes of no current at all (80 uV over 5 mOhm at 5 V)


class MeterError(RuntimeError):
    """A meter cannot be used, or did not answer: what was tried and what came back, and what to do about it."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}. {remedy}")


@dataclass(frozen=True)
class About:
    """What a meter's joules are of (`covers`), how true they are, and who says so (`cited`)."""

    covers: str
    accuracy: str
    cited: str


@dataclass(frozen=True)
class Reading:
    """What a meter says at `t_s` (the caller's clock).

    `joules_total` counts from the first reading and never falls; None: the meter knows power alone. `watts` is the
    power now; None: not known yet. `missing_s` are the seconds since the first reading that `joules_total` leaves out.
    `rails_watts` tells parts apart where the meter can; they are for looking at, `watts` is what is summed.
    """

    t_s: float
    watts: float | None
    joules_total: float | None = None
    missing_s: float = 0.0
    rails_watts: Mapping[str, float] = field(default_factory=dict)


class Meter(Protocol):
    """A source of joules, opened and asked once."""

    @property
    def name(self) -> str:
        """Its name in the table of meters: that of its file."""

    @property
    def about(self) -> About:
        """What is measured and how well."""

    @property
    def shortest_period_s(self) -> float:
        """Its values do not change faster than this, or a reading costs too much."""

    def read(self, now_s: float) -> Reading:
        """The values now; MeterError where it gives none."""

    def close(self) -> None:
        """Let go of what it holds open."""


class MeterKind(Protocol):
    """A meter's file: a frozen dataclass `Parameters`, and `build`."""

    @property
    def Parameters(self) -> type[Any]:
        """What can be set of it."""

    def build(self, params: Any) -> Meter:
        """The meter, checked to be there; MeterError says what to do where it is not."""


def power(watts: float, where: str) -> float:
    """A power that can be true: a little below zero is zero; MeterError for anything further below, or no number."""
    if math.isfinite(watts) and watts >= -LARGEST_NOISE_W:
        return max(0.0, watts)
    raise MeterError(
        f"{where} reads {watts:.3g} W", "Current seems to flow backwards: swap the two wires of the shunt."
    )
