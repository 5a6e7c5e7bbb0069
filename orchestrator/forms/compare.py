"""`compare:`: one run for each combination of algorithms, seeds and any other values."""

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import PlainSerializer

from orchestrator.forms.base import Mistake, Reading, read_by, refusal, shown
from orchestrator.forms.plugin import with_shared
from orchestrator.written import PathError, Written, path_of
from orchestrator.yaml_loader import DataPath

MAX_RUNS = 10_000
ALGORITHM = "algorithm"
SEEDS = "seeds"
ALGORITHM_PATH: DataPath = ("learning", "algorithm")


@dataclass(frozen=True)
class Compare:
    """`axes`: what is varied (`algorithm` or a dotted path) and its values. `seeds`: a number of them, or which."""

    axes: tuple[tuple[str, tuple[Any, ...]], ...]
    seeds: int | tuple[int, ...] | None

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


@dataclass(frozen=True)
class Combination:
    """One value of every axis, and the scenario as it would be written with them."""

    label: str
    written: Written
    changes: tuple[Change, ...]


def _is_seed(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


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
    for name, values in value.items():
        if name in ("seed", "compare", "name"):
            mistakes.append(((name,), f"{name} cannot be compared; for several seeds write seeds: 5"))
        elif name != SEEDS and not (isinstance(values, list) and values):
            mistakes.append(((name,), f"must be a list of the values to compare{shown(values)}"))
        elif name != SEEDS:
            runs *= len(values)
            words = [_word(each) for each in values]
            mistakes += [
                ((name, i), f"stands here twice{shown(v)}") for i, v in enumerate(values) if words[i] in words[:i]
            ]
    if runs > MAX_RUNS:
        mistakes.append(((), f"makes {runs} runs; at most {MAX_RUNS}"))
    if mistakes:
        raise refusal(mistakes)
    axes = tuple((name, tuple(values)) for name, values in value.items() if name != SEEDS)
    return Compare(axes, tuple(seeds) if isinstance(seeds, list) else seeds)


def _write_compare(compare: Compare) -> dict[str, Any]:
    written: dict[str, Any] = {name: list(values) for name, values in compare.axes}
    if compare.seeds is not None:
        written[SEEDS] = compare.seeds if isinstance(compare.seeds, int) else list(compare.seeds)
    return written


CompareField = Annotated[
    Compare,
    read_by(_read_compare, dict[str, Any]),
    PlainSerializer(_write_compare, return_type=dict[str, Any]),
]


def algorithms(compare: Compare, written: Written) -> list[dict[str, Any]]:
    """The algorithms compared, each as it would be written by itself."""
    values = dict(compare.axes).get(ALGORITHM, ())
    return [with_shared(written.data["learning"]["algorithm"], value) for value in values]


def combinations(compare: Compare, written: Written) -> Iterator[Combination]:
    """Every combination but for the seeds; ValidationError where a path leads nowhere, its own below `compare`."""
    plain = Written(written.document, {key: each for key, each in written.data.items() if key != "compare"})
    words = {name: _words(values) for name, values in compare.axes}
    choices = [[(name, index, value) for index, value in enumerate(values)] for name, values in compare.axes]
    for chosen in itertools.product(*choices):
        variant = plain
        changes: list[Change] = []
        # The algorithm comes first, so that a path such as learning.algorithm.local_steps changes the one compared.
        for name, index, value in sorted(chosen, key=lambda choice: choice[0] != ALGORITHM):
            path = ALGORITHM_PATH if name == ALGORITHM else path_of(name)
            label = f"{name}={words[name][index]}"
            if name == ALGORITHM:
                value = with_shared(written.data["learning"]["algorithm"], value)
            try:
                variant = variant.with_value(path, value)
            except PathError as error:
                raise refusal([(("compare", name), str(error))]) from error
            changes.append(Change(label, path, (name, index)))
        labels = [f"{name}={words[name][index]}" for name, index, _ in chosen]
        yield Combination(" ".join(labels), variant, tuple(changes))


def _words(values: tuple[Any, ...]) -> list[str]:
    """The values of an axis in labels: plug-ins by name alone, where that tells them apart."""
    names = [value["name"] if isinstance(value, Mapping) and "name" in value else None for value in values]
    return [
        name if name is not None and names.count(name) == 1 and name not in values else _word(value)
        for name, value in zip(names, values, strict=True)
    ]


def _word(value: Any) -> str:
    """A value in a label: `fedavg`, or `fedavg(local_steps=5)`."""
    if isinstance(value, Mapping) and "name" in value:
        more = ",".join(f"{key}={_word(each)}" for key, each in value.items() if key != "name")
        return f"{value['name']}({more})" if more else str(value["name"])
    return value.replace(" ", "") if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
