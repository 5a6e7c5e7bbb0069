"""Processes of this machine that carry out the runs of a sweep, each with one thread, each kept for many runs."""

import asyncio
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from orchestrator.jobs import END_WITHIN_S, Answer, Job

LONGEST_LINE_BYTES = 2**24
LAST_LINES = 3  # of its standard error, when a process has died
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

Said = Callable[[Mapping[str, Any]], None]  # an event of a run, as `--json` writes it


class WorkerLostError(Exception):
    """What carried out a run is gone; the message says how it died. The run may be made again."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Pool:
    """Where runs of a sweep are carried out: `slots` at a time, each slot a process that starts when it is needed.

    The processes inherit `lock`, the file descriptor that holds the sweep's folder.
    """

    alike = True  # what one slot cannot, none can

    def __init__(self, slots: int, lock: int) -> None:
        self.slots = slots
        self._lock = lock
        self._processes: dict[int, _Process] = {}

    async def __aenter__(self) -> "Pool":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await asyncio.gather(*(each.end() for each in self._processes.values()))

    async def run(self, slot: int, job: Job, directory: Path, said: Said) -> Answer:
        """Carry out a job on one slot. Raises WorkerLostError where its process dies."""
        if slot not in self._processes:
            self._processes[slot] = await _Process.start(self._lock)
        try:
            return await self._processes[slot].carry_out(job, directory, said)
        except WorkerLostError:
            del self._processes[slot]
            raise


class _Process:
    """One process that carries out jobs, in a session of its own: Ctrl-C reaches the sweep alone, which ends them."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._words: deque[str] = deque(maxlen=LAST_LINES)
        self._listening = asyncio.create_task(self._listen())

    @staticmethod
    async def start(lock: int) -> "_Process":
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "orchestrator.jobs"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE_BYTES,
            env={**os.environ, **ONE_THREAD},
            start_new_session=True,
            pass_fds=(lock,),
        )
        return _Process(process)

    async def carry_out(self, job: Job, directory: Path, said: Said) -> Answer:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = json.dumps({"job": job.to_json(), "directory": str(directory)})
        with suppress(ConnectionError):  # it is dead: its stdout ends, too
            self._process.stdin.write(order.encode() + b"\n")
            await self._process.stdin.drain()
        async for line in self._process.stdout:
            event = json.loads(line)
            if event["event"] == "answer":
                return Answer(event["exit_code"], event["error"])
            said(event)
        status = await self._process.wait()
        await self._listening
        words = " | ".join(self._words)
        raise WorkerLostError(f"process {self._process.pid} {_how(status)}" + (f": {words}" if words else ""))

    async def end(self) -> None:
        """Close its stdin, and wait: a run that it carries out is interrupted, and heals what it disturbed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(END_WITHIN_S):
                    while await self._process.stdout.read(LONGEST_LINE_BYTES):
                        pass
                    await self._process.wait()
        finally:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening

    async def _listen(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self._words.append(line.decode(errors="replace").rstrip())


def _how(status: int) -> str:
    if status >= 0:
        return f"ended by itself (exit status {status})"
    name = signal.Signals(-status).name
    return f"was ended by {name}" + (" (by the kernel, perhaps, for want of memory)" if name == "SIGKILL" else "")
