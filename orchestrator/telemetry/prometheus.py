"""The live endpoint: a run's present as Prometheus reads it, on loopback, for as long as the run lasts.

The order of a run for whoever scrapes it: the endpoint is announced before the network is made; the run begins when
it has been read once (if a Prometheus of ours watches); when all records are in, it stays until they have been read
once more; then it goes, and Prometheus ends its series at once. Nobody watching: nothing waits.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from prometheus_client.exposition import choose_encoder

from node_image.records import Record
from orchestrator.plan import Plan
from orchestrator.receipt import Check
from orchestrator.telemetry.discovery import announced, run_name, watching_port
from orchestrator.telemetry.outlet import LOOPBACK, Deafness, Outlet
from orchestrator.telemetry.present import Present

FIRST_READ_WITHIN_S = 6.0  # Prometheus gathers changes of its targets for up to 5 s
LAST_READ_WITHIN = 3  # intervals between reads
LONGEST_INTERVAL_S = 5.0  # who reads more rarely is not waited for
OPENMETRICS = "application/openmetrics-text"
Warn = Callable[[str], None]  # tells the user one line


class Endpoint:
    """One run's present, and when it was read."""

    def __init__(self, present: Present) -> None:
        self._present = present
        self._read = threading.Condition()
        self._reads: list[float] = []  # when the last two began, monotonic
        self._outlet: Outlet | None = None
        self.url = ""

    def open(self, outlet: Outlet) -> None:
        """It is read here from now on."""
        self._outlet, self.url = outlet, f"http://{LOOPBACK}:{outlet.port}/metrics"

    def go_deaf(self, how: Deafness) -> None:
        """Answer nobody from now on, as a fault wants it."""
        if self._outlet is not None:
            (self._outlet.refuse if how == "refuses" else self._outlet.hang)()

    def hear_again(self) -> None:
        """Answer as ever."""
        if self._outlet is not None:
            self._outlet.restore()

    def add(self, node: str | None, record: Record) -> None:
        """One more record."""
        self._present.record(node, record)

    def event(self, event: str, details: Mapping[str, Any]) -> None:
        """Something the orchestrator did or saw, now."""
        self._present.event(event, details, time.time())

    def checks(self, checks: list[Check]) -> None:
        """What was asked of the emulation and what was found."""
        self._present.checks(checks)

    def answer(self, accept: str) -> tuple[str, bytes]:
        """Content type and text for a scraper that accepts these types."""
        if self._outlet is not None:
            self._outlet.wait()
        began = time.monotonic()
        _, content_type = choose_encoder(accept)
        text = self._present.table.text(openmetrics=content_type.startswith(OPENMETRICS)).encode()
        with self._read:
            self._reads = [*self._reads[-1:], began]
            self._read.notify_all()
        return content_type, text

    async def wait_for_first_read(self, within_s: float = FIRST_READ_WITHIN_S) -> bool:
        """Where a Prometheus of ours watches, wait until it has read once; False if none did in time."""
        if watching_port() is None:
            return bool(self._reads)
        deadline = time.monotonic() + within_s
        while not self._reads and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        return bool(self._reads)

    def wait_for_last_read(self) -> bool:
        """Where somebody reads regularly, wait until they have read what is known now; whether they have."""
        now = time.monotonic()
        with self._read:
            if len(self._reads) < 2:
                return False
            interval_s = self._reads[1] - self._reads[0]
            if interval_s > LONGEST_INTERVAL_S or now - self._reads[1] > LAST_READ_WITHIN * interval_s:
                return False
            return self._read.wait_for(lambda: self._reads[-1] >= now, LAST_READ_WITHIN * interval_s)


@contextmanager
def serving(
    plan: Plan, run_id: str, directory: Path, facts: Mapping[str, str], warn: Warn | None = None
) -> Iterator[Endpoint | None]:
    """An endpoint at http://127.0.0.1:<free port>/metrics, announced to Prometheus, for as long as the block lasts.

    A view must never stop a run: what cannot be served (None is yielded) or announced is told in one line.
    """
    endpoint = Endpoint(Present(plan, {"run_id": run_id, **facts}))
    with ExitStack() as stack:
        try:
            outlet = stack.enter_context(closing(Outlet(_handler(endpoint), LOOPBACK)))
        except OSError as error:
            _tell(warn, f"no live metrics: cannot listen on {LOOPBACK}: {error.strerror}")
            yield None
            return
        endpoint.open(outlet)
        try:
            stack.enter_context(announced(run_name(directory), run_id, f"{LOOPBACK}:{outlet.port}"))
        except OSError as error:
            _tell(warn, f"Prometheus is not told of this run ({error}); its metrics are at {endpoint.url}")
        try:
            yield endpoint
        finally:
            endpoint.wait_for_last_read()


def _tell(warn: Warn | None, text: str) -> None:
    if warn is not None:
        warn(text)


def _handler(endpoint: Endpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404, "only /metrics is here")
                return
            content_type, text = endpoint.answer(self.headers.get("Accept", ""))
            with suppress(ConnectionError):  # who asked may have waited long enough
                self.send_response(200)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            """Scrapes are not worth a line."""

    return Handler
