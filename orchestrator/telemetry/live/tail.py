"""Read what has been appended to a file of lines since the last time."""

from pathlib import Path

LARGEST_READ_BYTES = 8_000_000  # at a time: a page that opens late is filled in several updates


class ReplacedError(Exception):
    """The file is shorter than what has been read of it: it is another file by now."""


class Tail:
    """A file that grows. A line without its newline is half written and waits for its rest."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def lines(self) -> list[str]:
        """The whole lines that are new; none if there is no file (yet). Raises ReplacedError, OSError."""
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            if self._offset:
                raise ReplacedError(str(self.path)) from None
            return []
        if size < self._offset:
            raise ReplacedError(str(self.path))
        if size == self._offset:
            return []
        with self.path.open("rb") as file:
            file.seek(self._offset)
            text = file.read(LARGEST_READ_BYTES)
        end = text.rfind(b"\n") + 1
        if not end and len(text) == LARGEST_READ_BYTES:
            end = len(text)  # no line of ours is that long: it is skipped as a broken one
        self._offset += end
        return text[:end].decode("utf-8", errors="replace").splitlines()

    def unread_bytes(self) -> int:
        """What is there and has not been given out: half a line, or more than was read at a time."""
        try:
            return max(0, self.path.stat().st_size - self._offset)
        except FileNotFoundError:
            return 0
