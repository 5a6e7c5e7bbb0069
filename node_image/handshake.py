"""Who is there: three frames by which two nodes prove to each other that they hold the secret of the run.

    dialer   -> listener   run, own name, listener's name, nonce     MAC key from the secret alone
    listener -> dialer     nonce                                     MAC key from the dialer's nonce: fresh
    dialer   -> listener   (empty)                                   MAC key from both nonces: fresh

The proofs are the MACs of ordinary frames of kind "hello". Every key is HKDF-SHA256 of the secret with the nonces as
salt and purpose, run and both names as info, so a frame of another run, pair, direction or session never passes. Each
direction of the session then has a key of its own. The secret is the run's: it keeps strangers out, but a node that
turns hostile could pose as another node of the same run.
"""

import asyncio
import hashlib
import hmac
import os
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import numpy as np

from node_image.message import PREFIX, Parts, Reject, decode_rest, encode, parse_prefix
from node_image.runtime import Body

DEADLINE_S = 5.0
NONCE_BYTES = 32
KIND = "hello"


class RefusedError(Exception):
    """The other side is not whom we may speak to; `reason` is one word that serves as a label."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"handshake refused: {reason}")


@dataclass(frozen=True)
class Identity:
    """Who a node is in which run. `secret`: 32 bytes that every node of the run holds; it is never shown."""

    name: str
    run_id: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class Session:
    """Two authenticated ends: whom we speak to, a key for each direction, and what agreeing on them cost."""

    peer: str
    send_key: bytes = field(repr=False)
    receive_key: bytes = field(repr=False)
    sent_bytes: int
    received_bytes: int


async def greet(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, identity: Identity, listener: str
) -> Session:
    """The dialer's side. Raises RefusedError, or what the connection raises; the caller keeps the deadline."""
    nonce = os.urandom(NONCE_BYTES)
    hello: Body = {"run": identity.run_id, "node": identity.name, "to": listener, "nonce": np.frombuffer(nonce, "u1")}
    keys = _PairKeys(identity, dialer=identity.name, listener=listener)
    sent_bytes = _write(writer, hello, _hello_key(identity))
    answered = await _read(reader, keys.derive("answer", nonce))
    both = nonce + _nonce(answered.body)
    sent_bytes += _write(writer, {}, keys.derive("confirm", both))
    await writer.drain()
    return Session(
        peer=listener,
        send_key=keys.derive("forward", both),
        receive_key=keys.derive("back", both),
        sent_bytes=sent_bytes,
        received_bytes=answered.frame_bytes,
    )


async def answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, identity: Identity, peers: AbstractSet[str]
) -> Session:
    """The listener's side: `peers` are the names it may be dialled by. Raises as `greet` does."""
    hello = await _read(reader, _hello_key(identity))
    dialer = hello.body.get("node")
    if hello.body.get("run") != identity.run_id:
        raise RefusedError("hello_run")
    if hello.body.get("to") != identity.name:
        raise RefusedError("hello_address")
    if not isinstance(dialer, str) or dialer not in peers:
        raise RefusedError("hello_name")
    keys = _PairKeys(identity, dialer=dialer, listener=identity.name)
    theirs, nonce = _nonce(hello.body), os.urandom(NONCE_BYTES)
    both = theirs + nonce
    sent_bytes = _write(writer, {"nonce": np.frombuffer(nonce, "u1")}, keys.derive("answer", theirs))
    confirmed = await _read(reader, keys.derive("confirm", both))
    return Session(
        peer=dialer,
        send_key=keys.derive("back", both),
        receive_key=keys.derive("forward", both),
        sent_bytes=sent_bytes,
        received_bytes=hello.frame_bytes + confirmed.frame_bytes,
    )


def hkdf_sha256(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """32 bytes of key by HKDF (RFC 5869) with SHA-256: one extraction, one expansion."""
    extracted = hmac.digest(salt or bytes(32), secret, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


def _hello_key(identity: Identity) -> bytes:
    """Key of the first frame, which the listener reads before it knows who speaks."""
    return hkdf_sha256(identity.secret, b"", f"edgebed hello|{identity.run_id}".encode())


@dataclass(frozen=True)
class _PairKeys:
    """The keys of a dialer and a listener, by purpose and by the nonces exchanged so far."""

    identity: Identity
    dialer: str
    listener: str

    def derive(self, purpose: str, nonces: bytes) -> bytes:
        info = f"edgebed {purpose}|{self.identity.run_id}|{self.dialer}|{self.listener}"
        return hkdf_sha256(self.identity.secret, nonces, info.encode())


def _nonce(body: Body) -> bytes:
    nonce = body.get("nonce")
    if not isinstance(nonce, np.ndarray) or nonce.dtype != np.uint8 or nonce.shape != (NONCE_BYTES,):
        raise RefusedError("hello_nonce")
    return nonce.tobytes()


def _write(writer: asyncio.StreamWriter, body: Body, key: bytes) -> int:
    frame = encode(KIND, body, key, sequence=0)
    writer.write(frame)
    return len(frame)


async def _read(reader: asyncio.StreamReader, key: bytes) -> Parts:
    prefix = await reader.readexactly(PREFIX.size)
    sizes = parse_prefix(prefix, max_payload_bytes=NONCE_BYTES)
    if isinstance(sizes, Reject):
        raise RefusedError(f"hello_{sizes.reason}")
    parts = decode_rest(prefix, await reader.readexactly(sizes.rest_bytes), key, sequence=0)
    if isinstance(parts, Reject):
        raise RefusedError(f"hello_{parts.reason}")
    if parts.kind != KIND:
        raise RefusedError("hello_kind")
    return parts
