"""Frames that no honest node sends: random, damaged, and rightly signed around nonsense."""

import random
from collections.abc import Callable

import msgpack
import numpy as np

from node_image.message import BLOCK_BYTES, MAC_BYTES, MAGIC, PREFIX, VERSION, encode, seal

KEY = bytes(range(32))
HONEST = [
    encode("update", {"round": 7, "samples": 123, "model": np.arange(8, dtype=np.float32)}, KEY, 0),
    encode("join", {"name": "device-3", "rate": 0.25, "fast": True}, KEY, 0),
    encode("mixed", {"a": np.ones((2, 3), np.float16), "b": np.ones(2, np.int64), "c": np.ones(3, np.float32)}, KEY, 0),
    encode("empty", {}, KEY, 0),
]
GOOD_NAMES = ["k", "a", "model", "round", "x" * 64]
BAD_NAMES = ["x" * 65, "", "A", "é", "a b", "__class__", "../x", "\x00", "a\n", 1, None, b"a", 1.5]
NUMBERS = [0, 1, -1, 4, 127, 128, 2**31, 2**32 - 1, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)]
CODES = [
    "f2",
    "f4",
    "f8",
    "i1",
    "i2",
    "i4",
    "i8",
    "u1",
    "O",
    "V8",
    "f16",
    "c8",
    "U4",
    "S1",
    "M8",
    ">f4",
    "f4,f4",
    "",
    4,
    None,
]
VALUES = [
    None,
    True,
    False,
    0.0,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    "text",
    "Text",
    "a" * 64,
    "a" * 65,
]
OTHERS = [{}, {"a": 1}, [[]], [[["f4"]]], b"", b"bytes", msgpack.ExtType(4, b"1"), msgpack.Timestamp(0)]


def signed(header: bytes, payload: bytes, chance: random.Random) -> bytes:
    """A frame around a packed header, its lengths and its MAC right."""
    overhead = -(-(PREFIX.size + len(header) + MAC_BYTES) // BLOCK_BYTES) * BLOCK_BYTES
    frame = bytearray(overhead + len(payload))
    PREFIX.pack_into(frame, 0, MAGIC, VERSION, len(header), len(payload))
    frame[PREFIX.size : PREFIX.size + len(header)] = header
    start = overhead - MAC_BYTES
    frame[start : start + len(payload)] = payload
    if chance.random() < 0.02:
        frame[chance.randrange(len(frame))] ^= 1 << chance.randrange(8)
    seal(frame, KEY, 0)
    return bytes(frame)


def _name(chance: random.Random) -> object:
    return chance.choice(GOOD_NAMES if chance.random() < 0.85 else BAD_NAMES)


def _value(chance: random.Random) -> object:
    draw = chance.random()
    if draw < 0.4:
        return [chance.choice(CODES), *chance.choices(NUMBERS, k=chance.randrange(6))]
    if draw < 0.5:
        return ["f4", chance.randrange(5)]
    if draw < 0.7:
        return chance.choice(NUMBERS)
    return chance.choice(VALUES) if draw < 0.92 else chance.choice(OTHERS)


def structured(chance: random.Random) -> bytes:
    """A signed frame whose header is put together of parts that are each right, nearly right or absurd."""
    fields = {_name(chance): _value(chance) for _ in range(chance.randrange(4))}
    kind = _name(chance)
    header: object = [kind, fields]
    if chance.random() < 0.1:
        header = chance.choice([fields, [kind], [kind, fields, fields], [fields, kind], kind, None, [[kind, fields]]])
    return signed(msgpack.packb(header), bytes(4 * chance.randrange(4)), chance)


def damaged(chance: random.Random) -> bytes:
    """An honest frame with bytes changed, cut out, doubled or cut off; most are signed again."""
    frame = bytearray(chance.choice(HONEST))
    for _ in range(1 + chance.randrange(3)):
        at = int(chance.random() * len(frame))
        draw = chance.random()
        if draw < 0.9:
            frame[at : at + 1] = bytes([chance.randrange(256)])
        elif draw < 0.94:
            del frame[at : at + 1 + chance.randrange(8)]
        elif draw < 0.98:
            frame[at:at] = frame[at : at + 1 + chance.randrange(8)]
        else:
            del frame[at:]
    if len(frame) > PREFIX.size + MAC_BYTES and chance.random() < 0.7:
        seal(frame, KEY, 0)
    return bytes(frame)


def wild(chance: random.Random) -> bytes:
    """Random bytes: bare, behind a right prefix, or as a signed header."""
    noise = chance.randbytes(chance.randrange(160))
    draw = chance.random()
    if draw < 0.3:
        return noise
    if draw < 0.6:
        return PREFIX.pack(MAGIC, VERSION, chance.randrange(128), chance.randrange(64)) + noise
    return signed(noise, b"", chance)


def any_frame(chance: random.Random) -> bytes:
    """One of all these; as often damaged as structured."""
    draw = chance.random()
    make: Callable[[random.Random], bytes] = damaged if draw < 0.45 else structured if draw < 0.9 else wild
    return make(chance)
