"""What a comparison varies. An axis is a path in the scenario with its values, or names that stand for several values.

algorithm: [fedavg, fedasync]                    short for the path learning.algorithm
learning.rule.learning_rate: [0.03, 0.1]         any path
arms, settings: [{name: ..., path: value, ...}]  names for the things compared, and for what they are compared in
factors:                                         any number of either kind, under names of one's own
  network: [{name: wifi, devices.0.link: wifi_2g4}, {name: lte, devices.0.link: lte}]
  learning.rule.learning_rate: [0.03, 0.1]
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.forms.base import Mistake, shown
from orchestrator.written import path_of
from orchestrator.yaml_loader import DataPath

ALGORITHM = "algorithm"
ALGORITHM_PATH: DataPath = ("learning", "algorithm")
FACTORS = "factors"
NAMED = {"arms": "arm", "settings": "setting"}  # axes whose values have names, and what labels call them
NOT_COMPARED = ("seed", "compare", "name")
TAKEN = (*NAMED, *NAMED.values(), "seeds", "claims", FACTORS)  # what a factor of one's own cannot be called


@dataclass(frozen=True)
class Axis:
    """`key` is a path, `algorithm`, or a name; then each value is a mapping with a name. `place`: under `compare`."""

    key: str
    values: tuple[Any, ...]
    place: DataPath
    named: bool

    @property
    def title(self) -> str:
        """What labels call it."""
        return NAMED.get(self.key, self.key)

    @property
    def compares_arms(self) -> bool:
        """Whether its values are what claims are about."""
        return self.key == ALGORITHM or self.named

    def words(self) -> list[str]:
        """The values in labels: plug-ins by name alone, where that tells them apart."""
        found = [value.get("name") if isinstance(value, Mapping) else None for value in self.values]
        names = [name if isinstance(name, str) else None for name in found]  # others are refused later, by their form
        return [
            name if name is not None and names.count(name) == 1 and name not in self.values else _word(value)
            for name, value in zip(names, self.values, strict=True)
        ]

    def changes(self, index: int) -> Iterator[tuple[DataPath, DataPath, Any]]:
        """What one value sets: where it stands under `compare`, the path that it sets, and to what."""
        value = self.values[index]
        if not self.named:
            yield (*self.place, index), target(self.key), value
            return
        for key in value:
            if key != "name":
                yield (*self.place, index, key), target(key), value[key]


def target(key: str) -> DataPath:
    """The path that a key stands for."""
    return ALGORITHM_PATH if key == ALGORITHM else path_of(key)


def read_axes(written: Mapping[str, Any], others: tuple[str, ...]) -> tuple[tuple[Axis, ...], list[Mistake]]:
    """All axes of a `compare`, in the order written, and what is wrong with them; `others` are keys that are none."""
    axes: list[Axis] = []
    mistakes: list[Mistake] = []
    for key, values in written.items():
        if key in others:
            continue
        if key == FACTORS:
            if not isinstance(values, Mapping) or not values:
                text = "must be a mapping: a path or a name of your own, each with a list of values"
                mistakes.append(((key,), text + shown(values)))
                continue
            found = [
                Axis(str(name), _listed(each), (FACTORS, name), _has_names(str(name), each))
                for name, each in values.items()
            ]
        else:
            found = [Axis(str(key), _listed(values), (key,), key in NAMED)]
        axes += found
        for axis in found:
            mistakes += _mistakes_in(axis, written)
    seen: dict[DataPath, Axis] = {}
    for axis in axes:
        if not axis.named and (other := seen.setdefault(target(axis.key), axis)) is not axis:
            mistakes.append((axis.place, f"{other.key} stands in compare already"))
    return tuple(axes), mistakes


def _listed(values: Any) -> tuple[Any, ...]:
    return tuple(values) if isinstance(values, list) else ()


def _has_names(key: str, values: Any) -> bool:
    """A factor without a dot is a name of one's own as soon as a value has a name; no such path takes one that has."""
    named = isinstance(values, list) and any(isinstance(each, Mapping) and "name" in each for each in values)
    return named and "." not in key and key != ALGORITHM


def _mistakes_in(axis: Axis, written: Mapping[str, Any]) -> list[Mistake]:
    if axis.key in NOT_COMPARED:
        return [(axis.place, f"{axis.key} cannot be compared; for several seeds write seeds: 5")]
    if axis.place[0] == FACTORS and axis.key in TAKEN:
        return [(axis.place, f"{axis.key} has a meaning of its own in compare; choose another name")]
    if not axis.values:
        values = written[FACTORS][axis.place[1]] if axis.place[0] == FACTORS else written[axis.key]
        return [(axis.place, f"must be a list of the values to compare{shown(values)}")]
    if axis.named and (wrong := _mistakes_of_named(axis)):
        return wrong
    words = [_word(each) for each in axis.values]
    return [
        ((*axis.place, i), f"stands here twice{shown(v)}") for i, v in enumerate(axis.values) if words[i] in words[:i]
    ]


def _mistakes_of_named(axis: Axis) -> list[Mistake]:
    mistakes: list[Mistake] = []
    names: set[str] = set()
    for index, value in enumerate(axis.values):
        if not isinstance(value, Mapping) or "name" not in value or not all(isinstance(key, str) for key in value):
            text = f"must be a mapping: name, and the values that make the {axis.title}{shown(value)}"
            mistakes.append(((*axis.place, index), text))
            continue
        name, place = value["name"], (*axis.place, index, "name")
        if not isinstance(name, str):
            mistakes.append((place, f"must be a text{shown(name)}"))
        elif name in names:
            mistakes.append((place, f"stands here twice{shown(name)}"))
        elif axis.place[0] == FACTORS and len(name.split()) != 1:
            mistakes.append((place, f"must be one word, for the labels of the runs{shown(name)}"))
        else:
            names.add(name)
    return mistakes


def _word(value: Any) -> str:
    """A value in a label: `fedavg`, or `fedavg(local_steps=5)`."""
    if isinstance(value, Mapping) and "name" in value:
        more = ",".join(f"{key}={_word(each)}" for key, each in value.items() if key != "name")
        return f"{value['name']}({more})" if more else str(value["name"])
    return value.replace(" ", "") if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
