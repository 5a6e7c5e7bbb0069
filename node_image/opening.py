"""From a TCP connection to one whose ends know each other: TLS where it must be (tls.py), then names and keys."""

import asyncio
from collections.abc import Sequence

from node_image.connection import Connection
from node_image.handshake import Identity, RefusedError, answer, greet
from node_image.spec import Peer
from node_image.tls import Tls


async def greeted(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, identity: Identity, tls: Tls | None, peer: str
) -> Connection:
    """The dialer's side. Raises RefusedError, ssl.SSLError or what a connection raises, within the caller's time."""
    if tls is None or peer not in tls.peers:
        return Connection(reader, writer, await greet(reader, writer, identity, peer))
    stream = await tls.dial(reader, writer, peer)
    return Connection(stream, stream, await greet(stream, stream, identity, peer))


async def answered(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    identity: Identity,
    tls: Tls | None,
    dialers: Sequence[Peer],
    address: str,
) -> Connection:
    """The listener's side, to one of the `dialers` who comes from that address. Raises as `greeted` does.

    Whether it must come in TLS is told by its address, which may lie: so the name that it then proves is asked too.
    """
    names = [peer.name for peer in sorted(dialers, key=lambda peer: peer.address != address)]  # the likeliest first
    if tls is None or any(peer.address == address and peer.name not in tls.peers for peer in dialers):
        session = await answer(reader, writer, identity, names)
        if tls is not None and session.peer in tls.peers:
            raise RefusedError("tls_missing")
        return Connection(reader, writer, session)
    stream = await tls.answer(reader, writer)
    session = await answer(stream, stream, identity, names)
    if session.peer not in stream.names:
        raise RefusedError("tls_name")
    return Connection(stream, stream, session)
