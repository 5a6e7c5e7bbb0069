"""The parent's side: a socket on loopback, and the page served beside a run by a process of its own.

So it neither holds up the run's one thread nor waits for it. It ends when its standard input does: the end of the run
closes that, however the run ends.
"""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator import command

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 8420
LAST_NEWS_WITHIN_S = 10.0


def listen(port: int) -> socket.socket:
    """A listening socket on loopback; port 0 is any free one. Raises OSError where the port is in use."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((LOOPBACK, port))
        sock.listen(64)
    except OSError:
        sock.close()
        raise
    return sock


def listen_here_or_anywhere(port: int | None) -> tuple[socket.socket, str]:
    """A socket on the wanted port (None: the usual one), else on a free one, and then a line that says so."""
    wanted = DEFAULT_PORT if port is None else port
    try:
        return listen(wanted), ""
    except (OSError, OverflowError) as error:
        sock = listen(0)
        why = getattr(error, "strerror", None) or str(error)
        return sock, f"port {wanted} cannot be had ({why}); the page is at {url_of(sock)} instead"


def url_of(sock: socket.socket) -> str:
    """The page's address."""
    return f"http://{LOOPBACK}:{sock.getsockname()[1]}/"


@contextmanager
def page_beside(folder: Path, sock: socket.socket) -> Iterator[None]:
    """Serve a folder's page for as long as the block lasts; the last news are told before it ends."""
    with sock:
        argv = (sys.executable, "-m", "orchestrator", "serve", str(folder), "--fd", str(sock.fileno()))
        server = command.start_beside(argv, (sock.fileno(),), {**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        yield
    finally:
        command.end_beside(server, LAST_NEWS_WITHIN_S)
