"""A narrower form of a model: the same layers with fewer units, for who learns from the wide one and travels."""

from dataclasses import replace
from typing import Any, TypeVar, cast

P = TypeVar("P")


def scaled(parameters: P, share: float, *widths: str) -> P:
    """A model's parameters with these numbers of units times `share`, rounded, and at least 1 of each."""
    units = {name: max(1, round(share * getattr(parameters, name))) for name in widths}
    return cast(P, replace(cast(Any, parameters), **units))
