"""The live page's server in a thread of the test, with a knife for its streams."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from orchestrator.commands.serve import receipt_rows
from orchestrator.telemetry.live.app import Served, make_app
from orchestrator.telemetry.live.beside import listen, url_of
from orchestrator.telemetry.live.folder import Folder
from orchestrator.telemetry.live.follower import Cursor


@dataclass
class Site:
    """Where the page is; `cut` makes every stream break off, `resumed_at` is what pages then said they had seen."""

    url: str = ""
    cut: threading.Event = field(default_factory=threading.Event)
    resumed_at: list[str] = field(default_factory=list)


class _Cut(Served):
    site: Site

    async def stream(self, key: str, cursor: Cursor) -> AsyncIterator[str]:
        if cursor.version:
            self.site.resumed_at.append(str(cursor))
        async for text in super().stream(key, cursor):
            yield text
            if self.site.cut.is_set():
                return


@contextmanager
def served(folder: Path) -> Iterator[Site]:
    """Serve a folder for as long as the block lasts, with a new look at its files twenty times a second."""
    site = Site()
    ready = threading.Event()
    ends = []
    with listen(0) as sock:
        site.url = url_of(sock)

        async def run() -> None:
            content = _Cut(Folder(folder, receipt_rows), every_s=0.05)
            content.site = site
            config = uvicorn.Config(make_app(content), lifespan="off", log_level="error", timeout_graceful_shutdown=2)
            server = uvicorn.Server(config)
            loop = asyncio.get_running_loop()

            def end() -> None:
                content.closing.set()
                server.should_exit = True

            ends.append(lambda: loop.call_soon_threadsafe(end))
            ready.set()
            await server.serve(sockets=[sock])

        thread = threading.Thread(target=lambda: asyncio.run(run()))
        thread.start()
        ready.wait(10)
        try:
            yield site
        finally:
            ends[0]()
            thread.join()
