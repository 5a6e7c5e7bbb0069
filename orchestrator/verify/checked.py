"""What a checker says: true, false or unknown, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Truth = Literal["true", "false", "unknown"]
MOST_TOLD = 5  # reasons that are written down; the others are counted


@dataclass(frozen=True)
class Checked:
    """One invariant of one run. `reasons` say what breaks it, why nobody can tell, or what was looked at."""

    id: str
    truth: Truth
    reasons: tuple[str, ...]


def judged(id_: str, looked_at: str, broken: Sequence[str], unsure: Sequence[str] = ()) -> Checked:
    """False where something breaks it; unknown where part of it could not be looked at; else true."""
    if broken:
        return Checked(id_, "false", _told(broken))
    if unsure:
        return Checked(id_, "unknown", _told(unsure))
    return Checked(id_, "true", (looked_at,))


def unknown(id_: str, why: str) -> Checked:
    """Nobody can tell."""
    return Checked(id_, "unknown", (why,))


def _told(reasons: Sequence[str]) -> tuple[str, ...]:
    left = len(reasons) - MOST_TOLD
    return (*reasons[:MOST_TOLD], *([f"and {left} more"] if left > 0 else []))
