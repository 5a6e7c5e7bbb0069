"""A time in which a node's records do not leave it: they wait in memory, as far as that goes, or are lost."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
LIMIT_BYTES = 8 * 2**20


@dataclass
class Outage(Generic[T]):
    """What was recorded meanwhile. `keep`: let it wait; else, and beyond the limit, it is lost and counted."""

    keep: bool
    limit_bytes: int = LIMIT_BYTES
    late: list[T] = field(default_factory=list)
    lost: int = 0
    _held_bytes: int = 0

    def take(self, record: T, size_bytes: int) -> None:
        """One more record."""
        if not self.keep or self._held_bytes + size_bytes > self.limit_bytes:
            self.lost += 1
            return
        self.late.append(record)
        self._held_bytes += size_bytes
