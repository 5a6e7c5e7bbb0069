"""Who is there: three frames by which two nodes prove to each other that they hold the key of their pair.

    dialer   -> listener   run, own name, listener's name, life, nonce     MAC key from the pair's key alone
    listener -> dialer     life, nonce                                     MAC key from the dialer's nonce: fresh
    dialer   -> listener   (empty)                                         MAC key from both nonces: fresh

The proofs are the MACs of ordinary frames of kind "hello". Every key is HKDF-SHA256 of the pair's key with the nonces
as salt and purpose, run and both names as info, so a frame of another run, pair, direction or session never passes.
Each direction of the session then has a key of its own.

Every pair has a key of its own, so a node that turns hostile can pose as nobody else. Where they come from, each from
the one before, downwards only:

    the run's secret              the orchestrator alone has it; new for every run
      -> a node's listening key   given to that node: it derives the keys of all who may dial it
        -> the key of a pair      given to the dialer; a coordinator with 1000 devices is told one key, and not 1000

`life` counts the processes that a node has been. Who has spoken to one, dialer or listener, refuses all before it: a
process that was given up for dead, and a copy of it, come too late.
"""

import hashlib
import hmac
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from node_image.message import PREFIX, Parts, Reject, decode_rest, encode, parse_prefix
from node_image.runtime import Body
from node_image.streams import Incoming, Outgoing

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
    """Who a node is in which run, and by what it proves it. Keys have 32 bytes and are never shown.

    `listening` is the key from which it derives those of its dialers; `pairs` has the key of each peer that it dials.
    """

    name: str
    run_id: str
    listening: bytes = field(repr=False)
    pairs: Mapping[str, bytes] = field(repr=False)
    life: int = 1

    def pair(self, dialer: str) -> "_Pair":
        """The keys of the pair in which it is dialled by that node."""
        return _Pair(pair_key(self.listening, self.run_id, dialer), self.run_id, dialer, self.name)


@dataclass(frozen=True)
class Session:
    """Two authenticated ends: whom we speak to, a key for each direction, and what agreeing on them cost.

    `life` is the peer's.
    """

    peer: str
    life: int
    send_key: bytes = field(repr=False)
    receive_key: bytes = field(repr=False)
    sent_bytes: int
    received_bytes: int


async def greet(reader: Incoming, writer: Outgoing, identity: Identity, listener: str) -> Session:
    """The dialer's side. Raises RefusedError, or what the connection raises; the caller keeps the deadline."""
    nonce = os.urandom(NONCE_BYTES)
    pair = _Pair(identity.pairs[listener], identity.run_id, identity.name, listener)
    hello = hello_body(identity.run_id, identity.name, listener, identity.life, nonce)
    sent_bytes = _write(writer, hello, pair.derive("hello"))
    answered = _opened(await _read(reader), pair.derive("answer", nonce))
    both = nonce + _nonce(answered.body)
    sent_bytes += _write(writer, {}, pair.derive("confirm", both))
    return Session(
        peer=listener,
        life=_life(answered),
        send_key=pair.derive("forward", both),
        receive_key=pair.derive("back", both),
        sent_bytes=sent_bytes,
        received_bytes=answered.frame_bytes,
    )


async def answer(reader: Incoming, writer: Outgoing, identity: Identity, dialers: Iterable[str]) -> Session:
    """The listener's side: `dialers` are the names it may be dialled by, the likeliest first. Raises as `greet` does.

    Who speaks is known only when the first frame has been read, and it is read only when its MAC is right: so the key
    of each dialer is tried in turn.
    """
    pair, hello = _speaker(await _read(reader), (identity.pair(name) for name in dialers))
    if hello.body.get("run") != identity.run_id:
        raise RefusedError("hello_run")
    if hello.body.get("to") != identity.name:
        raise RefusedError("hello_address")
    if hello.body.get("node") != pair.dialer:
        raise RefusedError("hello_name")
    life = _life(hello)
    theirs, nonce = _nonce(hello.body), os.urandom(NONCE_BYTES)
    both = theirs + nonce
    sent_bytes = _write(writer, answer_body(identity.life, nonce), pair.derive("answer", theirs))
    confirmed = _opened(await _read(reader), pair.derive("confirm", both))
    return Session(
        peer=pair.dialer,
        life=life,
        send_key=pair.derive("back", both),
        receive_key=pair.derive("forward", both),
        sent_bytes=sent_bytes,
        received_bytes=hello.frame_bytes + confirmed.frame_bytes,
    )


