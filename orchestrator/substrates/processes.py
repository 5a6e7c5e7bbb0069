"""Node processes: started by the fork server, spoken to over their stdin and stdout, their exit reported.

The pipes are the measuring channel: what a node tells the orchestrator never crosses a shaped link.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from node_image.spec import NodeSpec
from orchestrator.errors import RunBrokeError, UsageError
from orchestrator.keys import without_secrets
from orchestrator.substrates.base import NodeExit, NodeLine
from orchestrator.substrates.superseded import STOPPED

READY_WITHIN_S = 120.0  # loading torch on a slow, busy machine
LAST_LINES = 32
LINE_LIMIT = 1 << 20
KILLED = -signal.SIGKILL
T = TypeVar("T")
Output = asyncio.Queue[NodeLine | NodeExit | None]  # what nodes say; None: no more


class ForkServer:
    """The process that forks nodes. One a run; ends with the orchestrator."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._ready: asyncio.Future[None] | None = None
        self._loaded: asyncio.Future[str] | None = None
        self._forked: dict[str, asyncio.Future[int]] = {}
        self._exits: dict[int, asyncio.Future[int]] = {}
        self._log: Path | None = None

    def launch(self, log: Path, loads: Sequence[str]) -> None:
        """Start it and return at once; `ready` waits. Called from the thread that lives as long as the run.

        `loads` says what it loads beside what every node needs; see node_image.fork_server.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        environment = {**without_secrets(os.environ), **threads, "PYTHONUNBUFFERED": "1"}
        with log.open("wb") as stderr, theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "node_image.fork_server", str(theirs.fileno()), *loads],
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                pass_fds=(theirs.fileno(),),
                env=environment,
                cwd=Path(__file__).parents[2],
                start_new_session=True,  # a signal to the orchestrator's whole group is for the orchestrator alone
            )
        ours.setblocking(False)
        self._control, self._log = ours, log
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        loop.add_reader(ours, self._read)

    async def ready(self) -> None:
        """Wait until it has loaded what every node needs."""
        if self._ready is None:
            raise RuntimeError("launch it first")
        async with asyncio.timeout(READY_WITHIN_S):
            await asyncio.shield(self._ready)

    async def load(self, spec: NodeSpec) -> None:
        """Have the data of the run's task built once; UsageError where the scenario asks for what the data lack."""
        if self._control is None:
            raise RuntimeError("launch it first")
        self._loaded = asyncio.get_running_loop().create_future()
        self._control.send(json.dumps({"load": spec.to_json()}).encode())
        async with asyncio.timeout(READY_WITHIN_S):
            refused = await self._loaded
        if refused:
            raise UsageError(refused)

    async def fork(self, request: dict[str, Any], fds: tuple[int, int, int]) -> tuple[int, asyncio.Future[int]]:
        """Fork a node; returns its pid and a future of its wait status."""
        if self._control is None:
            raise RuntimeError("launch it first")
        forked: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._forked[request["fork"]] = forked
        socket.send_fds(self._control, [json.dumps(request).encode()], list(fds))
        async with asyncio.timeout(READY_WITHIN_S):
            pid = await forked
        return pid, self._exits[pid]

    def close(self) -> None:
        """End it: it exits at the end of its socket, and every node with it."""
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _read(self) -> None:
        while self._control is not None:
            try:
                packet = self._control.recv(65536)
            except BlockingIOError:
                return
            if not packet:
                self._died()
                return
            self._take(json.loads(packet))

    def _take(self, report: dict[str, Any]) -> None:
        if "ready" in report and self._ready is not None:
            settle(self._ready, None)
        elif self._loaded is not None and ("loaded" in report or "refused" in report):
            settle(self._loaded, report.get("refused", ""))
        elif "forked" in report:
            self._exits[report["pid"]] = asyncio.get_running_loop().create_future()
            settle(self._forked.pop(report["forked"]), report["pid"])
        elif "exited" in report:
            settle(self._exits.pop(report["pid"]), report["status"])

    def _died(self) -> None:
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control)
        words = last_lines(self._log) if self._log else ""
        error = RunBrokeError(f"the fork server ended by itself; its last words:\n{words}")
        fail([self._ready, self._loaded, *self._forked.values(), *self._exits.values()], error)


