"""When a fault acts, and on whom: everything that a scenario leaves to chance is drawn here, by the seed. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, cos, gamma, pi
from typing import TYPE_CHECKING

import numpy as np

from orchestrator.forms.when import AnyProcess, Bernoulli, Diurnal, OnOff, Outage, Repeat
from orchestrator.mobility import Spell

if TYPE_CHECKING:  # the kinds of faults import the plan, which imports this
    from orchestrator.forms.fault import Fault
    from orchestrator.forms.scenario import Scenario

MAX_OCCURRENCES = 20_000


@dataclass(frozen=True)
class Occurrence:
    """The fault acts from `at_s` to `heal_s` (None: for good) on these victims."""

    at_s: float
    heal_s: float | None
    victims: tuple[str, ...]


class TooManyError(ValueError):
    """A fault would act more often than a run can be told of."""


def occurrences(fault: "Fault", victims: tuple[str, ...], scenario: "Scenario", seed: int) -> list[Occurrence]:
    """Every time that a written fault acts before the end of the run; one that waits for something has none."""
    begin_s, end_s = fault.begins_s, scenario.stop_after_s
    if fault.repeat is not None:
        return again(begin_s, fault.for_s, fault.repeat, victims, end_s)
    if fault.trace is not None:
        return by_trace(fault.trace.of(victims), begin_s, end_s)
    if fault.random is not None:
        groups = {end.name: end.group for end in scenario.ends}
        return by_chance(fault.random, begin_s, fault.for_s, victims, groups, end_s, seed)
    return [Occurrence(begin_s, None if fault.for_s is None else begin_s + fault.for_s, victims)]


def again(at_s: float, for_s: float | None, repeat: Repeat, victims: tuple[str, ...], end_s: float) -> list[Occurrence]:
    """At the same distance, on the same victims."""
    most = ceil((end_s - at_s) / repeat.every_s)
    times = most if repeat.times is None else min(repeat.times, most)
    _check(times)
    starts = [at_s + number * repeat.every_s for number in range(times)]
    return [Occurrence(start, None if for_s is None else start + for_s, victims) for start in starts]


def by_trace(spells: Mapping[str, tuple[Spell, ...]], at_s: float, end_s: float) -> list[Occurrence]:
    """As a trace of absences says, which begins at `at_s`."""
    found = [
        Occurrence(at_s + begin, None if end is None else at_s + end, (name,))
        for name, each in spells.items()
        for begin, end in each
        if at_s + begin < end_s
    ]
    _check(len(found))
    return found


def by_chance(
    process: AnyProcess,
    at_s: float,
    for_s: float | None,
    victims: Sequence[str],
    groups: Mapping[str, str],
    end_s: float,
    seed: int,
) -> list[Occurrence]:
    """Drawn from a random process that begins at `at_s`; `groups` says to which each victim belongs."""
    rng = np.random.default_rng(seed)
    drawn: Iterator[Occurrence]
    match process:
        case OnOff():
            drawn = (
                Occurrence(begin, end, (name,)) for name in victims for begin, end in _on_off(process, at_s, end_s, rng)
            )
        case Bernoulli():
            drawn = _bernoulli(process, at_s, for_s or process.every_s, victims, end_s, rng)
        case Outage():
            drawn = _outages(process, at_s, for_s or process.every_s, victims, groups, end_s, rng)
        case Diurnal():
            drawn = _diurnal(process, at_s, victims, end_s, rng)
    found = []
    for occurrence in drawn:
        found.append(occurrence)
        _check(len(found))
    return found


def _on_off(process: OnOff, at_s: float, end_s: float, rng: np.random.Generator) -> Iterator[tuple[float, float]]:
    scale = 1 / gamma(1 + 1 / process.shape)  # so that the mean of the Weibull distribution is 1
    t = at_s
    while True:
        t += process.up_s * scale * float(rng.weibull(process.shape))
        if t >= end_s:
            return
        back_s = t + process.down_s * scale * float(rng.weibull(process.shape))
        yield t, back_s
        t = back_s


def _bernoulli(
    process: Bernoulli, at_s: float, for_s: float, victims: Sequence[str], end_s: float, rng: np.random.Generator
) -> Iterator[Occurrence]:
    until = dict.fromkeys(victims, 0.0)
    for number in range(ceil((end_s - at_s) / process.every_s)):
        t = at_s + number * process.every_s
        hit = rng.random(len(victims)) < process.probability
        for name, is_hit in zip(victims, hit, strict=True):
            if is_hit and until[name] <= t:
                until[name] = t + for_s
                yield Occurrence(t, t + for_s, (name,))


def _outages(
    process: Outage,
    at_s: float,
    for_s: float,
    victims: Sequence[str],
    groups: Mapping[str, str],
    end_s: float,
    rng: np.random.Generator,
) -> Iterator[Occurrence]:
    t = at_s
    regions = sorted({groups[name] for name in victims})
    while (t := t + float(rng.exponential(process.every_s))) < end_s:
        among = list(victims)
        if process.region == "group":
            region = regions[int(rng.integers(len(regions)))]
            among = [name for name in victims if groups[name] == region]
        count = max(1, round(process.share * len(among)))
        chosen = sorted(rng.choice(len(among), count, replace=False))
        yield Occurrence(t, t + for_s, tuple(among[index] for index in chosen))


def _diurnal(
    process: Diurnal, at_s: float, victims: Sequence[str], end_s: float, rng: np.random.Generator
) -> Iterator[Occurrence]:
    middle, swing = (process.most + process.least) / 2, (process.most - process.least) / 2
    began: dict[str, float] = {}
    for number in range(ceil((end_s - at_s) / process.every_s)):
        t = number * process.every_s
        up = rng.random(len(victims)) < middle + swing * cos(2 * pi * t / process.period_s)
        for name, is_up in zip(victims, up, strict=True):
            if not is_up:
                began.setdefault(name, at_s + t)
            elif name in began:
                yield Occurrence(began.pop(name), at_s + t, (name,))
    for name, begin in began.items():
        yield Occurrence(begin, None, (name,))


def _check(count: int) -> None:
    if count > MAX_OCCURRENCES:
        raise TooManyError(f"comes to more than {MAX_OCCURRENCES} single faults; make it rarer, or the run shorter")
