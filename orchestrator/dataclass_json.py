"""Frozen dataclasses as JSON and back, by their type hints: the same value is the same bytes."""

import dataclasses
import json
import types
from collections.abc import Iterable
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from node_image.spec import LEFT_OUT

T = TypeVar("T")


def left_out(default: Any) -> Any:
    """A field that JSON has only where it is not the default: what came later changes nothing that was before."""
    return dataclasses.field(default=default, metadata={LEFT_OUT: True})


def to_json(value: Any) -> str:
    """Sorted keys, one space of indentation. Fields may hold JSON values, tuples, mappings and dataclasses."""
    return json.dumps(value, default=_fields, sort_keys=True, indent=1, allow_nan=False) + "\n"


def from_json(kind: type[T], text: str) -> T:
    """The dataclass that `to_json` wrote; raises ValueError, KeyError or TypeError on anything else."""
    return cast(T, _rebuilt(kind, json.loads(text), {}))


def _fields(value: Any) -> dict[str, Any]:
    optional = {field.name: field.default for field in dataclasses.fields(value) if LEFT_OUT in field.metadata}
    return {name: each for name, each in vars(value).items() if name not in optional or each != optional[name]}


def _rebuilt(kind: Any, value: Any, hints: dict[type, dict[str, Any]]) -> Any:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if kind not in hints:
            hints[kind] = get_type_hints(kind)
        return kind(**{name: _rebuilt(hints[kind][name], each, hints) for name, each in value.items()})
    if get_origin(kind) is tuple:
        return tuple(_rebuilt(item, each, hints) for item, each in zip(_items(kind, value), value, strict=True))
    if get_origin(kind) in (Union, types.UnionType):
        # Every union here is a dataclass, a tuple or a plain value, or None.
        wanted = next(each for each in get_args(kind) if each is not type(None))
        return None if value is None else _rebuilt(wanted, value, hints)
    return value


def _items(kind: Any, value: list[Any]) -> Iterable[Any]:
    """Types of a tuple's items: `tuple[X, ...]` repeats X."""
    items = get_args(kind)
    return [items[0]] * len(value) if items[-1] is Ellipsis else items
