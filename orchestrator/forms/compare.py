"""`compare:`: one run for each combination of algorithms, seeds and any other values.

Where the things compared differ in more than one value (another algorithm with another model, say), `arms` names them:
each arm is a name and the values that make it. `settings` are the same for what the arms are compared in (a network, a
failure schedule), and `factors` for any number of things that are varied at a time (`orchestrator.forms.axes`).
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import PlainSerializer, ValidationError

from orchestrator.forms.axes import ALGORITHM, ALGORITHM_PATH, FACTORS, Axis, read_axes
from orchestrator.forms.base import Mistake, Reading, mistakes_of, read_by, refusal, shown, unknown
from orchestrator.forms.claim import Claim
from orchestrator.forms.plugin import with_shared
from orchestrator.written import PathError, Written
from orchestrator.yaml_loader import DataPath

MAX_RUNS = 10_000
SEEDS = "seeds"
CLAIMS = "claims"


@dataclass(frozen=True)
class Compare:
    """`axes`: what is varied. `seeds`: a number, or which."""

    axes: tuple[Axis, ...]
    seeds: int | tuple[int, ...] | None
    claims: tuple[Claim, ...] = ()

    def seeds_from(self, seed: int) -> tuple[int, ...]:
        """The seeds: as listed, or so many from the scenario's own."""
        if isinstance(self.seeds, int):
            return tuple(range(seed, seed + self.seeds))
        return self.seeds or (seed,)


@dataclass(frozen=True)
class Change:
    """One value of one axis: `path` in the scenario is set to what stands at `place` under `compare`."""

    label: str
    path: DataPath
    place: DataPath
    value: Any


@dataclass(frozen=True)
class Combination:
    """One value of every axis (`factors`: title and word of each), and the scenario as it would be written with them.

    Changes are in the order in which they are made.
    """

    factors: tuple[tuple[str, str], ...]
    written: Written
    changes: tuple[Change, ...]

    @property
    def label(self) -> str:
        """`algorithm=fedavg learning.rule.learning_rate=0.1`."""
        return " ".join(f"{title}={word}" for title, word in self.factors)


def _is_seed(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _read_claims(value: Any, names: set[str]) -> tuple[tuple[Claim, ...], list[Mistake]]:
    if not isinstance(value, list):
        return (), [((CLAIMS,), f"must be a list of claims{shown(value)}")]
    claims: list[Claim] = []
    mistakes: list[Mistake] = []
    for index, each in enumerate(value):
        try:
            claim = Claim.model_validate(each)
        except ValidationError as error:
            mistakes += [((CLAIMS, index, *path), text) for path, text in mistakes_of(error)]
            continue
        claims.append(claim)
        for key, name in (("arm", claim.arm), ("against", claim.against)):
            if name is not None and name not in names:
                mistakes.append(((CLAIMS, index, key), unknown("arm", name, names)))
    return tuple(claims), mistakes


def _read_compare(value: Any, _: Reading) -> Compare:
    if not isinstance(value, Mapping):
        raise refusal([((), f"must be a mapping: algorithm, seeds or any path, each with a list{shown(value)}")])
    mistakes: list[Mistake] = []
    seeds = value.get(SEEDS)
    if isinstance(seeds, list):
        if not seeds or not all(_is_seed(seed) for seed in seeds) or len(set(seeds)) < len(seeds):
            mistakes.append(((SEEDS,), f"must be different whole numbers{shown(seeds)}"))
    elif SEEDS in value and (not _is_seed(seeds) or seeds == 0):
        mistakes.append(((SEEDS,), f"must be how many (5), or which ([1, 2, 3]){shown(seeds)}"))
    runs = 1 if mistakes or seeds is None else len(seeds) if isinstance(seeds, list) else seeds
    axes, wrong = read_axes(value, (SEEDS, CLAIMS))
    mistakes += wrong
    for axis in axes:
        runs *= len(axis.values)
    if runs > MAX_RUNS:
        mistakes.append(((), f"makes {runs} runs; at most {MAX_RUNS}"))
    if mistakes:
        raise refusal(mistakes)
    named = {word for axis in axes if axis.compares_arms for word in axis.words()}
    claims, mistakes = _read_claims(value.get(CLAIMS, []), named)
    if mistakes:
        raise refusal(mistakes)
    return Compare(axes, tuple(seeds) if isinstance(seeds, list) else seeds, claims)


def _write_compare(compare: Compare) -> dict[str, Any]:
    written: dict[str, Any] = {}
    for axis in compare.axes:
        within = written.setdefault(FACTORS, {}) if axis.place[0] == FACTORS else written
        within[axis.key] = list(axis.values)
    if compare.seeds is not None:
        written[SEEDS] = compare.seeds if isinstance(compare.seeds, int) else list(compare.seeds)
    if compare.claims:
        claims = [claim.model_dump(mode="json", by_alias=True, exclude_none=True) for claim in compare.claims]
        written[CLAIMS] = claims
    return written


CompareField = Annotated[
    Compare,
    read_by(_read_compare, dict[str, Any]),
    PlainSerializer(_write_compare, return_type=dict[str, Any]),
]


def algorithms(compare: Compare, written: Written) -> list[dict[str, Any]]:
    """The algorithms compared, each as it would be written by itself."""
    values = next((axis.values for axis in compare.axes if axis.place == (ALGORITHM,)), ())
    return [with_shared(written.data.get("learning", {}).get("algorithm"), value) for value in values]


def combinations(compare: Compare, written: Written) -> Iterator[Combination]:
    """Every combination but for the seeds; ValidationError where a path leads nowhere, its own below `compare`."""
    plain = Written(written.document, {key: each for key, each in written.data.items() if key != "compare"})
    words = [axis.words() for axis in compare.axes]
    for chosen in itertools.product(*(range(len(axis.values)) for axis in compare.axes)):
        factors = tuple((axis.title, words[n][chosen[n]]) for n, axis in enumerate(compare.axes))
        changes = [
            Change(f"{title}={word}", path, place, value)
            for axis, index, (title, word) in zip(compare.axes, chosen, factors, strict=True)
            for place, path, value in axis.changes(index)
        ]
        # From the outside in, so that learning.algorithm.local_steps changes the algorithm that another axis sets.
        changes.sort(key=lambda change: len(change.path))
        variant = plain
        for change in changes:
            value = change.value
            if change.path == ALGORITHM_PATH:
                value = with_shared(written.data.get("learning", {}).get("algorithm"), value)
            try:
                variant = variant.with_value(change.path, value)
            except PathError as error:
                where = change.place[:-1] if isinstance(change.place[-1], int) else change.place
                raise refusal([(("compare", *where), str(error))]) from error
        yield Combination(factors, variant, tuple(changes))
