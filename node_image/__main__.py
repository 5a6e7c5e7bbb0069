"""A node as a process: `python -m node_image SPEC.json`, told what to do by the orchestrator over stdin.

One JSON object a line. Commands:
    {"do": "init", "run_id": text, "secret": 64 hex digits, "state_dir": path}   build the learner, open the port
    {"do": "calibrate"}                        measure a local step on this host (see calibrate.py)
    {"do": "probe", ...}                       measure a path (see probe.py); an "id" comes back with the answer
    {"do": "slow", "factor": number or null}   work takes that many times what the profile says (null: what it takes)
    {"do": "start", "start_at": seconds}       begin at this instant of CLOCK_MONOTONIC (null: now)
    {"do": "stop", "evaluate": bool}           end gracefully; test the model first where asked
Written to stdout: records (records.py), {"answer": ..., "to": command} and {"event": ...}: ready, started, finished,
failed, checkpoint_broken, records_lost.

End of stdin before "stop" means that the orchestrator is gone: the node ends at once. Exit status: 0 stopped,
1 failed, 2 wrong usage, 128 + n by signal n.
"""

import asyncio
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from node_image import learner
from node_image.calibrate import calibrate
from node_image.handshake import Identity
from node_image.message import MAX_PAYLOAD_BYTES
from node_image.node import evaluate_finally, run_node
from node_image.probe import probe
from node_image.recorder import Recorder
from node_image.spec import PORT, NodeSpec
from node_image.tcp import TcpRuntime

LEAST_PAYLOAD_BYTES = 8 * 2**20  # room for raw samples where the model is small
MODELS_IN_PAYLOAD = 4
ORPHANED = 1
SWITCH_S = 0.0002  # messages wait that long, and not 5 ms, for the thread that computes or writes a checkpoint


def main() -> int:
    """Be the node that the spec file named on the command line describes."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m node_image SPEC.json\n")
        return 2
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded: nodes share cores
    return serve(NodeSpec.from_json(Path(sys.argv[1]).read_text()))


def serve(spec: NodeSpec, stdin_fd: int = 0, stdout_fd: int = 1, port: int = PORT) -> int:
    """Obey commands until told to stop; the exit status. For a process of its own: it takes over signals.

    The caller should end with `os._exit`: an ordinary exit waits for work that the compute thread still does.
    """
    sys.setswitchinterval(SWITCH_S)
    lines_fd = os.dup(stdout_fd)
    os.dup2(2, stdout_fd)  # what a library prints must not end up between the records
    recorder = Recorder(lines_fd)
    try:
        return asyncio.run(_obey(spec, stdin_fd, recorder, port))
    finally:
        recorder.close()
        sys.stderr.flush()


async def _obey(spec: NodeSpec, stdin_fd: int, recorder: Recorder, port: int) -> int:
    loop = asyncio.get_running_loop()
    life = _Life(spec, recorder, port)
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, life.end, 128 + number)
    threading.Thread(target=_read_stdin, args=(stdin_fd, loop, life.hear), name="stdin", daemon=True).start()
    obeying = loop.create_task(life.obey())
    status = await life.ended
    obeying.cancel()
    await asyncio.gather(obeying, return_exceptions=True)
    await life.close()
    return status


def _read_stdin(fd: int, loop: asyncio.AbstractEventLoop, hear: Callable[[bytes], None]) -> None:
    """Pass on each line, and an empty one at the end. A thread can read what an event loop can't: files, terminals."""
    with suppress(RuntimeError), os.fdopen(fd, "rb", closefd=False) as stdin:  # RuntimeError: the loop has ended
        while True:
            line = stdin.readline()
            loop.call_soon_threadsafe(hear, line)
            if not line:
                return


