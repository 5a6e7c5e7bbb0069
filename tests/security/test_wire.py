"""A million frames of a hostile peer: each ends in a message or in a refusal by name, and in nothing else.

How many go where: 1,000,000 to the parser, 30,000 more through a receiving connection, 20,000 more as first frame of a
handshake, and 300 over real sockets to a whole transport. `make soak` has fifty times as many for the parser.
"""

import asyncio
import random
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from node_image.connection import Connection
from node_image.handshake import Identity, RefusedError, Session, answer, greet, listening_key
from node_image.message import BLOCK_BYTES, NAME, Parts, Reject, decode, seal
from tests.security.frames import HONEST, KEY, any_frame, damaged, structured, wild
from tests.security.watch import MIB, audited, busy_at_most, resident_bytes
from tests.unit.test_tcp import Town, got, identity_of

FRAMES = 1_000_000
BATCH = 1000
BUSY_S = 1.0  # a batch takes about 0.02 s: one frame that takes a second is found
GROWTH = 8 * MIB
REASONS = {"length", "magic", "version", "header_size", "payload_size", "mac", "padding", "header", "kind", "field"}
REASONS |= {"tensor"}


def fuzz(frames: int, seed: int) -> Counter[str]:
    """Give so many frames to the parser; how many ended in which way."""
    chance = random.Random(seed)
    ends: Counter[str] = Counter()
    before = 0
    with audited() as events:
        for number in range(frames // BATCH):
            if number == 20:
                before = resident_bytes()
            batch = [any_frame(chance) for _ in range(BATCH)]
            with busy_at_most(BUSY_S):
                found = [decode(frame, KEY, 0) for frame in batch]
            for each in found:
                assert isinstance(each, Parts | Reject)
                ends["message" if isinstance(each, Parts) else each.reason] += 1
            events.discard("open")  # by resident_bytes, which is ours
    assert events <= {"open"}
    assert resident_bytes() - before < GROWTH
    return ends


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, 2])  # two halves: tests run two at a time
def test_a_million_frames_end_in_a_message_or_a_refusal_and_open_nothing(seed: int) -> None:
    ends = fuzz(FRAMES // 2, seed)
    assert ends.total() == FRAMES // 2
    assert set(ends) == REASONS | {"message"}, "every way to end is met"
    assert ends["message"] > FRAMES / 100


@pytest.mark.parametrize("make", [damaged, structured, wild])
def test_each_kind_of_frame_reaches_messages_and_refusals(make: Any) -> None:
    chance = random.Random(2)
    found = Counter(type(decode(make(chance), KEY, 0)) for _ in range(3000))
    assert found[Reject] > 100
    assert found[Parts] > (0 if make is not wild else -1)


def stream_of(sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytearray]:
    """The receiving end of a connection on which exactly this came, and what is written back."""
    reader, written = asyncio.StreamReader(), bytearray()
    reader.feed_data(sent)
    reader.feed_eof()
    nothing = SimpleNamespace(set_write_buffer_limits=lambda high: None, abort=lambda: None)
    writer = SimpleNamespace(transport=nothing, write=written.extend, is_closing=lambda: False)
    return reader, cast(asyncio.StreamWriter, writer), written


def sealed(frame: bytes, sequence: int) -> bytes:
    """The frame with the MAC that is right at this place of a connection."""
    again = bytearray(frame)
    seal(again, KEY, sequence)
    return bytes(again)


async def read_all(frames: list[bytes]) -> Counter[str]:
    """What a connection makes of frames that came one after another: nothing counts after the first refusal."""
    reader, writer, _ = stream_of(b"".join(frames))
    session = Session("alice", 1, send_key=KEY, receive_key=KEY, sent_bytes=0, received_bytes=0)
    connection = Connection(reader, writer, session)
    ends: Counter[str] = Counter()
    while True:
        try:
            found = await connection.receive(max_payload_bytes=1000)
        except EOFError:
            ends["end"] += 1
            return ends
        ends["message" if isinstance(found, Parts) else found.reason] += 1
        if isinstance(found, Reject):
            return ends


def test_thirty_thousand_frames_through_a_connection_open_nothing() -> None:
    async def scene() -> Counter[str]:
        chance = random.Random(3)
        ends: Counter[str] = Counter()
        for _ in range(10_000):
            honest = [sealed(chance.choice(HONEST), number) for number in range(2)]
            last = any_frame(chance)
            frames = [*honest, sealed(last, 2) if chance.random() < 0.7 and len(last) > BLOCK_BYTES else last]
            with busy_at_most(BUSY_S):
                ends += await read_all(frames)
        return ends

    with audited() as events:
        ends = asyncio.run(scene())
    assert not {event for event in events if event.startswith(("open", "exec", "import", "subprocess", "os.system"))}
    assert ends["message"] >= 20_000
    assert set(ends) >= {"message", "end", "mac", "header", "tensor", "payload_size"}


def test_twenty_thousand_first_frames_of_a_handshake_let_nobody_in() -> None:
    """Half of them are signed with the right key: a device of the run that turned hostile."""
    listener = Identity("bob", "run", KEY, {})
    key = listener.pair("alice").derive("hello")
    assert listening_key(KEY, "run", "bob") != key

    async def first_frame() -> bytes:
        reader, writer, written = stream_of(b"")
        with pytest.raises(EOFError):
            await greet(reader, writer, Identity("alice", "run", KEY, {"bob": listener.pair("alice").key}), "bob")
        return bytes(written)

    async def scene() -> Counter[str]:
        chance = random.Random(4)
        ends: Counter[str] = Counter()
        honest = await first_frame()
        for _ in range(20_000):
            frame = bytearray(any_frame(chance) if chance.random() < 0.5 else honest)
            if frame:
                frame[int(chance.random() * len(frame))] = chance.randrange(256)
            if len(frame) > BLOCK_BYTES and chance.random() < 0.7:
                seal(frame, key, 0)
            reader, writer, written = stream_of(bytes(frame))
            try:
                with busy_at_most(BUSY_S):
                    await answer(reader, writer, listener, ["carol", "alice"])
            except RefusedError as refused:
                assert NAME.fullmatch(refused.reason)
                ends[refused.reason] += 1
                assert not written, "a refusal is not told"
            except EOFError:
                ends["end"] += 1
        return ends

    with audited() as events:
        ends = asyncio.run(scene())
    assert not {event for event in events if event.startswith(("open", "exec", "import", "subprocess", "os.system"))}
    assert ends.total() == 20_000, "none is answered with a session: the third frame never comes"
    assert set(ends) >= {"end", "hello_mac", "hello_header", "hello_name", "hello_run", "hello_nonce", "hello_kind"}


def test_a_transport_outlives_three_hundred_hostile_connections_and_serves_its_peers(tmp_path: Path) -> None:
    """Real sockets: a third are strangers, a third break off, a third are a known device that turns to nonsense."""
    chance = random.Random(5)
    town = Town(tmp_path)

    async def stranger(number: int) -> None:
        reader, writer = await town.stranger("coordinator", f"127.0.9.{1 + number % 200}")
        writer.write(any_frame(chance) or b"x")
        if number % 2:
            writer.transport.abort()
        else:
            writer.write_eof()
            await reader.read()
            writer.close()

    async def turncoat() -> None:
        reader, writer = await town.stranger("coordinator", "127.0.9.250")
        session = await greet(reader, writer, identity_of("bob"), "coordinator")
        connection = Connection(reader, writer, session)
        with pytest.raises((EOFError, ConnectionError)):
            for _ in range(50):
                frame = bytearray(chance.choice([damaged, structured])(chance))
                if len(frame) < BLOCK_BYTES:
                    continue
                await connection.send(frame)
                await asyncio.sleep(0)
            writer.write_eof()
            await reader.readexactly(1)
        connection.close()

    async def scene() -> None:
        async with town.node("coordinator") as coordinator, town.node("alice") as alice:
            for number in range(200):
                await stranger(number)
            for _ in range(100):
                await turncoat()
            await alice.send("coordinator", "join", {"number": 1})
            while (await got(coordinator))[0].sender != "alice":
                pass
            assert all(task.get_name() for task in asyncio.all_tasks())

    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    asyncio.run(scene())
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors
    rejected = {r.labels["reason"] for r in town.ledgers["coordinator"].records if r.metric == "rejected_frames"}
    assert all(NAME.fullmatch(reason) for reason in rejected)
    assert len(rejected) > 6
    assert town.ledgers["alice"].total("reconnects") == 0
