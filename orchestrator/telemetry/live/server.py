"""Serve the page on a listening socket, until Ctrl-C or, beside a run, until standard input ends."""

import asyncio
import os
import signal
import socket
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import uvicorn

from orchestrator.telemetry.live.app import Served, make_app
from orchestrator.telemetry.live.folder import Folder
from orchestrator.telemetry.live.follower import Rows

LAST_NEWS_WITHIN_S = 5
NICENESS = 10  # a page is never worth a slower run


class _Server(uvicorn.Server):
    """Without signal handlers of its own: pages are told the last news before it ends."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]  # the library's is a generator
        return nullcontext()


def serve(folder: Path, sock: socket.socket, rows: Rows, *, beside: bool) -> None:
    """Serve a folder until SIGINT or SIGTERM; `beside` a run: until standard input ends, and at low priority."""
    if beside:
        os.nice(NICENESS)
    asyncio.run(_serve(Served(Folder(folder, rows)), sock, beside))


async def _serve(served: Served, sock: socket.socket, beside: bool) -> None:
    config = uvicorn.Config(
        make_app(served),
        lifespan="off",
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=LAST_NEWS_WITHIN_S,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()

    def end() -> None:
        served.closing.set()  # streams tell their last news and return, which the server waits for
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    if beside:
        loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(sys.stdin.fileno(), 4096) else end())
    await server.serve(sockets=[sock])
