"""Nodes that speak TLS 1.3 to each other, over loopback: who gets in, who does not and why, and what a reader sees.

Certificates are those that the orchestrator makes; what is wrong with the wrong ones is all that is wrong with them.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from node_image import transport
from node_image.connection import Connection
from node_image.handshake import greet
from node_image.learner import Learner
from node_image.tcp import TcpRuntime
from node_image.tls import Tls
from orchestrator.boards.certificates import LASTS_S, Authority
from tests.unit.test_tcp import ADDRESSES, Ledger, Town, got, identity_of, live_connection, spec, until

AUTHORITY = Authority.for_run("run", 60.0)
ALL = tuple(ADDRESSES)
SPOKEN = {name: frozenset(ALL) - {name} for name in ALL}
CANARY = np.frombuffer(b"a model that nobody else may read" * 4096, "u1")
RECORD_BYTES = 22  # header, type and tag of each record of TLS 1.3 with the ciphers that it has by itself


def certified(name: str, by: Authority = AUTHORITY, **changes: Any) -> Tls:
    """What a node is told, with something else in some places."""
    return Tls.of({**by.told(name, SPOKEN.get(name, ())), **changes})


class SafeTown(Town):
    """Its nodes speak TLS; `beyond` is the port at which dialers think the others are."""

    beyond: int | None = None

    @asynccontextmanager
    async def safe(self, name: str, tls: Tls | None = None) -> AsyncIterator[TcpRuntime]:
        ledger = self.ledgers[name] = Ledger()
        learner = cast(Learner, None)  # nothing here learns
        given = tls or certified(name)
        runtime = TcpRuntime(
            spec(name), identity_of(name), learner, ledger, self._state_dir / name, port=self.port, tls=given
        )
        await runtime.listen()
        if self.beyond is not None:
            runtime._transport._port = self.beyond
        await runtime.start()
        try:
            yield runtime
        finally:
            async with asyncio.timeout(10):
                await runtime.close()

    def refused(self, name: str) -> dict[str, float]:
        """What a node refused, by reason."""
        records = [record for record in self.ledgers[name].records if record.metric == "rejected_frames"]
        return {record.labels["reason"]: 1.0 for record in records}


@pytest.fixture
def town(tmp_path: Path) -> SafeTown:
    return SafeTown(tmp_path)


def test_messages_arrive_whole_in_order_and_payload_is_counted_as_ever(town: SafeTown) -> None:
    async def scene() -> None:
        async with town.safe("coordinator") as coordinator, town.safe("alice") as alice:
            model = np.random.default_rng(1).normal(size=700_000).astype(np.float32)
            for number in range(10):
                await alice.send("coordinator", "update", {"round": number, "model": model[: number * 100]})
                await coordinator.send("alice", "ask", {"round": number})
            await alice.send("coordinator", "update", {"round": 10, "model": model})
            updates, asks = await got(coordinator, 11), await got(alice, 10)
            assert [update.body["round"] for update in updates] == list(range(11))
            assert [ask.body["round"] for ask in asks] == list(range(10))
            np.testing.assert_array_equal(np.asarray(updates[10].body["model"]), model)
        sent, received = town.ledgers["alice"], town.ledgers["coordinator"]
        for kind in ("hello", "update"):
            assert sent.total("sent_payload_bytes", kind=kind) == received.total("received_payload_bytes", kind=kind)
        assert received.total("received_payload_bytes", kind="update") == sum(u.payload_bytes for u in updates)
        payload = sent.total("sent_payload_bytes", kind="update")
        added = sent.total("sent_tls_bytes", kind="records", peer="coordinator")
        assert added % RECORD_BYTES == 0
        assert payload / 2**14 * RECORD_BYTES <= added <= (payload / 2**14 + 2 * 11) * RECORD_BYTES
        assert sent.total("sent_tls_bytes", kind="handshake") > 1000, "two certificates and their keys"

    asyncio.run(scene())


def test_every_pair_speaks_it_and_the_connection_is_made_again_after_a_break(town: SafeTown) -> None:
    async def scene() -> None:
        async with town.safe("alice") as alice, town.safe("coordinator") as coordinator, town.safe("bob") as bob:
            for turn in range(2):
                for sender in (alice, bob, coordinator):
                    for dest in sender.peers:
                        await sender.send(dest, "greeting", {"turn": turn})
                for receiver in (alice, bob, coordinator):
                    assert {message.sender for message in await got(receiver, 2)} == set(receiver.peers)
                assert await alice.reset() == 2
                await until(lambda: live_connection(alice, "coordinator") and live_connection(alice, "bob"))
        assert all(town.refused(name) == {} for name in ALL)

    asyncio.run(scene())


class Relay:
    """Stands between a node and the others, and keeps all that passes."""

    def __init__(self, town: SafeTown) -> None:
        self.seen = bytearray()
        self._town = town

    async def __aenter__(self) -> "Relay":
        self._server = await asyncio.start_server(self._pass, ADDRESSES["coordinator"], 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(
            ADDRESSES["coordinator"], self._town.port, local_addr=(ADDRESSES["alice"], 0)
        )
        with suppress(OSError):
            await asyncio.gather(self._one_way(reader, there[1]), self._one_way(there[0], writer))

    async def _one_way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                self.seen += data
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


@pytest.mark.parametrize("encrypted", [True, False])
def test_who_reads_the_wire_sees_a_model_only_where_it_is_insecure(encrypted: bool, town: SafeTown) -> None:
    async def scene() -> None:
        insecure = Tls.of(AUTHORITY.told("anybody", ()))  # peers to speak to in TLS: none
        async with town.safe("coordinator", None if encrypted else insecure) as coordinator, Relay(town) as relay:
            town.beyond = relay.port
            async with town.safe("alice", None if encrypted else insecure) as alice:
                await alice.send("coordinator", "update", {"model": CANARY})
                (message,) = await got(coordinator)
                np.testing.assert_array_equal(np.asarray(message.body["model"]), CANARY)
            payload = town.ledgers["alice"].total("sent_payload_bytes")
            added = town.ledgers["alice"].total("sent_tls_bytes")
            back = town.ledgers["coordinator"].total("sent_payload_bytes")
            back += town.ledgers["coordinator"].total("sent_tls_bytes")
            assert len(relay.seen) == payload + added + back, "what TLS is said to add is what it adds on the wire"
            assert (bytes(CANARY[:33]) in relay.seen) is not encrypted
            for word in (b"update", b"model", b"nonce"):
                assert (word in relay.seen) is not encrypted
            assert (added > 0) is encrypted

    asyncio.run(scene())


def wrong_dialers() -> dict[str, Tls]:
    """Dialers whom a coordinator must not let in, by the reason that it gives."""
    past = replace(AUTHORITY, until_s=time.time() - 3600)
    old = certified("alice", past, authority=AUTHORITY.told("alice", ())["authority"])
    older, nameless = certified("alice"), certified("alice")
    older.dialing.minimum_version = ssl.TLSVersion.TLSv1_2
    older.dialing.maximum_version = ssl.TLSVersion.TLSv1_2
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.load_verify_locations(cadata=AUTHORITY.told("alice", ())["authority"])
    stranger = Authority.for_run("run", 60.0)  # of the same name, by another key
    foreign = certified("alice", stranger, authority=AUTHORITY.told("alice", ())["authority"])
    return {
        "tls_authority": foreign,
        "tls_expired": old,
        "tls_name": certified("bob", peers=SPOKEN["alice"]),
        "tls_version": older,
        "tls_certificate": replace(nameless, dialing=bare),
        "tls_missing": Tls.of(AUTHORITY.told("alice", ())),  # speaks to nobody in TLS
    }


@pytest.mark.parametrize("reason", list(wrong_dialers()))
def test_a_dialer_that_may_not_come_in_is_refused_by_a_named_reason(reason: str, town: SafeTown) -> None:
    async def scene() -> None:
        async with (
            town.safe("coordinator") as coordinator,
            town.safe("bob") as bob,
            town.safe("alice", wrong_dialers()[reason]) as alice,
        ):
            await alice.send("coordinator", "update", {"model": CANARY})
            await until(lambda: town.refused("coordinator"))
            await bob.send("coordinator", "join", {})  # others come in all the same
            assert [message.sender for message in await got(coordinator)] == ["bob"]
            assert live_connection(coordinator, "alice") is None
            assert set(town.refused("coordinator")) == {reason}
        assert town.ledgers["coordinator"].total("received_payload_bytes", kind="update") == 0

    asyncio.run(scene())


def wrong_listeners() -> dict[str, Tls]:
    """Coordinators that are none, by the reason that a device gives."""
    past, stranger = replace(AUTHORITY, until_s=time.time() - 3600), Authority.for_run("run", 60.0)
    older = certified("coordinator")
    older.listening.minimum_version = ssl.TLSVersion.TLSv1_2
    older.listening.maximum_version = ssl.TLSVersion.TLSv1_2
    return {
        "tls_authority": certified("coordinator", stranger),
        "tls_expired": certified("coordinator", past),
        "tls_name": certified("bob", peers=SPOKEN["coordinator"]),
        "tls_version": older,
    }


@pytest.mark.parametrize("reason", list(wrong_listeners()))
def test_a_listener_that_is_another_is_told_nothing(reason: str, town: SafeTown) -> None:
    async def scene() -> None:
        async with town.safe("coordinator", wrong_listeners()[reason]), town.safe("alice") as alice:
            await alice.send("coordinator", "update", {"model": CANARY})
            await until(lambda: town.refused("alice"))
            assert set(town.refused("alice")) == {reason}
            assert live_connection(alice, "coordinator") is None
        assert town.ledgers["alice"].total("sent_payload_bytes") == 0

    asyncio.run(scene())


def test_a_listener_without_tls_is_told_nothing_but_a_name(town: SafeTown) -> None:
    async def scene() -> None:
        async with town.node("coordinator"), town.safe("alice") as alice:
            await alice.send("coordinator", "update", {"model": CANARY})
            await until(lambda: town.refused("coordinator"))
            assert live_connection(alice, "coordinator") is None
        assert town.ledgers["alice"].total("sent_payload_bytes") == 0

    asyncio.run(scene())


def test_a_peer_of_the_same_machine_needs_none_and_its_address_is_no_way_in_for_others(town: SafeTown) -> None:
    """Only bob may come as he is. Alice, who must not, has his address."""

    async def scene() -> None:
        mixed = certified("coordinator", peers=["alice"])
        async with town.safe("coordinator", mixed) as coordinator:
            plain = Tls.of(AUTHORITY.told("bob", ()))
            async with town.safe("bob", plain) as bob, town.safe("alice") as alice:
                await bob.send("coordinator", "join", {})
                await alice.send("coordinator", "join", {})
                assert {message.sender for message in await got(coordinator, 2)} == {"alice", "bob"}
                assert town.ledgers["bob"].total("sent_tls_bytes", peer="coordinator") == 0
                assert town.ledgers["alice"].total("sent_tls_bytes", peer="coordinator") > 0
            reader, writer = await town.stranger("coordinator", ADDRESSES["bob"])
            await greet(reader, writer, identity_of("alice"), "coordinator")
            assert await reader.read() == b""
            writer.close()
            assert town.refused("coordinator") == {"tls_missing": 1.0}
            assert live_connection(coordinator, "alice") is None

    asyncio.run(scene())


def test_who_says_nothing_or_stops_half_way_is_given_up(town: SafeTown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "DEADLINE_S", 0.2)

    async def scene() -> None:
        async with town.safe("coordinator"):
            for said in (b"", b"\x16\x03\x01\x02\x00\x01"):  # nothing; the beginning of a ClientHello
                reader, writer = await town.stranger("coordinator")
                writer.write(said)
                async with asyncio.timeout(10):
                    with suppress(ConnectionError):
                        assert await reader.read() == b""
                writer.close()
            records = town.ledgers["coordinator"].records
            assert [r.labels["reason"] for r in records if r.metric == "rejected_frames"] == ["hello_timeout"] * 2

    asyncio.run(scene())


def test_a_record_that_was_changed_on_the_way_ends_the_connection_and_is_counted(town: SafeTown) -> None:
    async def scene() -> None:
        async with town.safe("coordinator") as coordinator:
            reader, writer = await town.stranger("coordinator", ADDRESSES["alice"])
            stream = await certified("alice").dial(reader, writer, "coordinator")
            Connection(stream, stream, await greet(stream, stream, identity_of("alice"), "coordinator"))
            await until(lambda: live_connection(coordinator, "alice") is not None)
            writer.write(b"\x17\x03\x03\x00\x20" + bytes(32))
            await until(lambda: town.refused("coordinator"))
            assert town.refused("coordinator") == {"tls_record": 1.0}
            assert live_connection(coordinator, "alice") is None
            writer.close()

    asyncio.run(scene())


def test_whatever_a_stranger_says_the_port_stays_open_for_the_others(town: SafeTown) -> None:
    async def scene() -> None:
        chance = np.random.default_rng(5)
        async with town.safe("coordinator") as coordinator:
            for number in range(60):
                reader, writer = await town.stranger("coordinator")
                noise = chance.bytes(int(chance.integers(1, 3000)))
                length = int(chance.integers(0, 2**14)).to_bytes(2, "big")
                writer.write(
                    (b"", b"\x16\x03\x01" + length, b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc")[number % 3] + noise
                )
                writer.write_eof()
                async with asyncio.timeout(10):
                    with suppress(ConnectionError):
                        await reader.read()
                writer.close()
            async with town.safe("alice") as alice:
                await alice.send("coordinator", "join", {})
                assert [message.sender for message in await got(coordinator)] == ["alice"]
            reasons = set(town.refused("coordinator"))
            assert "tls_missing" in reasons
            assert all(reason.startswith("tls_") for reason in reasons), reasons

    asyncio.run(scene())


@pytest.mark.parametrize("name", ["a", "pi_4-12", "a_-9", "x" * 31 + "-1000", "edge-gateway_2-3"])
def test_any_name_that_a_node_may_have_can_be_shown_and_asked_for(name: str) -> None:
    async def scene() -> None:
        told = AUTHORITY.told(name, ["other"])
        listening, dialing = Tls.of(told), Tls.of(AUTHORITY.told("other", [name]))
        names: list[tuple[str, ...]] = []

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            names.append((await listening.answer(reader, writer)).names)
            writer.close()

        server = await asyncio.start_server(take, "127.0.7.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        stream = await dialing.dial(reader, writer, name)
        assert stream.names == (name,)
        await until(lambda: names)
        assert names == [("other",)]
        writer.close()
        server.close()

    asyncio.run(scene())


def test_certificates_hold_for_every_clock_and_no_longer_than_a_day_after_the_run() -> None:
    a_year = 365 * 24 * 3600.0
    until_s = Authority.for_run("run", 60.0).until_s
    assert until_s - time.time() == pytest.approx(LASTS_S + 60.0, abs=60.0)
    assert Authority.for_run("run", 60.0, a_year).until_s - until_s == pytest.approx(a_year, abs=60.0)
    assert Authority.for_run("run", 60.0, -a_year).until_s == pytest.approx(until_s, abs=60.0)
    assert Authority.for_run("run", 60.0, 1e18).certificate.not_valid_after_utc.year == 9999
    assert AUTHORITY.certificate.not_valid_before_utc.year == 1970, "a board whose clock has no battery begins there"


def test_keys_of_certificates_are_new_for_every_process_and_not_shown() -> None:
    told = [AUTHORITY.told("alice", ["bob"])["own"] for _ in range(2)]
    assert told[0] != told[1]
    assert "PRIVATE" not in repr(AUTHORITY)
    assert "_key" not in repr(AUTHORITY)