class NodeProcess:
    """One life of a node: its pipes, its answers, its exit."""

    def __init__(self, name: str, folder: Path, output: Output) -> None:
        self.name = name
        self.pid = 0
        self.asked_to_end = False
        self.excused: Callable[[int], bool] = lambda _code: False  # whether a fault explains this exit code
        self.exited: asyncio.Future[int] | None = None
        self._folder = folder
        self._output = output
        self._stdin: int | None = None  # a pipe: commands are short and far apart, so it never fills
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reading: asyncio.Task[None] | None = None

    async def start(self, server: ForkServer, request: dict[str, Any]) -> None:
        """Fork it and connect its pipes."""
        stdin_r, stdin_w = os.pipe()
        stdout_r, stdout_w = os.pipe()
        stderr = os.open(self._folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            pid, exited = await server.fork(request, (stdin_r, stdout_w, stderr))
        except BaseException:
            os.close(stdin_w)
            os.close(stdout_r)
            raise
        finally:
            for fd in (stdin_r, stdout_w, stderr):
                os.close(fd)
        await self.adopt(pid, exited, stdin_w, stdout_r)

    async def adopt(self, pid: int, exited: asyncio.Future[int], stdin: int, stdout: int) -> None:
        """Speak to a process that runs: our ends of its pipes, and a future of its wait status (os.waitpid)."""
        self.pid, self.exited = pid, exited
        os.set_blocking(stdin, False)
        self._stdin = stdin
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=LINE_LIMIT)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(stdout, "rb"))
        self._reading = asyncio.create_task(self._read(reader), name=f"output of {self.name}")

    def tell(self, command: dict[str, Any]) -> None:
        """Write one command; a node that has gone takes no notice."""
        if self._stdin is not None:
            with suppress(BrokenPipeError):
                os.write(self._stdin, json.dumps(command).encode() + b"\n")

    async def ask(self, command: dict[str, Any], within_s: float) -> dict[str, Any]:
        """Write a command and wait for its answer; RunBrokeError with the node's last words if none comes."""
        number = len(self._answers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        self.tell({**command, "id": number})
        found = await self._wait(answer, command["do"], within_s)
        if "error" in found:
            raise RunBrokeError(f"{self.name} could not {command['do']}: {found['error']}")
        return found

    def divert(self) -> Output:
        """Have what it says from now on come by itself; for the run it has ended. Returns where it comes."""
        self._output, before = asyncio.Queue(), self._output
        self.asked_to_end = True
        before.put_nowait(NodeExit(self.name, STOPPED, True, ""))
        return self._output

    async def init(self, command: dict[str, Any], within_s: float) -> None:
        """Have the node build its learner and open its port; returns when it is ready."""
        self.tell(command)
        await self._wait(self._ready, "init", within_s)

    async def _wait(self, answer: asyncio.Future[T], what: str, within_s: float) -> T:
        try:
            async with asyncio.timeout(within_s):
                return await asyncio.shield(answer)
        except TimeoutError:
            words = self.last_words()
            raise RunBrokeError(
                f"{self.name}: no answer to {what} within {within_s:g} s; last words:\n{words}"
            ) from None

    async def ended(self, within_s: float) -> bool:
        """Wait for the process's end; False if it still lives after so many seconds."""
        if self.exited is None:
            return True
        done, _ = await asyncio.wait({self.exited}, timeout=within_s)
        return bool(done)

    async def close(self) -> None:
        """Close the pipes once the process has ended; returns when its last line and its exit have been told."""
        if self._stdin is not None:
            os.close(self._stdin)
            self._stdin = None
        if self._reading is not None:
            await self._reading

    def last_words(self) -> str:
        """The last lines of its stderr."""
        return last_lines(self._folder / "stderr")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                raw = await reader.readline()
            except ValueError:  # a line longer than the limit: not ours; what follows may be
                continue
            if not raw:
                break
            line = raw.decode("utf-8", "replace").rstrip("\n")
            if line.startswith('{"answer"'):
                self._take_answer(line)
                continue
            if line.startswith('{"event":"ready"') and not self._ready.done():
                self._ready.set_result(None)
            self._output.put_nowait(NodeLine(self.name, line))
        if self.exited is not None:
            try:
                status = await self.exited
            except RunBrokeError as gone:  # the fork server's; its nodes die with it, and nobody saw how
                fail([self._ready, *self._answers.values()], gone)
                self._output.put_nowait(NodeExit(self.name, KILLED, self.asked_to_end, str(gone)))
                return
            code = os.waitstatus_to_exitcode(status)
            error = RunBrokeError(f"{self.name} ended ({code}) instead of answering:\n{self.last_words()}")
            fail([self._ready, *self._answers.values()], error)
            asked = self.asked_to_end or self.excused(code)
            self._output.put_nowait(NodeExit(self.name, code, asked, self.last_words() if code else ""))

    def _take_answer(self, line: str) -> None:
        try:
            raw = json.loads(line)
            self._answers[raw["id"]].set_result(raw["answer"])
        except (ValueError, KeyError, asyncio.InvalidStateError):
            self._output.put_nowait(NodeLine(self.name, line))


def settle(future: "asyncio.Future[Any]", value: object) -> None:
    """Tell who waits; a signal that ended the run meanwhile has cancelled the waiting, and that is no mistake."""
    if not future.done():
        future.set_result(value)


def fail(waiting: Sequence[asyncio.Future[Any] | None], error: Exception) -> None:
    """Have an error raised to all who still wait; that nobody waits for some of them is no mistake."""
    for future in waiting:
        if future is not None and not future.done():
            future.set_exception(error)
            future.exception()  # marks it as seen


def last_lines(file: Path) -> str:
    """The last lines of a log, for an error message."""
    with suppress(FileNotFoundError):
        return "\n".join(deque(file.read_text("utf-8", "replace").splitlines(), LAST_LINES))
    return ""