class _Life:
    """What a node does from its first command to its end."""

    def __init__(self, spec: NodeSpec, recorder: Recorder, port: int) -> None:
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._spec = spec
        self._recorder = recorder
        self._port = port
        self._runtime: TcpRuntime | None = None
        self._part: asyncio.Task[None] | None = None
        self._probes: set[asyncio.Task[None]] = set()
        self._heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._is_stopping = False
        self._commands = {
            "init": self._init,
            "calibrate": self._calibrate,
            "probe": self._probe,
            "slow": self._slow,
            "start": self._start,
            "stop": self._stop,
        }

    def end(self, status: int) -> None:
        """Leave with this exit status; the first caller decides."""
        if not self.ended.done():
            self.ended.set_result(status)

    def hear(self, line: bytes) -> None:
        """Take a line of stdin, also while an earlier command is carried out; the empty line is the end of stdin."""
        if not line and not self._is_stopping:
            os._exit(ORPHANED)  # nobody is left to read what an orderly end would say
        if not line:
            return
        try:
            command = json.loads(line)
            self._is_stopping = self._is_stopping or command["do"] == "stop"
            self._heard.put_nowait(command)
        except (ValueError, KeyError, TypeError) as error:
            self._fail(error)

    async def obey(self) -> None:
        """Carry out one command after the other."""
        try:
            while True:
                command = await self._heard.get()
                if command["do"] not in self._commands:
                    raise ValueError(f"unknown command {command['do']!r}; known: {', '.join(self._commands)}")
                await self._commands[command["do"]](command)
        except Exception as error:
            self._fail(error)

    async def close(self) -> None:
        """Let go of everything: algorithm, probes, connections."""
        tasks = [*self._probes, *([self._part] if self._part is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._runtime is not None:
            await self._runtime.close()

    async def _init(self, command: dict[str, Any]) -> None:
        built = await asyncio.to_thread(learner.build, self._spec)
        identity = Identity(self._spec.name, str(command["run_id"]), bytes.fromhex(command["secret"]))
        model_bytes = 4 * built.parameters
        self._runtime = TcpRuntime(
            self._spec,
            identity,
            built,
            self._recorder,
            Path(command["state_dir"]),
            port=self._port,
            max_payload_bytes=min(MAX_PAYLOAD_BYTES, max(LEAST_PAYLOAD_BYTES, MODELS_IN_PAYLOAD * model_bytes)),
        )
        await self._runtime.listen()
        self._recorder.event({"event": "ready", "t": 0.0, "pid": os.getpid()})

    async def _probe(self, command: dict[str, Any]) -> None:
        task = asyncio.get_running_loop().create_task(self._answer_probe(command))
        self._probes.add(task)
        task.add_done_callback(self._probes.discard)

    async def _calibrate(self, command: dict[str, Any]) -> None:
        if self._runtime is None:
            raise ValueError("calibrate must follow init")
        answer = await asyncio.to_thread(calibrate, self._runtime.learner)
        self._recorder.event({"answer": answer, "to": "calibrate", "id": command.get("id")})

    async def _answer_probe(self, command: dict[str, Any]) -> None:
        try:
            answer = await probe(command, self._spec)
        except Exception as error:
            traceback.print_exception(error)
            answer = {"error": _last_line(error)}
        identity = {"id": command["id"]} if "id" in command else {}
        self._recorder.event({"answer": answer, "to": "probe", **identity})

    async def _slow(self, command: dict[str, Any]) -> None:
        if self._runtime is None:
            raise ValueError("slow must follow init")
        factor = command["factor"]
        self._runtime.slow_down(None if factor is None else float(factor))
        if "id" in command:
            self._recorder.event({"answer": {"factor": factor}, "to": "slow", "id": command["id"]})

    async def _start(self, command: dict[str, Any]) -> None:
        if self._runtime is None or self._part is not None:
            raise ValueError("start must follow init, once")
        self._part = asyncio.get_running_loop().create_task(self._live(self._runtime, command["start_at"]))

    async def _live(self, runtime: TcpRuntime, start_at: float | None) -> None:
        """The run as this node lives it. After its end the node still answers for its connections until stopped."""
        try:
            await runtime.start(start_at)
            self._recorder.event({"event": "started", "t": runtime.now()})
            ending = await run_node(runtime, self._spec)
            self._recorder.event({"event": "finished", "t": runtime.now(), "reason": ending})
        except Exception as error:
            self._fail(error)

    async def _stop(self, command: dict[str, Any]) -> None:
        if self._runtime is not None and self._part is not None:
            self._part.cancel()
            await asyncio.gather(self._part, return_exceptions=True)
            self._runtime.stop_clock()
            if command.get("evaluate", False):
                await evaluate_finally(self._runtime)
        self.end(0)

    def _fail(self, error: Exception) -> None:
        """Say why on both channels: one line for the orchestrator, everything for who reads stderr."""
        traceback.print_exception(error)
        t = self._runtime.now() if self._runtime is not None else 0.0
        self._recorder.event({"event": "failed", "t": t, "error": _last_line(error)})
        self.end(1)


def _last_line(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return traceback.format_exception_only(error)[-1].strip()


if __name__ == "__main__":
    exit_status = main()
    sys.stderr.flush()
    os._exit(exit_status)
