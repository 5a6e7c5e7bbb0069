"""One program while it runs: started from an argument list, its output kept and read, ended with its session."""

import asyncio
import os
import re
import signal
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from node_image.kernel import die_with_parent
from node_image.workload.readings import plain
from node_image.workload.spec import Program

LONGEST_LINE = 1 << 16
LAST_LINES = 20
DRAIN_S = 1.0  # for output that is still in the pipe, or that a process it left behind holds open


class Running:
    """A program's process. `said` is set once its output has matched what its readiness asks for."""

    def __init__(
        self, program: Program, environment: dict[str, str], folder: Path, output: Path, take: Callable[[str], None]
    ) -> None:
        self.program = program
        self.said = asyncio.Event()
        self.pid = 0
        self.ended: asyncio.Task[int] | None = None  # its exit status, once its output has been read
        self._environment = environment
        self._folder = folder
        self._output = output
        self._take = take
        log = program.ready.log if program.ready is not None else None
        self._awaited = None if log is None else re.compile(log)
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._reading: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start it; OSError where it cannot be."""
        parent = os.getpid()

        def before() -> None:  # in the child: nothing but calls of the kernel
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # the attendant ignores it, and that would be inherited
            die_with_parent(parent)

        process = await asyncio.create_subprocess_exec(
            *self.program.run,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self._folder,
            env=self._environment,
            start_new_session=True,
            preexec_fn=before,
            limit=LONGEST_LINE,
        )
        self.pid = process.pid
        for stream, name in ((process.stdout, "stdout"), (process.stderr, "stderr")):
            assert stream is not None, "both are pipes"
            file = self._output / f"{self.program.name}.{name}"
            self._reading.append(asyncio.create_task(self._read(stream, file), name=f"{name} of {self.program.name}"))
        self.ended = asyncio.create_task(self._wait(process), name=f"end of {self.program.name}")

    async def end(self, within_s: float) -> None:
        """Ask it and its session to end; kill what is left after so many seconds."""
        if self.ended is None:
            return
        self._signal(signal.SIGTERM)
        await asyncio.wait({self.ended}, timeout=within_s)
        self._signal(signal.SIGKILL)
        await self.ended

    def last_words(self) -> str:
        """The last lines of its output."""
        return "\n".join(self._last) or "(it had said nothing)"

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it leads a process group of its own
            os.killpg(self.pid, number)

    async def _wait(self, process: asyncio.subprocess.Process) -> int:
        status = await process.wait()
        _, still = await asyncio.wait(self._reading, timeout=DRAIN_S)
        for task in still:
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)
        return status

    async def _read(self, stream: asyncio.StreamReader, path: Path) -> None:
        with path.open("ab", buffering=0) as file:
            while True:
                try:
                    raw = await stream.readline()
                except ValueError:  # longer than the limit: the stream has dropped it
                    continue
                if not raw:
                    return
                file.write(raw)
                line = plain(raw.decode("utf-8", "replace").rstrip("\r\n"))
                self._last.append(line)
                if self._awaited is not None and self._awaited.search(line):
                    self.said.set()
                self._take(line)
