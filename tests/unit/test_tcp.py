"""Runtimes on loopback addresses in one event loop: what they promise an algorithm, whatever the other side does."""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from node_image import connection, transport
from node_image.connection import Connection
from node_image.handshake import Identity, greet
from node_image.learner import Learner
from node_image.message import MAX_PAYLOAD_BYTES, encode
from node_image.recorder import Recorder
from node_image.records import Record
from node_image.runtime import Cost, Message, NodeRuntime
from node_image.spec import Chosen, ComputeSpeed, NodeSpec, Peer, TaskSpec
from node_image.tcp import TcpRuntime
from orchestrator.keys import RunKeys

KEYS = RunKeys("run", bytes(range(32)))
NO_COST = Cost(0, 0)
ADDRESSES = {"coordinator": "127.0.7.1", "alice": "127.0.7.2", "bob": "127.0.7.3"}


class Ledger(Recorder):
    """Keeps what a runtime records."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.events: list[Mapping[str, Any]] = []

    def record(self, record: Record) -> None:
        self.records.append(record)

    def event(self, facts: Mapping[str, Any]) -> None:
        self.events.append(facts)

    def total(self, metric: str, **labels: str) -> float:
        """Sum of the records that bear at least these labels."""
        return sum(r.value for r in self.records if r.metric == metric and labels.items() <= r.labels.items())


def spec(name: str) -> NodeSpec:
    peers = [other for other in ADDRESSES if other != name]
    return NodeSpec(
        name=name,
        role="coordinator" if name == "coordinator" else "device",
        index=list(ADDRESSES).index(name) - 1,
        devices=len(ADDRESSES) - 1,
        address=ADDRESSES[name],
        peers=tuple(Peer(other, ADDRESSES[other]) for other in peers),
        coordinator="coordinator",
        seed=1,
        data_seed=1,
        stop_after_s=60.0,
        task=TaskSpec("none"),
        model=Chosen("none"),
        algorithm=Chosen("none"),
        rule=Chosen("none"),
        speed=ComputeSpeed(1e9, 1e-6),
    )


def identity_of(name: str, life: int = 1) -> Identity:
    """As a node makes it of its `init` command."""
    told = KEYS.new_life(spec(name))
    pairs = {peer: bytes.fromhex(key) for peer, key in told["pairs"].items()}
    return Identity(name, "run", bytes.fromhex(told["listening"]), pairs, life)


class Town:
    """Starts and ends runtimes on a port of its own."""

    def __init__(self, state_dir: Path) -> None:
        with socket.create_server(("127.0.7.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self._state_dir = state_dir
        self.ledgers: dict[str, Ledger] = {}

    @asynccontextmanager
    async def node(
        self, name: str, max_payload_bytes: int = MAX_PAYLOAD_BYTES, life: int = 1
    ) -> AsyncIterator[TcpRuntime]:
        ledger = self.ledgers[name] = Ledger()
        learner = cast(Learner, None)  # nothing here learns
        identity = identity_of(name, life)
        runtime = TcpRuntime(
            spec(name),
            identity,
            learner,
            ledger,
            self._state_dir / name,
            port=self.port,
            max_payload_bytes=max_payload_bytes,
        )
        await runtime.listen()
        await runtime.start()
        try:
            yield runtime
        finally:
            await runtime.close()

    async def stranger(self, to: str, source: str = "127.0.7.99") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(ADDRESSES[to], self.port, local_addr=(source, 0))


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path)


async def until(condition: Any, within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


async def got(runtime: TcpRuntime, count: int = 1) -> list[Message]:
    messages = [await runtime.receive(within=10) for _ in range(count)]
    assert None not in messages
    return [message for message in messages if message is not None]


def live_connection(runtime: TcpRuntime, peer: str) -> Connection | None:
    return runtime._transport._channels[peer].connection


def test_a_runtime_is_what_algorithms_are_written_for() -> None:
    _: type[NodeRuntime] = TcpRuntime


def test_messages_arrive_whole_in_order_and_are_counted_alike_on_both_sides(town: Town) -> None:
    async def scene() -> None:
        async with town.node("coordinator") as coordinator, town.node("alice") as alice:
            model = np.random.default_rng(1).normal(size=700_000).astype(np.float32)
            for number in range(20):
                await alice.send(
                    "coordinator", "update", {"round": number, "samples": 3, "model": model[: number * 100]}
                )
                await coordinator.send("alice", "ask", {"round": number})
            await alice.send("coordinator", "update", {"round": 20, "samples": 3, "model": model})
            updates, asks = await got(coordinator, 21), await got(alice, 20)
            assert [update.body["round"] for update in updates] == list(range(21))
            assert [ask.body["round"] for ask in asks] == list(range(20))
            assert {update.sender for update in updates} == {"alice"}
            np.testing.assert_array_equal(np.asarray(updates[20].body["model"]), model)
            assert updates[20].payload_bytes == 64 + 4 * 700_000
        sent, received = town.ledgers["alice"], town.ledgers["coordinator"]
        for one, other, name in ((sent, received, "alice"), (received, sent, "coordinator")):
            peer = "coordinator" if name == "alice" else "alice"
            for kind in ("update", "ask", "hello"):
                assert one.total("sent_payload_bytes", kind=kind, peer=peer) == other.total(
                    "received_payload_bytes", kind=kind, peer=name
                )
        assert sent.total("sent_payload_bytes", kind="hello") > 0
        assert received.total("received_payload_bytes", kind="update") == sum(u.payload_bytes for u in updates)
        assert sent.total("rtt_s") > 0

    asyncio.run(scene())


def test_every_pair_of_nodes_speaks_over_one_connection(town: Town) -> None:
    async def scene() -> None:
        async with town.node("alice") as alice, town.node("coordinator") as coordinator, town.node("bob") as bob:
            for sender in (alice, bob, coordinator):
                for dest in sender.peers:
                    await sender.send(dest, "greeting", {"from": sender.name})
            for receiver in (alice, bob, coordinator):
                senders = {message.sender for message in await got(receiver, 2)}
                assert senders == set(receiver.peers)
            hellos = Counter(r.labels["peer"] for r in town.ledgers["bob"].records if r.labels.get("kind") == "hello")
            assert hellos == {"coordinator": 2, "alice": 2}  # one sent and one received record a connection

    asyncio.run(scene())


def test_what_is_sent_to_a_peer_that_is_not_there_yet_arrives_when_it_comes(town: Town) -> None:
    async def scene() -> None:
        async with town.node("alice") as alice:
            await alice.send("coordinator", "join", {"n": 1})
            await alice.sleep(0.05)
            async with town.node("coordinator") as coordinator:
                assert [message.kind for message in await got(coordinator)] == ["join"]
        assert town.ledgers["alice"].total("reconnects") == 0

    asyncio.run(scene())


def test_a_full_outbox_drops_the_oldest_and_counts_them(town: Town) -> None:
    async def scene() -> None:
        async with town.node("coordinator") as coordinator:
            for number in range(12):
                await coordinator.send("alice", "model", {"round": number, "model": np.zeros(2**18, np.float32)})
            async with town.node("alice") as alice:
                assert [message.body["round"] for message in await got(alice, 7)] == list(range(5, 12))
        assert town.ledgers["coordinator"].total("dropped_messages", reason="outbox_full") == 5

    asyncio.run(scene())


def test_an_inbox_that_nobody_reads_drops_the_oldest_of_the_sender_alone(town: Town) -> None:
    async def scene() -> None:
        async with town.node("coordinator") as coordinator, town.node("alice") as alice, town.node("bob") as bob:
            await bob.send("coordinator", "greeting", {})
            await until(lambda: town.ledgers["coordinator"].total("received_payload_bytes", kind="greeting"))
            for number in range(12):
                await alice.send("coordinator", "update", {"round": number, "model": np.zeros(2**18, np.float32)})
                await until(lambda: not len(alice._transport._channels["coordinator"].outbox))
            await until(lambda: town.ledgers["coordinator"].total("dropped_messages", reason="inbox_full") == 5)
            messages = await got(coordinator, 8)
            assert messages[0].sender == "bob"
            assert [message.body["round"] for message in messages[1:]] == list(range(5, 12))

    asyncio.run(scene())


def test_a_message_is_delivered_in_order_and_once_at_most_however_often_the_connection_breaks(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "BACKOFF_MOST_S", 0.02)

    async def scene() -> None:
        chance = np.random.default_rng(3)
        async with town.node("coordinator") as coordinator, town.node("alice") as alice:
            seen: list[int] = []

            async def collect() -> None:
                while (message := await coordinator.receive()) is not None:
                    seen.append(int(cast(int, message.body["number"])))

            collecting = asyncio.create_task(collect())
            for number in range(200):
                model = np.zeros(chance.integers(1, 200_000), np.float32)
                await alice.send("coordinator", "update", {"number": number, "model": model})
                await alice.sleep(float(chance.uniform(0, 0.004)))
                if number % 20 == 19:
                    breaker, peer = (alice, "coordinator") if number % 40 == 19 else (coordinator, "alice")
                    await until(lambda node=breaker, peer=peer: live_connection(node, peer))
                    (live_connection(breaker, peer) or pytest.fail("no connection")).close()
            last = 199
            while max(seen) < 200:  # what the kernel had taken when the connection broke is lost
                last += 1
                await alice.send("coordinator", "update", {"number": last})
                await alice.sleep(0.01)
            collecting.cancel()
        assert seen == sorted(set(seen))  # in order, none twice
        assert town.ledgers["alice"].total("reconnects") == 10
        sent = len([r for r in town.ledgers["alice"].records if r.labels.get("kind") == "update"])
        assert len(seen) <= sent
        assert last + 1 - sent == town.ledgers["alice"].total("dropped_messages", reason="outbox_full")

    asyncio.run(scene())


def test_what_was_not_begun_when_a_connection_broke_goes_out_on_the_next_in_order(town: Town) -> None:
    async def scene() -> None:
        async with town.node("coordinator") as coordinator, town.node("alice") as alice:
            await until(lambda: live_connection(alice, "coordinator"))
            (live_connection(alice, "coordinator") or pytest.fail("no connection")).close()
            for number in range(3):
                await alice.send("coordinator", "update", {"number": number})
            assert [message.body["number"] for message in await got(coordinator, 3)] == [0, 1, 2]
        assert town.ledgers["alice"].total("dropped_messages") == 0

    asyncio.run(scene())


def test_the_newest_connection_of_a_node_wins(town: Town) -> None:
    async def scene() -> None:
        async with town.node("coordinator") as coordinator, town.node("alice") as first_life:
            await first_life.send("coordinator", "join", {"life": 1})
            await got(coordinator)
            older = live_connection(coordinator, "alice")
            # The same node in a second life; its first one never said goodbye.
            reader, writer = await town.stranger("coordinator", ADDRESSES["alice"])
            session = await greet(reader, writer, identity_of("alice"), "coordinator")
            second_life = Connection(reader, writer, session)
            await until(lambda: live_connection(coordinator, "alice") not in (None, older))
            assert older is not None
            assert older.is_closing()
            await coordinator.send("alice", "model", {"round": 1})
            parts = await second_life.receive()
            assert getattr(parts, "kind", None) == "model"
            second_life.close()

    asyncio.run(scene())


def test_a_process_of_an_earlier_life_is_fenced_and_disturbs_nobody(town: Town) -> None:
    async def scene() -> None:
        async with town.node("coordinator") as coordinator:
            lives: list[Connection] = []
            for life in (2, 1, 2, 3):  # an earlier process, the same again (its connection broke), and the next one
                reader, writer = await town.stranger("coordinator", ADDRESSES["alice"])
                session = await greet(reader, writer, identity_of("alice", life), "coordinator")
                if life == 1:
                    assert await reader.read() == b""
                    assert lives[0].is_closing() is False
                    writer.close()
                    continue
                older = live_connection(coordinator, "alice")
                lives.append(Connection(reader, writer, session))
                await until(lambda older=older: live_connection(coordinator, "alice") not in (None, older))
            assert town.ledgers["coordinator"].total("rejected_frames", reason="hello_fenced") == 1
            for each in lives:
                each.close()

    asyncio.run(scene())


def test_a_coordinator_of_an_earlier_life_that_answers_again_is_refused_by_who_knows_a_later_one(town: Town) -> None:
    async def scene() -> None:
        async with town.node("alice") as alice:
            async with town.node("coordinator", life=2):
                await until(lambda: live_connection(alice, "coordinator") is not None)
            async with town.node("coordinator", life=1) as zombie:
                await until(lambda: town.ledgers["alice"].total("rejected_frames", reason="hello_fenced") > 0)
                await alice.send("coordinator", "join", {"life": 2})
                assert await zombie.receive(within=0.2) is None
            async with town.node("coordinator", life=3) as third:
                assert (await got(third))[0].body == {"life": 2}

    asyncio.run(scene())


def test_a_reset_is_an_error_at_the_other_end_and_the_dialer_is_back(town: Town) -> None:
    async def scene() -> None:
        async with town.node("coordinator") as coordinator, town.node("alice") as alice:
            await until(lambda: live_connection(coordinator, "alice") is not None)
            assert await coordinator.reset() == 1
            await until(lambda: town.ledgers["alice"].total("reconnects", peer="coordinator") == 1)
            await alice.send("coordinator", "join", {"life": 1})
            assert (await got(coordinator))[0].body == {"life": 1}
            assert await alice.reset("bob") == 0

    asyncio.run(scene())


def test_a_reset_goes_out_as_a_reset_and_not_as_an_end(town: Town) -> None:
    async def scene() -> None:
        async with town.node("coordinator") as coordinator:
            reader, writer = await town.stranger("coordinator", ADDRESSES["alice"])
            await greet(reader, writer, identity_of("alice"), "coordinator")
            await until(lambda: live_connection(coordinator, "alice") is not None)
            await coordinator.reset()
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()

    asyncio.run(scene())


def test_who_is_isolated_keeps_its_connections_and_nothing_else(town: Town) -> None:
    async def scene() -> None:
        async with town.node("coordinator") as coordinator, town.node("alice") as alice:
            await until(lambda: live_connection(coordinator, "alice") is not None)
            coordinator.isolate()
            await coordinator.save({"version": 7})
            assert coordinator.restored() is None
            await coordinator.send("alice", "model", {"life": 1})
            assert (await got(alice))[0].body == {"life": 1}
            with pytest.raises(ConnectionRefusedError):
                await town.stranger("coordinator")

    asyncio.run(scene())


def test_no_node_can_pose_as_another_of_the_same_run(town: Town) -> None:
    async def scene() -> None:
        async with town.node("coordinator") as coordinator:
            mallory = replace(identity_of("bob"), name="alice")  # all that bob has been given, and alice's name
            reader, writer = await town.stranger("coordinator", ADDRESSES["alice"])
            with pytest.raises((EOFError, ConnectionError)):
                await greet(reader, writer, mallory, "coordinator")
            writer.close()
            assert live_connection(coordinator, "alice") is None
            assert town.ledgers["coordinator"].total("rejected_frames", reason="hello_mac") == 1

    asyncio.run(scene())


def test_a_restarted_coordinator_is_found_again(town: Town) -> None:
    async def scene() -> None:
        async with town.node("alice") as alice:
            for life in range(3):
                async with town.node("coordinator") as coordinator:
                    await alice.send("coordinator", "join", {"life": life})
                    (message,) = await got(coordinator)
                    assert message.body == {"life": life}
                    await coordinator.send("alice", "model", {"life": life})
                    assert (await got(alice))[0].body == {"life": life}
                await until(lambda: live_connection(alice, "coordinator") is None)
            assert town.ledgers["alice"].total("reconnects", peer="coordinator") == 2

    asyncio.run(scene())


@pytest.mark.parametrize("turns", range(8))
def test_a_runtime_closes_even_while_a_connection_of_its_breaks(turns: int, town: Town) -> None:
    """`turns` of the event loop lie between the break and the end: in some the error and the end meet."""

    async def scene() -> None:
        async with town.node("coordinator"), town.node("alice") as alice:
            await until(lambda: live_connection(alice, "coordinator"))
            (live_connection(alice, "coordinator") or pytest.fail("no connection")).close()
            for _ in range(turns):
                await asyncio.sleep(0)
            async with asyncio.timeout(5):
                await alice.close()

    asyncio.run(scene())


def test_strangers_and_garbage_are_counted_and_disturb_nobody(town: Town) -> None:
    async def scene() -> None:
        async with town.node("coordinator") as coordinator, town.node("alice") as alice:
            for sent in (b"GET / HTTP/1.1\r\n\r\n", encode("hello", {"node": "alice"}, bytes(32), 0)):
                reader, writer = await town.stranger("coordinator")
                writer.write(sent)
                assert await reader.read() == b""  # closed without a word
                writer.close()
            await alice.send("coordinator", "join", {})
            assert (await got(coordinator))[0].sender == "alice"
        refused = town.ledgers["coordinator"]
        assert refused.total("rejected_frames", reason="hello_magic") == 1
        assert refused.total("rejected_frames", reason="hello_mac") == 1

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\x00" * 64, "magic"),
        (encode("update", {}, bytes(32), 0), "mac"),
        (b"\xeb\x01\x08\x00\xff\xff\xff\x00", "payload_size"),
    ],
)
def test_a_known_peer_that_turns_to_garbage_is_disconnected_and_counted(town: Town, sent: bytes, reason: str) -> None:
    async def scene() -> None:
        async with town.node("coordinator", max_payload_bytes=1000):
            reader, writer = await town.stranger("coordinator")
            await greet(reader, writer, identity_of("alice"), "coordinator")
            writer.write(sent)
            with pytest.raises((EOFError, ConnectionError)):
                await reader.readexactly(1)
            writer.close()
            assert town.ledgers["coordinator"].total("rejected_frames") == 1
            assert town.ledgers["coordinator"].total("rejected_frames", reason=reason) == 1

    asyncio.run(scene())


def test_silent_connections_from_one_address_are_few_and_end_at_the_deadline(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "DEADLINE_S", 0.2)

    async def scene() -> None:
        async with town.node("coordinator") as coordinator, town.node("alice") as alice:
            silent = [await town.stranger("coordinator") for _ in range(6)]
            await until(lambda: town.ledgers["coordinator"].total("rejected_frames", reason="hello_half_open") == 2)
            await alice.send("coordinator", "join", {})
            await got(coordinator)
            await until(lambda: town.ledgers["coordinator"].total("rejected_frames", reason="hello_timeout") == 4)
            for _, writer in silent:
                writer.close()

    asyncio.run(scene())


def test_a_message_cut_off_by_a_broken_connection_is_counted(town: Town) -> None:
    async def scene() -> None:
        async with town.node("coordinator") as coordinator:
            reader, writer = await town.stranger("coordinator")
            await greet(reader, writer, identity_of("alice"), "coordinator")
            writer.transport.pause_reading()  # type: ignore[attr-defined] # a ReadTransport, whatever its declared type
            await coordinator.send(
                "alice", "model", {"model": np.zeros(15 * 2**20, np.float32)}
            )  # more than kernels hold
            await until(lambda: town.ledgers["coordinator"].total("sent_payload_bytes", kind="model"))
            writer.transport.abort()
            await until(lambda: town.ledgers["coordinator"].total("dropped_messages", reason="connection_lost") == 1)

    asyncio.run(scene())


def test_connections_live_on_while_a_node_computes(town: Town) -> None:
    async def scene() -> None:
        async with town.node("coordinator") as coordinator, town.node("alice") as alice:
            await alice.send("coordinator", "join", {})
            await got(coordinator)
            released = asyncio.get_running_loop().create_future()
            loop = asyncio.get_running_loop()

            def work() -> str:
                asyncio.run_coroutine_threadsafe(asyncio.wait_for(released, 10), loop).result()
                return "done"

            computing = asyncio.create_task(coordinator.compute(work, NO_COST))
            await alice.send("coordinator", "update", {})
            await got(coordinator)  # arrives although the work goes on
            assert not computing.done()
            released.set_result(None)
            assert await computing == "done"

    asyncio.run(scene())


def test_work_is_done_one_piece_after_the_other_and_its_error_comes_back(town: Town) -> None:
    async def scene() -> None:
        running: list[int] = []

        def work(number: int) -> int:
            running.append(number)
            time.sleep(0.005)
            assert running[-1] == number, "another piece of work ran at the same time"
            return number

        async with town.node("alice") as alice:
            pieces = [alice.compute(partial(work, number), NO_COST) for number in range(5)]
            assert await asyncio.gather(*pieces) == list(range(5))
            with pytest.raises(ZeroDivisionError):
                await alice.compute(lambda: 1 // 0, NO_COST)

    asyncio.run(scene())


def test_waiting_for_a_message_ends_in_time_and_loses_none(town: Town) -> None:
    async def scene() -> None:
        async with town.node("coordinator") as coordinator, town.node("alice") as alice:
            assert await coordinator.receive(within=0) is None
            assert await coordinator.receive(within=0.01) is None
            for number in range(50):
                await alice.send("coordinator", "update", {"number": number})
            seen: list[object] = []
            while len(seen) < 50:
                message = await coordinator.receive(within=0.0005)
                if message is not None:
                    seen.append(message.body["number"])
            assert seen == list(range(50))

    asyncio.run(scene())


def test_a_checkpoint_is_found_in_the_next_life_and_a_broken_one_is_told(town: Town, tmp_path: Path) -> None:
    async def scene() -> None:
        async with town.node("alice") as alice:
            assert alice.restored() is None
            await alice.save({"round": 1})
            await asyncio.gather(alice.save({"round": 2}), alice.save({"round": 3}))
        async with town.node("alice") as alice:
            assert alice.restored() == {"round": 3}
            newest = max((tmp_path / "alice").iterdir())
            newest.write_bytes(b"torn")
            assert alice.restored() == {"round": 2}
            (event,) = town.ledgers["alice"].events
            assert (event["event"], event["files"]) == ("checkpoint_broken", [newest.name])

    asyncio.run(scene())


def test_the_clock_begins_at_the_common_instant_and_stands_still_at_the_end(town: Town) -> None:
    async def scene() -> None:
        began = time.monotonic() - 100.0
        alice = TcpRuntime(
            spec("alice"),
            identity_of("alice"),
            cast(Learner, None),
            Ledger(),
            Path("nowhere"),
            port=town.port,
        )
        assert alice.now() == 0.0
        await alice.start(began)
        assert 100.0 <= alice.now() <= time.monotonic() - began
        alice.stop_clock()
        stopped = alice.now()
        await alice.sleep(0.002)
        assert alice.now() == stopped
        await alice.close()

    asyncio.run(scene())


def test_an_unknown_peer_or_a_too_large_message_is_an_error_of_the_algorithm(town: Town) -> None:
    async def scene() -> None:
        async with town.node("alice", max_payload_bytes=1000) as alice:
            with pytest.raises(ValueError, match="alice has no peer 'mallory'; known: coordinator, bob"):
                await alice.send("mallory", "update", {})
            with pytest.raises(ValueError, match="send it in parts"):
                await alice.send("bob", "update", {"model": np.zeros(251, np.float32)})

    asyncio.run(scene())


def test_a_peer_that_vanishes_without_a_word_is_noticed_by_the_kernel() -> None:
    async def scene() -> None:
        with socket.create_server(("127.0.7.1", 0)) as listening:
            _, writer = await asyncio.open_connection(*listening.getsockname())
            connection.tune(writer)
            tcp = writer.get_extra_info("socket")
            assert tcp.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            for option, value in (
                (socket.TCP_NODELAY, 1),
                (socket.TCP_USER_TIMEOUT, 5000),
                (socket.TCP_KEEPIDLE, 30),
                (socket.TCP_KEEPINTVL, 5),
                (socket.TCP_KEEPCNT, 3),
            ):
                assert tcp.getsockopt(socket.IPPROTO_TCP, option) == value
            writer.close()
            await writer.wait_closed()

    asyncio.run(scene())
