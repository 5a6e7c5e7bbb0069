"""The disk that a node keeps its checkpoints on, as a fault may have it: how fast it is, and what became of saving.

A full disk is the kernel's doing (or the simulation's): here it is only counted. What could not be saved is recorded,
and the node goes on: it has the checkpoint before, and comes back from that one if it dies.
"""

import errno
import time
from collections.abc import Callable
from typing import IO, Any

PIECE_S = 0.05  # of a slow disk's time: when the disk is fast again, what is being written is soon done


class Disk:
    """Tallies and speed. `bytes_per_s` None: as fast as it is; in a slowed run both are in the run's seconds."""

    def __init__(self, record: Callable[..., None]) -> None:
        self.bytes_per_s: float | None = None
        self._record = record
        self._saved = self._failed = self._saved_bytes = 0
        self._took_s = 0.0
        self._last_error = ""

    def put(self, file: IO[bytes], content: bytes, slow_down: float = 1.0) -> None:
        """Write into a file, as fast as the disk is. For a thread that may wait."""
        left = memoryview(content)
        while left:
            size = self.piece(len(left))
            file.write(left[:size])
            if (rate := self.bytes_per_s) is not None:
                file.flush()
                time.sleep(size / rate * slow_down)
            left = left[size:]

    def piece(self, left: int) -> int:
        """How many bytes to write before looking at the speed again."""
        return left if self.bytes_per_s is None else min(left, max(1, round(self.bytes_per_s * PIECE_S)))

    def saved(self, size_bytes: int, took_s: float) -> None:
        """One more checkpoint is on the disk."""
        self._saved += 1
        self._saved_bytes += size_bytes
        self._took_s += took_s

    def failed(self, error: Exception) -> None:
        """A checkpoint could not be written."""
        self._failed += 1
        self._last_error = str(error)
        number = error.errno if isinstance(error, OSError) else errno.EAGAIN  # no thread was to be had
        self._record("failed_saves", 1, reason=errno.errorcode.get(number or 0, "other"))

    def told(self) -> dict[str, Any]:
        """What became of saving in this life."""
        return {
            "saved": self._saved,
            "saved_bytes": self._saved_bytes,
            "took_s": round(self._took_s, 6),
            "failed": self._failed,
            "last_error": self._last_error,
        }
