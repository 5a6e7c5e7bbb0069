"""TLS 1.3 between nodes, where what they say crosses a network that others may read. The handshake of names and keys
(handshake.py) and every frame go inside it, as they are elsewhere.

Both sides show a certificate of the run, made by the orchestrator for that node's process, and take none of anybody
else. A certificate must bear the name that the handshake inside proves: two locks, and both must fit. No other
version is spoken, nothing is resumed, and there is no way back to the open: a peer that is to be spoken to in TLS is
spoken to in TLS or not at all.

The bytes that TLS adds are counted where they are made: what was given to the socket less what it was given to carry.
"""

import asyncio
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from node_image.handshake import RefusedError

CHUNK_BYTES = 256 * 2**10
HANDSHAKE_RECORD = 22  # the first byte of whoever speaks TLS
NOT_YET_VALID, EXPIRED, OTHER_NAME = 9, 10, 62  # X509_V_ERR_* of OpenSSL
REASONS = {
    "UNSUPPORTED_PROTOCOL": "tls_version",
    "TLSV1_ALERT_PROTOCOL_VERSION": "tls_version",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "tls_certificate",
}


def reason(error: ssl.SSLError) -> str:
    """Why TLS ended, in one word that serves as a label."""
    if isinstance(error, ssl.SSLCertVerificationError):
        words = {NOT_YET_VALID: "tls_expired", EXPIRED: "tls_expired", OTHER_NAME: "tls_name"}
        return words.get(error.verify_code, "tls_authority")
    said = error.reason or ""
    return REASONS.get(said, "tls_alert" if "ALERT" in said else "tls_record")


@dataclass(frozen=True)
class Tls:
    """By what a node speaks TLS, and with whom it must."""

    peers: frozenset[str]
    listening: ssl.SSLContext
    dialing: ssl.SSLContext

    @staticmethod
    def of(told: Mapping[str, Any]) -> "Tls":
        """As the `init` command brings it: `peers`, `authority` (a certificate), `own` (a certificate and its key)."""
        contexts = [_context(side, told) for side in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)]
        return Tls(frozenset(told["peers"]), *contexts)

    async def dial(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str) -> "TlsStream":
        """The dialer's side. Raises ssl.SSLError (`reason` says why), or what the connection raises."""
        stream = TlsStream(reader, writer, self.dialing, peer)
        await stream.shake_hands()
        return stream

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> "TlsStream":
        """The listener's side; RefusedError where the other does not speak TLS at all, else as `dial`."""
        stream = TlsStream(reader, writer, self.listening)
        await stream.shake_hands()
        return stream


class TlsStream:
    """Both directions of a connection in TLS: node_image.streams' Incoming and Outgoing, in one.

    An end without a farewell counts as an end: frames are numbered and sealed, so what is missing is noticed inside.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        context: ssl.SSLContext,
        peer: str | None = None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._is_listener = peer is None
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=self._is_listener, server_hostname=peer
        )
        self._read = bytearray()  # opened, and not asked for yet
        self._overhead = 0

    async def shake_hands(self) -> None:
        """Agree on keys; until then nothing else goes."""
        if self._is_listener:
            await self._feed(first=True)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                await self._writer.drain()
                await self._feed()
            else:
                break
            finally:
                self._flush()  # also the alert that tells the other why not

    @property
    def names(self) -> tuple[str, ...]:
        """Those that the other side's certificate bears."""
        shown: Any = self._tls.getpeercert() or {}
        return tuple(name for kind, name in shown.get("subjectAltName", ()) if kind == "DNS")

    def overhead(self) -> int:
        """Bytes sent, beyond those given to `write`, since this was last asked."""
        added, self._overhead = self._overhead, 0
        return added

    async def readexactly(self, n: int) -> bytes:
        """See Incoming."""
        while len(self._read) < n:
            try:
                opened = self._tls.read(CHUNK_BYTES)
            except ssl.SSLWantReadError:
                self._flush()
                await self._feed()
                continue
            except ssl.SSLZeroReturnError:
                opened = b""
            if not opened:
                raise asyncio.IncompleteReadError(bytes(self._read), n)
            self._read += opened
        found = bytes(memoryview(self._read)[:n])
        del self._read[:n]
        return found

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See Outgoing."""
        with memoryview(data) as left:
            written = 0
            while written < len(left):
                written += self._tls.write(left[written:])
        self._overhead -= written
        self._flush()

    async def drain(self) -> None:
        """See Outgoing: the limits of the socket's transport hold."""
        await self._writer.drain()

    @property
    def transport(self) -> asyncio.WriteTransport:
        """See Outgoing."""
        return self._writer.transport

    def is_closing(self) -> bool:
        """See Outgoing."""
        return self._writer.is_closing()

    def get_extra_info(self, name: str) -> Any:
        """See Outgoing."""
        return self._writer.get_extra_info(name)

    def _flush(self) -> None:
        sealed = self._outgoing.read()
        if sealed:
            self._overhead += len(sealed)
            self._writer.write(sealed)

    async def _feed(self, *, first: bool = False) -> None:
        sealed = await self._reader.read(CHUNK_BYTES)
        if not sealed:
            raise asyncio.IncompleteReadError(b"", None)
        if first and sealed[0] != HANDSHAKE_RECORD:
            raise RefusedError("tls_missing")
        self._incoming.write(sealed)


def _context(side: int, told: Mapping[str, Any]) -> ssl.SSLContext:
    """TLS 1.3 and nothing else, the run's authority and nobody else's; a name is asked of whoever is dialled."""
    context = ssl.SSLContext(side)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=told["authority"])
    if side == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0  # nothing is resumed
    own = os.memfd_create("certificate", os.MFD_CLOEXEC)  # ssl reads files alone; this one is in no folder
    try:
        os.write(own, told["own"].encode())
        context.load_cert_chain(f"/proc/self/fd/{own}")
    finally:
        os.close(own)
    return context
