"""The link to a board: one connection for the length of a run, over which first the arrival and then the agent answer.

Requests and answers are JSON lines (node_image/board/arrival.py and agent.py have the lists). Three threads move the
bytes, because what moves them blocks; everything else happens in the event loop.
"""

import asyncio
import json
import queue
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from node_image.board import arrival
from orchestrator.boards.inventory import Board
from orchestrator.errors import RunBrokeError
from orchestrator.hosts.local import LocalStream
from orchestrator.hosts.ssh import BoardError, connect, printable
from orchestrator.hosts.stream import Stream

ARRIVE_WITHIN_S = 20.0
ANSWER_WITHIN_S = 30.0
LINE_LIMIT = 8 << 20
NOISE_BYTES = 256 << 10  # of what a login shell may print before our program has its say
WORDS_BYTES = 4096
NO_SUCH_COMMAND = 127
Message = dict[str, Any]


class BoardLink:
    """A board that has been reached. `on_message` gets what is no answer; `lost` says why the connection ended."""

    def __init__(self, board: Board, stream: Stream) -> None:
        loop = asyncio.get_running_loop()
        self.board = board
        self.lost: asyncio.Future[str] = loop.create_future()
        self.on_message: Callable[[Message], None] = lambda _: None
        self.heard_at = loop.time()
        self._stream = stream
        self._loop = loop
        self._reader = asyncio.StreamReader(limit=LINE_LIMIT)
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._asked: dict[int, asyncio.Future[Message]] = {}
        self._number = 0
        self._errors = b""
        self._reading: asyncio.Task[None] | None = None
        self._threads = [
            threading.Thread(target=target, name=f"{target.__name__} {board.name}", daemon=True)
            for target in (self._read_all, self._read_errors, self._write_all)
        ]

    async def arrive(self) -> None:
        """Start the arrival there; BoardError if the board has no Python for it, or lets no program talk."""
        for thread in self._threads:
            thread.start()
        program = Path(arrival.__file__).read_bytes()
        nonce = secrets.token_hex(16)
        hello = json.dumps({"nonce": nonce}).encode() + b"\n"
        self._outgoing.put(str(len(program)).encode() + b"\n" + program + hello)
        try:
            async with asyncio.timeout(ARRIVE_WITHIN_S):
                await self._until("arrived", nonce, NOISE_BYTES)
        except TimeoutError as error:
            remedy = "does its login shell start other programs? Its ~/.profile should end at once"
            raise BoardError(self.board.where, "our program does not answer there", remedy) from error
        self._reading = asyncio.create_task(self._take_all(), name=f"what {self.board.name} says")

    async def ask(self, do: str, within_s: float = ANSWER_WITHIN_S, *, raw: bytes = b"", **fields: Any) -> Message:
        """Ask the board and wait for its answer; RunBrokeError if it cannot, or says nothing."""
        self._number += 1
        number = self._number
        answer = self._asked[number] = self._loop.create_future()
        self._send({"do": do, "id": number, **fields}, raw)
        try:
            async with asyncio.timeout(within_s):
                found = await answer
        except TimeoutError as error:
            raise RunBrokeError(f"{self.board.where}: no answer to {do!r} within {within_s:g} s") from error
        finally:
            self._asked.pop(number, None)
        if "error" in found:
            raise RunBrokeError(f"{self.board.where} could not {do}: {printable(found['error'], 1000)}")
        result: Message = found["answer"]
        return result

    def tell(self, do: str, **fields: Any) -> None:
        """Ask for something that has no answer."""
        self._send({"do": do, **fields}, b"")

    async def become_agent(self, tree: str, *, as_root: bool) -> bool:
        """Have the arrival replaced by the agent; whether that one can make networks."""
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading
        self._send({"do": "become", "id": 0, "tree": tree, "root": as_root, **self.places()}, b"")
        try:
            async with asyncio.timeout(ARRIVE_WITHIN_S):
                hello = await self._until("agent", None, NOISE_BYTES)
        except TimeoutError as error:
            remedy = "edgebed boards check says what it lacks"
            raise BoardError(self.board.where, "the agent does not answer", remedy) from error
        self._reading = asyncio.create_task(self._take_all(), name=f"what {self.board.name} says")
        return bool(hello["root"])

    def places(self) -> Message:
        """Where things are on the board, as its requests have them."""
        return {"store": self.board.store, "python": self.board.python}

    async def close(self) -> None:
        """End the connection; the board heals itself and its nodes end. Closing twice does nothing."""
        self._end("it was closed")
        await asyncio.to_thread(self._close)
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading

    def _close(self) -> None:
        self._outgoing.put(None)
        self._stream.close()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(ANSWER_WITHIN_S)
        self._stream.dispose()

    def _send(self, request: Message, raw: bytes) -> None:
        self._outgoing.put(json.dumps(request).encode() + b"\n" + raw)

    async def _until(self, key: str, value: str | None, most_bytes: int) -> Message:
        """Read on to the line that has this key (and value); what comes before it is a shell's noise."""
        read = 0
        while read < most_bytes:
            line = await self._reader.readline()
            if not line:
                raise await self._said_nothing()
            read += len(line)
            with suppress(ValueError):
                found = json.loads(line)
                if isinstance(found, dict) and found.get("id") == 0 and "error" in found:
                    raise BoardError(self.board.where, printable(found["error"]), "edgebed boards check")
                if isinstance(found, dict) and key in found and value in (None, found[key]):
                    return found
        remedy = "its ~/.profile or ~/.bashrc should print nothing"
        raise BoardError(self.board.where, f"it prints more than {most_bytes >> 10} KiB before our program", remedy)

    async def _said_nothing(self) -> BoardError:
        code = await asyncio.to_thread(self._stream.code)
        words = printable(self._errors.decode("utf-8", "replace"))
        if code == NO_SUCH_COMMAND:
            remedy = "apt-get install python3 on the board (3.11 or newer), with python3 in PATH"
            return BoardError(self.board.where, "it has no python3", remedy)
        if "SyntaxError" in words:
            return BoardError(
                self.board.where, f"its python3 is too old ({words})", "install Python 3.11 or newer there"
            )
        return BoardError(
            self.board.where,
            f"our program ended there at once (exit status {code}): {words or 'it said nothing'}",
            f"ssh -p {self.board.port} {self.board.user}@{self.board.host} and look; "
            "the user needs an ordinary shell, and room in memory",
        )

    async def _take_all(self) -> None:
        while True:
            try:
                line = await self._reader.readline()
            except ValueError:  # longer than any line of ours
                continue
            if not line:
                self._end(printable(self._errors.decode("utf-8", "replace")) or "the connection ended")
                return
            self.heard_at = self._loop.time()
            try:
                message = json.loads(line)
                answer = self._asked.get(message["id"]) if "id" in message else None
            except (ValueError, TypeError):
                continue  # not ours
            if answer is not None and not answer.done():
                answer.set_result(message)
            elif "id" not in message:
                self.on_message(message)

    def _end(self, why: str) -> None:
        if not self.lost.done():
            self.lost.set_result(why)
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(RunBrokeError(f"{self.board.where}: the connection ended ({why})"))
                answer.exception()  # marks it as seen

    def _read_all(self) -> None:
        with suppress(OSError, EOFError, ValueError):
            while data := self._stream.read():
                self._in_loop(self._reader.feed_data, data)
        self._in_loop(self._reader.feed_eof)

    def _read_errors(self) -> None:
        with suppress(OSError, EOFError, ValueError):
            while data := self._stream.read_errors():
                self._errors = (self._errors + data)[-WORDS_BYTES:]

    def _write_all(self) -> None:
        try:
            while (data := self._outgoing.get()) is not None:
                self._stream.write(data)
        except (OSError, EOFError, ValueError) as error:
            self._in_loop(self._end, str(error) or "the connection ended")

    def _in_loop(self, call: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop has ended, and nobody waits any more
            self._loop.call_soon_threadsafe(call, *arguments)


async def reach(board: Board, known_hosts: Path) -> BoardLink:
    """Connect to a board and arrive there. BoardError with the remedy where that fails."""
    stream: Stream = LocalStream() if board.is_here else await asyncio.to_thread(connect, board, known_hosts)
    link = BoardLink(board, stream)
    try:
        await link.arrive()
    except BaseException:
        await link.close()
        raise
    return link
