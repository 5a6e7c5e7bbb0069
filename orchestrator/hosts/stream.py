"""A stream to the program on a machine, whichever way it is reached, and the program that is there first."""

from typing import Protocol

# Reads the length of a program, then the program, from stdin, and becomes it. A constant: see ssh.py.
BOOTSTRAP = 'import sys; i = sys.stdin.buffer; exec(compile(i.read(int(i.readline())), "arrival", "exec"))'


class Stream(Protocol):
    """Bytes to and from a program elsewhere. Every method may block: threads call them."""

    def read(self) -> bytes:
        """The next bytes of its stdout; none at its end."""

    def read_errors(self) -> bytes:
        """The next bytes of its stderr; none at its end."""

    def write(self, data: bytes) -> None:
        """To its stdin; OSError when it has gone."""

    def code(self) -> int | None:
        """Its exit status once it has ended; negative or None where nobody could tell."""

    def close(self) -> None:
        """End the connection: the program sees the end of its stdin."""

    def dispose(self) -> None:
        """Let go of what is left, once nobody reads any more."""
