"""The attendant: the node's process where what runs on it is somebody else's. It obeys as every node does.

    {"do": "init", ...}                      nothing to build: it is ready at once
    {"do": "probe", ...}                     measure a path of the node's links, before any program runs
    {"do": "prepare"}                        start the services that come first; the answer comes when they are ready
    {"do": "start", "start_at": seconds}     from this instant of CLOCK_MONOTONIC: the programs, one after the other
    {"do": "stop", ...}                      end them all, the last first

It lives in the node's control groups and namespace, and so do its programs: what freezes, slows or kills the node is
for all of them, and each program dies with it. Its own CPU time counts as the node's: about 1 ms a hundred lines.
Beside what every node tells, it writes the events program_started, program_ready and program_ended.
"""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

from node_image.obeying import Obeying, live
from node_image.recorder import Recorder
from node_image.spec import NodeSpec
from node_image.workload.names import know
from node_image.workload.readiness import wait_until_ready
from node_image.workload.readings import GrowingFile, Readings
from node_image.workload.running import Running
from node_image.workload.spec import Duty, Program

END_WITHIN_S = 5.0
LOOK_EVERY_S = 0.2  # at files of records


class ProgramError(Exception):
    """A program could not be started, ended by itself with a failure, or did not become ready."""


def attend(spec: NodeSpec, duty: Duty, stdin_fd: int = 0, stdout_fd: int = 1) -> int:
    """Obey commands until told to stop; the exit status. For a process of its own: it takes over signals."""
    if duty.hosts is not None:
        know(Path(duty.hosts))
    lines_fd = os.dup(stdout_fd)
    os.dup2(2, stdout_fd)
    recorder = Recorder(lines_fd)

    async def obey() -> int:
        return await live(Attendant(spec, duty, recorder), stdin_fd)

    try:
        return asyncio.run(obey())
    finally:
        recorder.close()
        sys.stderr.flush()


class Attendant(Obeying):
    """Starts a node's programs in their order, tells what they say, and ends them."""

    def __init__(self, spec: NodeSpec, duty: Duty, recorder: Recorder) -> None:
        commands = {"init": self._init, "prepare": self._prepare, "start": self._start, "stop": self._stop}
        super().__init__(spec, recorder, commands)
        self._duty = duty
        self._left = list(duty.workload.programs)  # in their order, those that have not been started
        self._running: list[Running] = []
        self._began_at: float | None = None
        self._part: asyncio.Task[None] | None = None
        self._readings = Readings(duty.declared, self.now, recorder.record)

    def now(self) -> float:
        """Seconds since the run began; 0 before it."""
        return 0.0 if self._began_at is None else max(0.0, time.monotonic() - self._began_at)

    def fail(self, error: Exception) -> None:
        """A program's failure is told in its own words."""
        if not isinstance(error, ProgramError):
            super().fail(error)
            return
        sys.stderr.write(f"{error}\n")
        self.recorder.event({"event": "failed", "t": self.now(), "error": str(error).splitlines()[0]})
        self.end(1)

    async def close(self) -> None:
        """End every program."""
        if self._part is not None:
            self._part.cancel()
            await asyncio.gather(self._part, return_exceptions=True)
        for running in reversed(self._running):
            await running.end(END_WITHIN_S)
        await super().close()

    async def _init(self, _: dict[str, Any]) -> None:
        self.recorder.event({"event": "ready", "t": 0.0, "pid": os.getpid()})

    async def _prepare(self, command: dict[str, Any]) -> None:
        names = []
        try:
            while self._left and self._left[0].ready is not None:
                names.append(self._left[0].name)
                await self._serve(self._left.pop(0))
        except ProgramError as error:
            sys.stderr.write(f"{error}\n")
            self.answer(command, {"error": str(error)})
        else:
            self.answer(command, {"ready": names})

    async def _start(self, command: dict[str, Any]) -> None:
        if self._part is not None:
            raise ValueError("start comes once")
        self._began_at = time.monotonic() if command["start_at"] is None else float(command["start_at"])
        self._part = asyncio.create_task(self._live(self._began_at), name="programs")

    async def _live(self, start_at: float) -> None:
        await asyncio.sleep(start_at - time.monotonic())
        self.recorder.event({"event": "started", "t": self.now()})
        try:
            async with asyncio.TaskGroup() as group:
                watched = [group.create_task(self._watch(running)) for running in self._running]
                while self._left:
                    program = self._left.pop(0)
                    running = await (self._run(program) if program.ready is None else self._serve(program))
                    watched.append(group.create_task(self._watch(running)))
                    if program.ready is None:
                        await watched[-1]
                await watched[-1]
                self.recorder.event({"event": "finished", "t": self.now(), "reason": "its last program has ended"})
        except ExceptionGroup as errors:
            self.fail(errors.exceptions[0])

    async def _stop(self, _: dict[str, Any]) -> None:
        self.end(0)

    async def _serve(self, program: Program) -> Running:
        """Start a service and wait until it is ready."""
        assert program.ready is not None, "asked by the caller"
        began, running = time.monotonic(), await self._run(program)
        assert running.ended is not None, "it has been started"
        ready = asyncio.create_task(wait_until_ready(program.ready, running.said))
        try:
            await asyncio.wait(
                {ready, running.ended}, timeout=program.ready.within_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not ready.done():
                ended = f"ended (exit status {running.ended.result()})" if running.ended.done() else "was not ready"
                raise ProgramError(
                    f"{program.name} {ended} before {program.ready} (within {program.ready.within_s:g} s); "
                    f"its last words:\n{running.last_words()}"
                )
            ready.result()
        finally:
            ready.cancel()
            await asyncio.gather(ready, return_exceptions=True)
        took_s = round(time.monotonic() - began, 3)
        self._tell("program_ready", program, after_s=took_s)
        return running

    async def _run(self, program: Program) -> Running:
        folder = Path(self._duty.folder)
        environment = {**self._duty.environment, **program.environment}
        take = self._readings.matching(program.patterns)
        running = Running(program, environment, folder, Path(self._duty.output), take)
        try:
            await running.start()
        except OSError as error:
            raise ProgramError(f"{program.name} cannot be started: {error}") from error
        self._running.append(running)
        self._tell("program_started", program, pid=running.pid, run=list(program.run))
        return running

    async def _watch(self, running: Running) -> None:
        """Wait for a program's end, reading the records that it writes; ProgramError where it ends with a failure."""
        assert running.ended is not None, "it has been started"
        program = running.program
        file = None if program.records is None else GrowingFile(Path(self._duty.folder) / program.records)
        while file is not None and not running.ended.done():
            self._read(file)
            await asyncio.wait({running.ended}, timeout=LOOK_EVERY_S)
        status = await asyncio.shield(running.ended)
        if file is not None:
            self._read(file)
        self._tell("program_ended", program, status=status)
        if status != 0:
            raise ProgramError(
                f"{program.name} ended by itself with exit status {status}; its last words:\n{running.last_words()}"
            )

    def _read(self, file: GrowingFile) -> None:
        for line in file.new_lines():
            self._readings.take_object(line)

    def _tell(self, event: str, program: Program, **facts: Any) -> None:
        self.recorder.event({"event": event, "t": self.now(), "program": program.name, **facts})
