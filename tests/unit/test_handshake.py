"""Two nodes of a run find each other; nobody else gets past the first frame."""

import asyncio
import socket
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from node_image.handshake import Identity, RefusedError, Session, answer, greet, hkdf_sha256, listening_key, pair_key
from node_image.message import encode

SECRET = bytes(range(32))
RUN = "0123456789abcdef"
BOBS = listening_key(SECRET, RUN, "bob")
ALICE = Identity("alice", RUN, listening_key(SECRET, RUN, "alice"), {"bob": pair_key(BOBS, RUN, "alice")})
BOB = Identity("bob", RUN, BOBS, {})
CHARLIE = Identity("charlie", RUN, listening_key(SECRET, RUN, "charlie"), {"bob": pair_key(BOBS, RUN, "charlie")})
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def stream_pair() -> tuple[Streams, Streams]:
    ours, theirs = socket.socketpair()
    return await asyncio.open_connection(sock=ours), await asyncio.open_connection(sock=theirs)


async def meet(dialer: Identity, listener: Identity, knows: tuple[str, ...] = ("alice",)) -> list[Session | str]:
    """Outcome on the dialer's and the listener's side: a session, or why there is none."""
    near, far = await stream_pair()

    async def outcome(streams: Streams, side: str) -> Session | str:
        try:
            if side == "dialer":
                return await greet(*streams, dialer, "bob")
            return await answer(*streams, listener, knows)
        except RefusedError as refused:
            return refused.reason
        except EOFError:
            return "closed"
        finally:
            streams[1].close()

    return list(await asyncio.gather(outcome(near, "dialer"), outcome(far, "listener")))


def test_both_sides_agree_on_who_is_there_and_on_a_key_for_each_direction() -> None:
    dialer, listener = asyncio.run(meet(ALICE, BOB))
    assert isinstance(dialer, Session)
    assert isinstance(listener, Session)
    assert (dialer.peer, listener.peer) == ("bob", "alice")
    assert dialer.send_key == listener.receive_key != dialer.receive_key == listener.send_key
    assert (dialer.sent_bytes, dialer.received_bytes) == (listener.received_bytes, listener.sent_bytes)


def test_every_session_has_keys_of_its_own() -> None:
    first, again = (asyncio.run(meet(ALICE, BOB))[0] for _ in range(2))
    assert isinstance(first, Session)
    assert isinstance(again, Session)
    assert len({first.send_key, first.receive_key, again.send_key, again.receive_key}) == 4


@pytest.mark.parametrize(
    "dialer",
    [
        replace(ALICE, pairs={"bob": bytes(32)}),
        replace(ALICE, run_id="another"),
        replace(ALICE, name="charlie"),  # alice's keys and another's name
        replace(CHARLIE, name="alice"),
        replace(
            ALICE, pairs={"bob": pair_key(listening_key(SECRET, RUN, "dora"), RUN, "alice")}
        ),  # for another listener
    ],
)
def test_a_stranger_is_refused(dialer: Identity) -> None:
    assert asyncio.run(meet(dialer, BOB, ("alice", "charlie"))) == ["closed", "hello_mac"]


def test_a_node_that_is_no_peer_is_refused() -> None:
    assert asyncio.run(meet(CHARLIE, BOB)) == ["closed", "hello_mac"]


def test_a_listener_finds_out_who_of_many_speaks() -> None:
    many = (*(f"device-{number}" for number in range(50)), "charlie", "alice")
    for dialer in (ALICE, CHARLIE):
        _, listener = asyncio.run(meet(dialer, BOB, many))
        assert isinstance(listener, Session)
        assert listener.peer == dialer.name


def test_a_listener_without_the_key_is_refused_by_the_dialer() -> None:
    async def scene() -> str:
        near, far = await stream_pair()
        greeting = asyncio.create_task(greet(*near, ALICE, "bob"))
        await far[0].readexactly(1)
        far[1].write(encode("hello", {"nonce": np.zeros(32, np.uint8)}, bytes(32), 0))
        try:
            await greeting
        except RefusedError as refused:
            return refused.reason
        finally:
            near[1].close()
            far[1].close()
        return "accepted"

    assert asyncio.run(scene()) == "hello_mac"


