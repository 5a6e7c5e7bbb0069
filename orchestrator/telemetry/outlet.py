"""The socket behind the live endpoint: on loopback, and for a time deaf if a fault wants it so.

It refuses as a program does that is not running: the port is held by a socket that does not listen, so that nobody else
gets it meanwhile. It hangs as one does that is stuck: what is asked is taken, and answered once it goes on.
"""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

LOOPBACK = "127.0.0.1"
POLL_S = 0.05
Deafness = Literal["refuses", "hangs"]


class Outlet:
    """An HTTP server of its own thread. OSError where it cannot listen."""

    def __init__(self, handler: type[BaseHTTPRequestHandler], address: str = LOOPBACK) -> None:
        self._handler = handler
        self._address = address
        self._goes_on = threading.Event()
        self._goes_on.set()
        self._held: socket.socket | None = None  # while it refuses
        self._listen(_bound(address, 0))

    def refuse(self) -> None:
        """From now on connections are refused."""
        self._stop()
        self._held = _bound(self._address, self.port)

    def hang(self) -> None:
        """From now on nobody who asks has an answer."""
        self._goes_on.clear()

    def restore(self) -> None:
        """Answer again, also those who wait still."""
        self._goes_on.set()
        if self._held is not None:
            held, self._held = self._held, None
            self._listen(held)

    def wait(self) -> None:
        """For those who answer: until it does not hang."""
        self._goes_on.wait()

    def close(self) -> None:
        """Nobody is answered any more."""
        self._goes_on.set()
        if self._held is not None:
            self._held.close()
        else:
            self._stop()

    def _listen(self, bound: socket.socket) -> None:
        self._server = ThreadingHTTPServer((self._address, 0), self._handler, bind_and_activate=False)
        self._server.daemon_threads = True
        self._server.socket.close()
        self._server.socket = bound
        self._server.server_activate()
        self.port = int(bound.getsockname()[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": POLL_S}, daemon=True
        )
        self._thread.start()

    def _stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _bound(address: str, port: int) -> socket.socket:
    bound = socket.socket()
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, port))
    except BaseException:
        bound.close()
        raise
    return bound
