"""The page's web application: files, the runs' states as JSON, and what changes as server-sent events.

Loopback only, and only asked for by a name of loopback (else any web page could have a browser ask, by a name of its
own that leads here). It reads; nothing can be changed through it.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.telemetry.live.folder import Folder
from orchestrator.telemetry.live.follower import Cursor, Follower

STATIC = Path(__file__).with_name("static")
EVERY_S = 0.5
HEARTBEAT_S = 10.0  # so that a page notices that nobody is there any more
RETRY_MS = 1000
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Served:
    """The folder that is served, and whether the server is about to end (`closing`): the last news are told then."""

    def __init__(self, folder: Folder, every_s: float = EVERY_S) -> None:
        self.folder = folder
        self.every_s = every_s
        self.closing = asyncio.Event()
        self._locks: dict[Follower, asyncio.Lock] = {}

    async def news(self, follower: Follower, cursor: Cursor) -> tuple[Cursor, dict[str, Any]]:
        """Read on, beside the event loop, and tell what a page lacks."""

        def read() -> tuple[Cursor, dict[str, Any]]:
            follower.read()
            return follower.since(cursor)

        async with self._locks.setdefault(follower, asyncio.Lock()):
            return await asyncio.to_thread(read)

    async def stream(self, key: str, cursor: Cursor) -> AsyncIterator[str]:
        """Server-sent events of one run: `runs` (which there are), `update` (with an id to resume at), `end`."""
        yield f"retry: {RETRY_MS}\n\n"
        listed = None
        spoke_s = time.monotonic()
        while True:
            closing = self.closing.is_set()  # asked before reading: what is read then is the last there is
            runs = [run.to_json() for run in await asyncio.to_thread(self.folder.runs)]
            if runs != listed:
                listed, spoke_s = runs, time.monotonic()
                yield _event("runs", runs)
            follower = await asyncio.to_thread(self.folder.follower, key)
            ended = False
            if follower is not None:
                cursor, told = await self.news(follower, cursor)
                ended = follower.ended
                if told:
                    spoke_s = time.monotonic()
                    yield _event("update", told, str(cursor))
            if closing or (ended and self.folder.complete()):
                yield _event("end", {"served": not closing})
                return
            if time.monotonic() - spoke_s > HEARTBEAT_S:
                spoke_s = time.monotonic()
                yield ": still here\n\n"
            with suppress(TimeoutError):
                async with asyncio.timeout(self.every_s):
                    await self.closing.wait()


class _Headers:
    """Adds the headers that keep a browser from asking anybody else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [each for each in message["headers"] if each[0].decode() not in HEADERS] + own
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


def make_app(served: Served) -> Starlette:
    """The application that shows one folder."""

    async def page(_: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def runs(_: Request) -> Response:
        return JSONResponse([run.to_json() for run in served.folder.runs()])

    async def state(request: Request) -> Response:
        return await of_run(request, lambda told: told)

    async def accuracy(request: Request) -> Response:
        """The accuracy of a run alone, for the comparison with others."""
        return await of_run(
            request,
            lambda told: {
                "main": told.get("main", []),
                "curve_s": told["facts"]["curve_s"],
                "algorithm": told["facts"]["parameters"][:1],
            },
        )

    async def of_run(request: Request, shown: Callable[[dict[str, Any]], dict[str, Any]]) -> Response:
        follower = served.folder.follower(request.path_params["key"])
        if follower is None:
            return JSONResponse({"error": "no such run"}, 404)
        _, told = await served.news(follower, Cursor("", 0))
        return JSONResponse(shown(told))

    async def events(request: Request) -> Response:
        cursor = Cursor.parse(request.headers.get("last-event-id"))
        return StreamingResponse(served.stream(request.path_params["key"], cursor), media_type="text/event-stream")

    return Starlette(
        routes=[
            Route("/", page),
            Route("/api/runs", runs),
            Route("/api/runs/{key}/state", state),
            Route("/api/runs/{key}/accuracy", accuracy),
            Route("/api/runs/{key}/events", events),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[
            Middleware(_Headers),
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"], www_redirect=False),
        ],
    )


def _event(name: str, content: object, identity: str = "") -> str:
    data = json.dumps(content, separators=(",", ":"), allow_nan=False, default=str)
    return f"event: {name}\n{f'id: {identity}{chr(10)}' if identity else ''}data: {data}\n\n"
