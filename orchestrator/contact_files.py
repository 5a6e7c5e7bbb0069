"""Contact traces: who met whom, when. Lines `time CONN a b up|down` (the ONE simulator's), times in seconds.

`a` and `b` may be any words; in the order of their numbers (or, where they have none, of the alphabet) they are the
devices of the scenario. Other lines (comments with #, other events) are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.mobility import Spell
from orchestrator.named_files import read_named

CONTACT_FIELDS = 5


@dataclass(frozen=True)
class Contacts:
    """`names` as devices take them in turn; `up`: for each pair of their indexes when it was in contact (from, to)."""

    path: str
    sha256: str
    names: tuple[str, ...]
    up: Mapping[tuple[int, int], tuple[Spell, ...]]

    def away(self, pair: tuple[int, int], faster: float) -> tuple[Spell, ...]:
        """When a pair was not in contact, in a run that plays the trace `faster` times as fast."""
        spells: list[Spell] = []
        since = 0.0
        for begin, end in self.up[pair]:
            if begin / faster > since:
                spells.append((since, begin / faster))
            if end is None:
                return tuple(spells)
            since = end / faster
        return (*spells, (since, None))


def find_contacts(written: str, folder: Path) -> Contacts:
    """Read a contact trace; a relative path starts at `folder`. ValueError says what is wrong, and in which line."""
    path, sha256, (names, up) = read_named(written, folder, read_contacts)
    return Contacts(path, sha256, names, up)


def read_contacts(text: str) -> tuple[tuple[str, ...], dict[tuple[int, int], tuple[Spell, ...]]]:
    """The names in a trace, and when each pair of them was in contact."""
    began: dict[tuple[str, str], float] = {}
    spells: dict[tuple[str, str], list[Spell]] = {}
    names: set[str] = set()
    last_s = 0.0
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if len(words) < CONTACT_FIELDS or words[0].startswith("#") or words[1].upper() != "CONN":
            continue
        time, _, a, b, state, *_ = words
        try:
            t = float(time)
        except ValueError:
            raise ValueError(f"line {number}: must begin with seconds (found {time!r})") from None
        if not last_s <= t < 1e12:
            raise ValueError(f"line {number}: goes back in time, from {last_s:g} to {t:g} s")
        last_s = t
        names |= {a, b}
        pair = (a, b) if a < b else (b, a)
        if a == b or state.lower() not in ("up", "down"):
            raise ValueError(f"line {number}: must be `time CONN a b up|down` of two that differ (found {line[:80]!r})")
        if state.lower() == "up":
            began.setdefault(pair, t)
        elif pair in began:
            spells.setdefault(pair, []).append((began.pop(pair), t))
    for pair, t in began.items():
        spells.setdefault(pair, []).append((t, None))
    if not spells:
        raise ValueError("no line `time CONN a b up|down`")
    ordered = tuple(sorted(names, key=_in_order))
    index = {name: place for place, name in enumerate(ordered)}
    found = {(min(index[a], index[b]), max(index[a], index[b])): tuple(each) for (a, b), each in spells.items()}
    return ordered, dict(sorted(found.items()))


def _in_order(name: str) -> tuple[int, str]:
    digits = "".join(letter for letter in name if letter.isdigit())
    return int(digits) if digits else 0, name
