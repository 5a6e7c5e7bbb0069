"""A process of ours that serves the run: started, asked in JSON lines through its own pipes, ended with its stdin.

Nothing here blocks the event loop, and nothing crosses a shaped link.
"""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from pathlib import Path
from typing import Any

from orchestrator.errors import RunBrokeError

ANSWER_WITHIN_S = 60.0
END_WITHIN_S = 5.0
LARGEST_ANSWER_BYTES = 256 << 20


class Servant:
    """`name` is what messages call it, `module` what it runs as `python -m MODULE PARENT_PID ...`.

    Each request is {"do": ..., "number": n, ...}, answered by one object with that number, or with {"error": text}.

    Start it in a thread that lives as long as the run: it dies with the thread that started it.
    """

    def __init__(self, name: str, module: str) -> None:
        self._name = name
        self._module = module
        self._process: Process | None = None
        self._log: Path | None = None
        self._turn = asyncio.Lock()
        self._asked = 0

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return None if self._process is None else self._process.pid

    async def start(self, arguments: tuple[str, ...], log: Path) -> None:
        """Start it; its stderr goes to `log`."""
        self._log = log
        root = str(Path(__file__).parents[2])
        with log.open("wb") as stderr:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", self._module, str(os.getpid()), *arguments),
                stdin=PIPE,
                stdout=PIPE,
                stderr=stderr,
                limit=LARGEST_ANSWER_BYTES,
                start_new_session=True,  # Ctrl-C is for the orchestrator, which then closes us in order
                env={**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])},
            )

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Ask and wait for the answer; raises RunBrokeError with its last words if none comes, or with its error."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise RunBrokeError(f"{self._name} is not running: cannot ask it to {request['do']!r}")
        async with self._turn:
            self._asked += 1
            answer: dict[str, Any] = {"number": 0}
            try:
                process.stdin.write(json.dumps({**request, "number": self._asked}).encode() + b"\n")
                await process.stdin.drain()
                while answer.pop("number") != self._asked:  # the answer to a request that was cancelled is passed over
                    async with asyncio.timeout(ANSWER_WITHIN_S):
                        line = await process.stdout.readline()
                    if not line:
                        raise self._broken(request, "has ended")
                    answer = json.loads(line)
            except (TimeoutError, ConnectionError) as error:
                raise self._broken(request, f"gave no answer ({type(error).__name__})") from error
        if "error" in answer:
            raise RunBrokeError(f"{self._name} could not {request['do']}: {answer['error']}")
        return answer

    async def close(self) -> None:
        """End it. Never raises; closing twice does nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()  # it ends when its stdin does
        try:
            async with asyncio.timeout(END_WITHIN_S):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _broken(self, request: dict[str, Any], what: str) -> RunBrokeError:
        last_words = ""
        if self._log is not None and self._log.exists():
            last_words = "\n".join(self._log.read_text(errors="replace").splitlines()[-32:])
        return RunBrokeError(f"{self._name} {what} when asked to {request['do']!r}; its last words:\n{last_words}")
