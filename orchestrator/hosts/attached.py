"""The stream of a container's stdin, stdout and stderr, taken apart.

What the engine sends is framed: one byte that says which of them it is (1 stdout, 2 stderr), three of padding, four of
length (big-endian), and the data. What we send is the container's stdin as it is.
"""

import asyncio
import os
import socket
import struct
from pathlib import Path

STDOUT = 1
HEADER = struct.Struct(">BxxxI")


class Attached:
    """Passes stdout on through a pipe and appends stderr to a file, until the container closes both."""

    def __init__(self, stream: socket.socket, stderr: Path) -> None:
        self._stream = stream
        self._stderr = stderr

    async def open(self) -> tuple[int, int, "asyncio.Task[None]"]:
        """Two descriptors that are the caller's to close - where to write its stdin, where to read its stdout - and
        the task that passes things on, which ends with the container's output."""
        reader, writer = await asyncio.open_unix_connection(sock=self._stream)
        stdin = os.dup(self._stream.fileno())
        stdout, passed_on = os.pipe()
        pipe, _ = await asyncio.get_running_loop().connect_write_pipe(asyncio.BaseProtocol, os.fdopen(passed_on, "wb"))
        return stdin, stdout, asyncio.create_task(self._pass_on(reader, writer, pipe), name=f"output in {self._stderr}")

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stdout: asyncio.WriteTransport
    ) -> None:
        try:
            with self._stderr.open("ab", buffering=0) as stderr:
                while True:
                    kind, size = HEADER.unpack(await reader.readexactly(HEADER.size))
                    data = await reader.readexactly(size)
                    if kind == STDOUT:
                        stdout.write(data)
                    else:
                        stderr.write(data)
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the end of its output
        finally:
            stdout.close()
            writer.close()
