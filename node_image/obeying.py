"""How a node obeys: commands come in as lines, one JSON object each, and are carried out one after the other.

The base of whatever a node is: one that learns (`__main__`), or the attendant of somebody else's programs (`workload`).
"""

import asyncio
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from node_image import plugins
from node_image.probe import probe
from node_image.recorder import Recorder
from node_image.spec import NodeSpec

ORPHANED = 1
Command = Callable[[dict[str, Any]], Awaitable[None]]


class Obeying:
    """A node's life from its first command to its end. Probes are carried out beside other commands."""

    def __init__(self, spec: NodeSpec, recorder: Recorder, commands: Mapping[str, Command]) -> None:
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.spec = spec
        self.recorder = recorder
        self._commands = {"probe": self._probe, **commands}
        self._probes: set[asyncio.Task[None]] = set()
        self._heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._is_stopping = False

    def now(self) -> float:
        """Seconds since the run began; 0 before it."""
        raise NotImplementedError

    def came_to(self) -> str:
        """How far the node has come, in words; empty where that has no meaning."""
        return ""

    async def close(self) -> None:
        """Let go of everything; whoever has more than probes closes that first."""
        for task in self._probes:
            task.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)

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
            self.fail(error)

    async def obey(self) -> None:
        """Carry out one command after the other."""
        try:
            while True:
                command = await self._heard.get()
                if command["do"] not in self._commands:
                    raise ValueError(f"unknown command {command['do']!r}; known: {', '.join(self._commands)}")
                await self._commands[command["do"]](command)
        except Exception as error:
            self.fail(error)

    def answer(self, command: dict[str, Any], found: dict[str, Any]) -> None:
        """Answer a command; its number, where it has one, comes back."""
        number = {"id": command["id"]} if "id" in command else {}
        self.recorder.event({"answer": found, "to": command["do"], **number})

    def told_to_end(self, number: int) -> None:
        """A signal says that this is the end: leave in order, with the exit status that shells give it."""
        if not self.ended.done():
            self.recorder.event({"event": "told_to_end", "t": self.now(), "signal": number})
        self.end(128 + number)

    def fail(self, error: Exception) -> None:
        """Say why on both channels: one line for the orchestrator, everything for who reads stderr."""
        with suppress(OSError):  # its disk may be full
            sys.stderr.write(plugins.last_words(error, self.now(), self.came_to()))
        self.recorder.event({"event": "failed", "t": self.now(), "error": last_line(error)})
        self.end(1)

    async def _probe(self, command: dict[str, Any]) -> None:
        task = asyncio.get_running_loop().create_task(self._answer_probe(command))
        self._probes.add(task)
        task.add_done_callback(self._probes.discard)

    async def _answer_probe(self, command: dict[str, Any]) -> None:
        try:
            found = await probe(command, self.spec)
        except Exception as error:
            traceback.print_exception(error)
            found = {"error": last_line(error)}
        self.answer(command, found)


async def live(life: Obeying, stdin_fd: int) -> int:
    """Obey what comes in by this descriptor until told to stop; the exit status. It takes over signals."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, life.told_to_end, int(number))
    threading.Thread(target=_read, args=(stdin_fd, loop, life.hear), name="stdin", daemon=True).start()
    obeying = loop.create_task(life.obey())
    status = await life.ended
    obeying.cancel()
    await asyncio.gather(obeying, return_exceptions=True)
    await life.close()
    return status


def last_line(error: BaseException) -> str:
    """An error in one line: the first of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return traceback.format_exception_only(error)[-1].strip()


def _read(fd: int, loop: asyncio.AbstractEventLoop, hear: Callable[[bytes], None]) -> None:
    """Pass on each line, and an empty one at the end. A thread can read what an event loop can't: files, terminals."""
    with suppress(RuntimeError), os.fdopen(fd, "rb", closefd=False) as stdin:  # RuntimeError: the loop has ended
        while True:
            line = stdin.readline()
            loop.call_soon_threadsafe(hear, line)
            if not line:
                return
