"""The orchestrator's own machine, reached as a board is: the same program at the other end of two pipes."""

import os
import subprocess
import sys
from contextlib import suppress

from orchestrator.hosts.stream import BOOTSTRAP

CHUNK = 1 << 16
END_WITHIN_S = 5.0


class LocalStream:
    """A process of this machine; see Stream. It is not of our session: Ctrl-C is for the orchestrator."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-u", "-c", BOOTSTRAP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdin and self._process.stdout and self._process.stderr, "all three are pipes"
        self._stdin, self._stdout, self._stderr = self._process.stdin, self._process.stdout, self._process.stderr

    def read(self) -> bytes:
        """See Stream."""
        return os.read(self._stdout.fileno(), CHUNK)

    def read_errors(self) -> bytes:
        """See Stream."""
        return os.read(self._stderr.fileno(), CHUNK)

    def write(self, data: bytes) -> None:
        """See Stream."""
        self._stdin.write(data)
        self._stdin.flush()

    def code(self) -> int | None:
        """See Stream."""
        return self._process.wait(END_WITHIN_S)

    def close(self) -> None:
        """See Stream; a process that does not end then is killed."""
        with suppress(OSError):
            self._stdin.close()
        try:
            self._process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def dispose(self) -> None:
        """Close our ends of its output, once nobody reads them."""
        self._stdout.close()
        self._stderr.close()