def test_a_node_is_told_no_key_of_a_pair_it_is_not_in() -> None:
    """What alice holds gives neither the run's secret nor any other pair's key by the derivations there are."""
    held = {ALICE.listening, *ALICE.pairs.values()}
    names = ("alice", "bob", "charlie")
    derived = {pair_key(key, RUN, name) for key in held for name in names}
    foreign = {
        pair_key(listening_key(SECRET, RUN, to), RUN, who) for to in ("bob", "charlie") for who in ("bob", "charlie")
    }
    assert not (held | derived) & (foreign | {SECRET, BOB.listening, CHARLIE.listening})


def test_an_overheard_conversation_cannot_be_replayed() -> None:
    async def scene() -> str:
        near, far = await stream_pair()
        listening = asyncio.create_task(answer(*far, BOB, ["alice"]))
        overheard = Overhear(near[1])
        await greet(near[0], overheard, ALICE, "bob")  # type: ignore[arg-type] # stands in for a StreamWriter
        await listening
        near[1].close()
        far[1].close()

        near, far = await stream_pair()
        near[1].write(bytes(overheard.heard))
        try:
            await answer(*far, BOB, ["alice"])
        except RefusedError as refused:
            return refused.reason
        finally:
            near[1].close()
            far[1].close()
        return "accepted"

    assert asyncio.run(scene()) == "hello_mac"


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "hello_magic"),
        (encode("hello", {}, bytes(32), 0), "hello_mac"),
        (b"\xeb\x01\x0a\x00\xff\xff\xff\xff", "hello_payload_size"),
    ],
)
def test_garbage_is_refused_with_a_reason(sent: bytes, reason: str) -> None:
    async def scene() -> None:
        near, far = await stream_pair()
        near[1].write(sent)
        try:
            await answer(*far, BOB, ["alice"])
        finally:
            near[1].close()
            far[1].close()

    with pytest.raises(RefusedError) as refused:
        asyncio.run(scene())
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        ("update", {"run": RUN, "node": "alice", "to": "bob"}, "hello_kind"),
        ("hello", {"run": RUN, "node": "alice", "to": "bob", "life": 1}, "hello_nonce"),
        ("hello", {"run": RUN, "node": "alice", "to": "bob"}, "hello_life"),
        ("hello", {"run": RUN, "node": "alice", "to": "bob", "life": True}, "hello_life"),
        ("hello", {"run": RUN, "node": "alice", "to": "bob", "life": 0}, "hello_life"),
        ("hello", {"run": RUN, "node": "alice", "to": "carol"}, "hello_address"),
        ("hello", {"run": RUN, "node": "charlie", "to": "bob"}, "hello_name"),
        ("hello", {"run": RUN, "node": 3, "to": "bob"}, "hello_name"),
        ("hello", {"run": "other", "node": "alice", "to": "bob"}, "hello_run"),
    ],
)
def test_a_signed_but_senseless_hello_is_refused(kind: str, body: dict[str, Any], reason: str) -> None:
    async def scene() -> None:
        near, far = await stream_pair()
        near[1].write(encode(kind, body, BOB.pair("alice").derive("hello"), 0))
        try:
            await answer(*far, BOB, ["alice"])
        finally:
            near[1].close()
            far[1].close()

    with pytest.raises(RefusedError) as refused:
        asyncio.run(scene())
    assert refused.value.reason == reason


def test_a_secret_is_never_shown() -> None:
    for key in (ALICE.listening, ALICE.pairs["bob"]):
        for shown in (repr(ALICE), repr(BOB.pair("alice"))):
            assert key.hex() not in shown
            assert repr(key) not in shown


def test_keys_follow_rfc_5869() -> None:
    # RFC 5869, appendix A.1: test case 1, the first 32 bytes of its output.
    derived = hkdf_sha256(b"\x0b" * 22, bytes(range(0x0D)), bytes(range(0xF0, 0xFA)))
    assert derived.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"


class Overhear:
    """A writer that keeps a copy of what passes."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.heard = bytearray()

    def write(self, data: bytes) -> None:
        self.heard += data
        self._writer.write(data)

    async def drain(self) -> None:
        await self._writer.drain()
