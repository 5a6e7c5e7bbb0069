"""Availability traces: when devices were away. CSV lines `device,from_s,to_s`; an empty `to_s` means for good.

A device is a name of the scenario, or any other word: those are given to the fault's victims in the order in which
they first come. `scripts/availability.py` writes this form from other projects' traces.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path

from orchestrator.mobility import Spell
from orchestrator.named_files import read_named

MAX_SPELLS = 100_000
COLUMNS = ("device", "from_s", "to_s")


@dataclass(frozen=True)
class SpellsFile:
    """Spells of absence by device, as the file has them now."""

    path: str
    sha256: str
    away: Mapping[str, tuple[Spell, ...]]

    def of(self, victims: Sequence[str]) -> dict[str, tuple[Spell, ...]]:
        """Spells by victim: by name where the file names one of them, the rest by turns of the file."""
        named = {name: self.away[name] for name in victims if name in self.away}
        others = [spells for name, spells in self.away.items() if name not in victims]
        rest = [name for name in victims if name not in named]
        return {**named, **dict(zip(rest, others, strict=False))}


def find_spells(written: str, folder: Path) -> SpellsFile:
    """Read an availability trace; a relative path starts at `folder`. ValueError says what is wrong, and where."""
    return SpellsFile(*read_named(written, folder, read_spells))


def read_spells(text: str) -> dict[str, tuple[Spell, ...]]:
    """Spells by device; of each they follow one another."""
    away: dict[str, list[Spell]] = {}
    for number, row in enumerate(csv.reader(text.splitlines()), 1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#") or tuple(cells) == COLUMNS:
            continue
        if len(cells) != len(COLUMNS):
            raise ValueError(f"line {number}: must be device,from_s,to_s (found {len(cells)} values)")
        device, begin, end = cells
        try:
            from_s, to_s = float(begin), float(end) if end else None
        except ValueError:
            raise ValueError(f"line {number}: times must be seconds (found {begin!r}, {end!r})") from None
        spells = away.setdefault(device, [])
        last_s = (inf if spells[-1][1] is None else spells[-1][1]) if spells else 0.0
        if not (isfinite(from_s) and from_s >= last_s and (to_s is None or from_s < to_s < inf)):
            raise ValueError(f"line {number}: the spells of {device} must follow one another (found {begin} to {end})")
        spells.append((from_s, to_s))
        if number > MAX_SPELLS:
            raise ValueError(f"more than {MAX_SPELLS} lines")
    if not away:
        raise ValueError("no line device,from_s,to_s")
    return {device: tuple(spells) for device, spells in away.items()}
