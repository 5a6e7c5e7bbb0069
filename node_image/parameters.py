"""Parameters of a plug-in: one frozen dataclass in its own file, from which checks and documentation are derived."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final, TypeVar, get_type_hints

P = TypeVar("P")
Scalar = int | float | str | bool


class _Required:
    """The default of a parameter that has none."""

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: Final = _Required()


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter of a plug-in: what a scenario may say.

    `unit` is the base unit of the value: "s", "bytes", "per_s", "ratio" (0-1), "px", or "" for a bare number or word.
    `default` is `REQUIRED` where there is none. Bounds are inclusive; an empty `choices` allows any value.
    """

    name: str
    type: type[int] | type[float] | type[str] | type[bool]
    default: Any
    choices: tuple[str, ...]
    minimum: float | None
    maximum: float | None
    unit: str
    about: str

    def problem(self, value: object) -> str | None:
        """What is wrong with a value (in base units), or None."""
        wanted = {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}[self.type]
        fits = isinstance(value, (int, float) if self.type is float else self.type)
        if not fits or (isinstance(value, bool) and self.type is not bool):
            return f"must be {wanted} (found {value!r})"
        if self.choices and value not in self.choices:
            return f"unknown {value!r}; known: {', '.join(self.choices)}"
        # Negated comparisons, so that a NaN is refused as well.
        if self.minimum is not None and isinstance(value, int | float) and not value >= self.minimum:
            return f"must be at least {self.minimum:g} (found {value!r})"
        if self.maximum is not None and isinstance(value, int | float) and not value <= self.maximum:
            return f"must be at most {self.maximum:g} (found {value!r})"
        return None


def parameter(
    default: Any,
    about: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Field of a `Parameters` dataclass, with what a scenario's author must know about it."""
    facts = {"about": about, "unit": unit, "minimum": minimum, "maximum": maximum, "choices": choices}
    return field(metadata=facts) if default is REQUIRED else field(default=default, metadata=facts)


_DESCRIBED: dict[type[Any], Mapping[str, ParameterSpec]] = {}  # type hints are slow, and thousands of nodes ask


def describe(parameters: type[Any]) -> Mapping[str, ParameterSpec]:
    """Name -> specification of every field of a `Parameters` dataclass, in its order."""
    if parameters not in _DESCRIBED:
        types = get_type_hints(parameters)
        specs = {
            each.name: ParameterSpec(
                name=each.name,
                type=types[each.name],
                default=REQUIRED if each.default is MISSING else each.default,
                **each.metadata,
            )
            for each in fields(parameters)
        }
        _DESCRIBED[parameters] = MappingProxyType(specs)
    return _DESCRIBED[parameters]


def read(parameters: type[P], given: Mapping[str, Any]) -> P:
    """A `Parameters` object from a mapping in base units; ValueError names every unknown, missing or bad value."""
    known = describe(parameters)
    problems = [f"{name}: unknown parameter; known: {', '.join(known)}" for name in given if name not in known]
    values: dict[str, Any] = {}
    for name, spec in known.items():
        value = given.get(name, spec.default)
        if value is REQUIRED:
            problems.append(f"{name}: is required ({spec.about})")
        elif (problem := spec.problem(value)) is not None:
            problems.append(f"{name}: {problem}")
        else:
            values[name] = spec.type(value)
    if problems:
        raise ValueError("; ".join(problems))
    return parameters(**values)