def hello_body(run_id: str, dialer: str, listener: str, life: int, nonce: bytes) -> Body:
    """What the first frame says."""
    return {"run": run_id, "node": dialer, "to": listener, "life": life, "nonce": np.frombuffer(nonce, "u1")}


def answer_body(life: int, nonce: bytes) -> Body:
    """What the second frame says."""
    return {"life": life, "nonce": np.frombuffer(nonce, "u1")}


def listening_key(secret: bytes, run_id: str, listener: str) -> bytes:
    """The key from which a node derives those of its dialers; `secret` is the run's."""
    return hkdf_sha256(secret, b"", f"edgebed listener|{run_id}|{listener}".encode())


def pair_key(listening: bytes, run_id: str, dialer: str) -> bytes:
    """The key of a dialer and the listener whose listening key it is."""
    return hkdf_sha256(listening, b"", f"edgebed pair|{run_id}|{dialer}".encode())


def hkdf_sha256(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """32 bytes of key by HKDF (RFC 5869) with SHA-256: one extraction, one expansion."""
    extracted = hmac.digest(salt or bytes(32), secret, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


@dataclass(frozen=True)
class _Pair:
    """A dialer and a listener: their key, and those made of it by purpose and by the nonces exchanged so far."""

    key: bytes = field(repr=False)
    run_id: str
    dialer: str
    listener: str

    def derive(self, purpose: str, nonces: bytes = b"") -> bytes:
        info = f"edgebed {purpose}|{self.run_id}|{self.dialer}|{self.listener}"
        return hkdf_sha256(self.key, nonces, info.encode())


def _nonce(body: Body) -> bytes:
    nonce = body.get("nonce")
    if not isinstance(nonce, np.ndarray) or nonce.dtype != np.uint8 or nonce.shape != (NONCE_BYTES,):
        raise RefusedError("hello_nonce")
    return nonce.tobytes()


def _life(parts: Parts) -> int:
    life = parts.body.get("life")
    if type(life) is not int or life < 1:
        raise RefusedError("hello_life")
    return life


def _write(writer: Outgoing, body: Body, key: bytes) -> int:
    frame = encode(KIND, body, key, sequence=0)
    writer.write(frame)
    return len(frame)


async def _read(reader: Incoming) -> tuple[bytes, bytes]:
    """Prefix and rest of the next frame, no longer than a frame of a handshake may be."""
    prefix = await reader.readexactly(PREFIX.size)
    sizes = parse_prefix(prefix, max_payload_bytes=NONCE_BYTES)
    if isinstance(sizes, Reject):
        raise RefusedError(f"hello_{sizes.reason}")
    return prefix, await reader.readexactly(sizes.rest_bytes)


def _speaker(frame: tuple[bytes, bytes], pairs: Iterable[_Pair]) -> tuple[_Pair, Parts]:
    """Whose key signed the first frame, and what it says."""
    for pair in pairs:
        key = pair.derive("hello")
        if decode_rest(*frame, key, sequence=0) != Reject("mac"):
            return pair, _opened(frame, key)
    raise RefusedError("hello_mac")


def _opened(frame: tuple[bytes, bytes], key: bytes) -> Parts:
    parts = decode_rest(*frame, key, sequence=0)
    if isinstance(parts, Reject):
        raise RefusedError(f"hello_{parts.reason}")
    if parts.kind != KIND:
        raise RefusedError("hello_kind")
    return parts
