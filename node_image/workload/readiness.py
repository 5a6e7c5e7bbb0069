"""Whether a service can be used, asked inside its own namespace and without a packet on any link."""

import asyncio
import http.client
from pathlib import Path
from urllib.parse import urlsplit

from node_image.workload.spec import Ready

TABLES = ("tcp", "tcp6", "udp", "udp6")
LISTENS, UNCONNECTED = "0A", "07"  # states of TCP and of UDP sockets, as the kernel writes them
EVERY_S = 0.05
HTTP_WITHIN_S = 1.0


async def wait_until_ready(ready: Ready, said: asyncio.Event) -> None:
    """Return when the service is ready; `said` is set when its output has matched `ready.log`."""
    if ready.log is not None:
        await said.wait()
    while ready.port is not None and not listened_to(ready.port):
        await asyncio.sleep(EVERY_S)
    while ready.http is not None and not await asyncio.to_thread(answers, ready.http):
        await asyncio.sleep(EVERY_S)


def listened_to(port: int, tables: Path = Path("/proc/self/net")) -> bool:
    """Whether a socket of this namespace listens on the port. It is not connected to: some servers serve one alone."""
    for name in TABLES:
        try:
            rows = (tables / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            _, local, _, state, *_ = row.split()
            if int(local.rpartition(":")[2], 16) == port and state in (LISTENS, UNCONNECTED):
                return True
    return False


def answers(url: str) -> bool:
    """Whether a GET is answered by 2xx or 3xx."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port or 80, timeout=HTTP_WITHIN_S)
    try:
        connection.request("GET", (where.path or "/") + (f"?{where.query}" if where.query else ""))
        return 200 <= connection.getresponse().status < 400
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
