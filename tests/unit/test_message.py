"""Frames: what goes in comes out, sizes are exact, and nothing that a peer may send does harm."""

import random
import tracemalloc
from typing import Any

import hypothesis.extra.numpy as arrays
import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_image.message import (
    BLOCK_BYTES,
    MAC_BYTES,
    MAX_PAYLOAD_BYTES,
    PREFIX,
    Parts,
    Reject,
    decode,
    encode,
    frame_bytes,
    pack,
    parse_prefix,
    seal,
)
from node_image.runtime import Body

KEY = bytes(range(32))
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=64)
scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text("abcdefghijklmnopqrstuvwxyz0123456789_-", max_size=64),
)
tensors = arrays.arrays(
    dtype=st.sampled_from(["<f4", ">f4", "<f2", "<f8", "i1", "<i2", "<i4", "<i8", "u1"]),
    shape=arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
)


def update(parameters: int, round_number: int = 7, samples: int = 123) -> Body:
    return {"round": round_number, "samples": samples, "model": np.arange(parameters, dtype=np.float32)}


def forged(header: object, payload: bytes = b"", key: bytes = KEY) -> bytes:
    """A well-formed, rightly signed frame around any header."""
    packed = header if isinstance(header, bytes) else msgpack.packb(header)
    overhead = -(-(PREFIX.size + len(packed) + MAC_BYTES) // BLOCK_BYTES) * BLOCK_BYTES
    padding = bytes(overhead - PREFIX.size - len(packed) - MAC_BYTES)
    frame = bytearray(PREFIX.pack(0xEB, 1, len(packed), len(payload)) + packed + padding + payload + bytes(MAC_BYTES))
    seal(frame, key, 0)
    return bytes(frame)


@given(kind=names, body=st.dictionaries(names, st.one_of(scalars, tensors), max_size=6), sequence=st.integers(0, 2**40))
def test_a_message_survives_the_wire(kind: str, body: dict[str, Any], sequence: int) -> None:
    frame = encode(kind, body, KEY, sequence)
    parts = decode(frame, KEY, sequence)
    assert isinstance(parts, Parts)
    assert (parts.kind, parts.frame_bytes, list(parts.body)) == (kind, len(frame), list(body))
    assert frame_bytes(kind, body) == len(frame)
    for name, sent in body.items():
        got = parts.body[name]
        if isinstance(sent, np.ndarray):
            assert isinstance(got, np.ndarray)
            assert got.dtype == sent.dtype.newbyteorder("<")
            np.testing.assert_array_equal(got, sent)
        else:
            assert got == sent
            assert type(got) is type(sent)


@pytest.mark.parametrize("parameters", [0, 1, 2_410, 10_000_000])
@pytest.mark.parametrize("largest", [1, 2**32 - 1])
def test_a_model_update_costs_64_bytes_and_4_a_parameter(parameters: int, largest: int) -> None:
    assert frame_bytes("update", update(parameters, largest, largest)) == 64 + 4 * parameters


def test_a_frame_of_many_fields_costs_whole_blocks() -> None:
    body = {f"field_{n}": n for n in range(20)}
    assert len(encode("report", body, KEY, 0)) % 64 == 0


def test_tensors_are_read_only_views_that_lie_aligned() -> None:
    body: Body = {"a": np.ones(3, np.int8), "b": np.ones(5, np.float64), "c": np.ones(7, np.float32)}
    parts = decode(encode("mixed", body, KEY, 0), KEY, 0)
    assert isinstance(parts, Parts)
    for tensor in parts.body.values():
        assert isinstance(tensor, np.ndarray)
        assert tensor.flags.aligned
        assert not tensor.flags.writeable
        assert not tensor.flags.owndata


def test_non_finite_tensors_pass_because_the_algorithm_counts_them() -> None:
    parts = decode(encode("update", {"model": np.array([np.nan, np.inf], np.float32)}, KEY, 0), KEY, 0)
    assert isinstance(parts, Parts)
    assert not np.isfinite(np.asarray(parts.body["model"])).any()


def test_a_packed_frame_holds_a_copy_of_the_tensors() -> None:
    model = np.zeros(4, np.float32)
    frame = pack("update", {"model": model})
    model[:] = 1
    seal(frame, KEY, 0)
    parts = decode(bytes(frame), KEY, 0)
    assert isinstance(parts, Parts)
    np.testing.assert_array_equal(parts.body["model"], np.zeros(4, np.float32))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("Update", {}),
        ("", {}),
        ("update", {"Round": 1}),
        ("update", {"round": float("nan")}),
        ("update", {"round": float("inf")}),
        ("update", {"round": 2**63}),
        ("update", {"name": "Käse"}),
        ("update", {"name": "x" * 65}),
        ("update", {"nested": {"a": 1}}),
        ("update", {"nothing": None}),
        ("update", {"text": np.array(["a"])}),
        ("update", {"complex": np.zeros(2, np.complex64)}),
        ("update", {"deep": np.zeros((1, 1, 1, 1, 1), np.float32)}),
        ("update", {f"a_long_field_name_{n}": n for n in range(250)}),
        ("update", {"huge": np.zeros(MAX_PAYLOAD_BYTES + 1, np.int8)}),
    ],
)
def test_what_a_peer_would_refuse_is_not_sent(kind: str, body: Any) -> None:
    with pytest.raises(ValueError, match=r"cannot send"):
        encode(kind, body, KEY, 0)


def test_a_replayed_reordered_or_foreign_frame_fails() -> None:
    frame = encode("update", update(3), KEY, 5)
    assert isinstance(decode(frame, KEY, 5), Parts)
    assert decode(frame, KEY, 6) == Reject("mac")
    assert decode(frame, bytes(32), 5) == Reject("mac")


@pytest.mark.parametrize(
    ("prefix", "reason"),
    [
        (b"", "length"),
        (PREFIX.pack(0x45, 1, 10, 0), "magic"),
        (PREFIX.pack(0xEB, 2, 10, 0), "version"),
        (PREFIX.pack(0xEB, 1, 4097, 0), "header_size"),
        (PREFIX.pack(0xEB, 1, 10, 2**32 - 1), "payload_size"),
        (PREFIX.pack(0xEB, 1, 10, 1001), "payload_size"),
    ],
)
def test_a_frame_is_refused_by_its_prefix_before_it_is_read(prefix: bytes, reason: str) -> None:
    assert parse_prefix(prefix, max_payload_bytes=1000) == Reject(reason)


@pytest.mark.parametrize(
    ("header", "payload", "reason"),
    [
        (b"", b"", "header"),
        (b"\xc1", b"", "header"),
        (b"\x91" * 3000, b"", "header"),
        (b"\xdd\xff\xff\xff\xff", b"", "header"),
        (b"\x92\xa1k\x82\xa1a\x01\xa1a\x02", b"", "header"),  # the same name twice
        (b"\x92\xa1k\x81\xa1a\xd4\x01\x00", b"", "header"),  # an extension type
        (b"\x92\xa1k\x81\xa1a\xd6\xff\x00\x00\x00\x00", b"", "header"),  # msgpack's own timestamp
        (b"\x92\xa1k\x81\xa1a\xc4\x01x", b"", "header"),  # binary
        (b"\x92\xa1k\x81\xa1a\xa1\xff", b"", "header"),  # not UTF-8
        (["k", {}, {}], b"", "header"),
        ({"kind": "k"}, b"", "header"),
        (["k", {}, 1], b"", "header"),
        ([1, {}], b"", "header"),
        (["K", {}], b"", "kind"),
        (["k", {1: 1}], b"", "header"),
        (["k", {"A": 1}], b"", "field"),
        (["k", {"a": float("nan")}], b"", "field"),
        (["k", {"a": float("inf")}], b"", "field"),
        (["k", {"a": 2**64 - 1}], b"", "field"),
        (["k", {"a": "NO"}], b"", "field"),
        (["k", {"a": {"b": 1}}], b"", "field"),
        (["k", {}], b"1234", "tensor"),  # a payload that nothing claims
        (["k", {"a": None}], b"123", "tensor"),
        (["k", {"a": None, "b": None}], b"1234", "tensor"),
        (["k", {"a": ["f4", 2]}], b"1234", "tensor"),
        (["k", {"a": ["f4", 2], "b": None}], b"1234", "tensor"),
        (["k", {"a": ["O", 1]}], b"12345678", "tensor"),
        (["k", {"a": ["f4", -1]}], b"1234", "tensor"),
        (["k", {"a": ["f4", True]}], b"1234", "tensor"),
        (["k", {"a": ["f4", 1.0]}], b"1234", "tensor"),
        (["k", {"a": []}], b"", "tensor"),
        (["k", {"a": ["f4", 2**62, 2**62]}], b"1234", "tensor"),
        (["k", {"a": ["f4", 0, 2**62, 2**62]}], b"", "tensor"),
        (["k", {"a": ["f4", 2**63, 2]}], b"", "tensor"),
        (["k", {"a": ["i1", 1, 1, 1, 1, 1]}], b"1", "header"),
    ],
)
def test_a_signed_frame_that_claims_too_much_is_refused(header: object, payload: bytes, reason: str) -> None:
    assert decode(forged(header, payload), KEY, 0) == Reject(reason)


def test_bytes_hidden_in_the_padding_are_refused() -> None:
    frame = bytearray(encode("k", {}, KEY, 0))
    frame[40] = 1
    seal(frame, KEY, 0)
    assert decode(bytes(frame), KEY, 0) == Reject("padding")


@given(st.binary(max_size=300))
def test_any_bytes_end_in_a_refusal(data: bytes) -> None:
    assert isinstance(decode(data, KEY, 0), Reject)


@given(header=st.binary(max_size=200), payload=st.binary(max_size=64))
def test_any_signed_header_ends_in_a_refusal_or_a_message(header: bytes, payload: bytes) -> None:
    assert isinstance(decode(forged(header, payload), KEY, 0), Reject | Parts)


def mutated(frame: bytes, chance: random.Random) -> bytes:
    """The frame with some bytes flipped, cut out, doubled or cut off; half of them signed again."""
    data = bytearray(frame)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) or 1)
        match chance.randrange(4):
            case 0 if data:
                data[at] = chance.randrange(256)
            case 1:
                del data[at : at + chance.randint(1, 8)]
            case 2:
                data[at:at] = data[at : at + chance.randint(1, 8)]
            case 3:
                del data[at:]
    if chance.random() < 0.5 and len(data) > PREFIX.size + MAC_BYTES:
        seal(data, KEY, 0)
    return bytes(data)


def test_twenty_thousand_mutated_frames_end_in_a_refusal_or_a_message_and_leave_no_memory_behind() -> None:
    chance = random.Random(1)
    frames = [
        encode("update", update(8), KEY, 0),
        encode("join", {"name": "device-3", "rate": 0.25, "fast": True}, KEY, 0),
        encode("mixed", {"a": np.ones((2, 3), np.float16), "b": np.ones(2, np.int64), "c": np.ones(3, "f4")}, KEY, 0),
    ]
    outcomes = {Parts: 0, Reject: 0}
    tracemalloc.start()
    before_bytes = 0
    for number in range(20_000):
        if number == 2_000:
            before_bytes, _ = tracemalloc.get_traced_memory()
        outcomes[type(decode(mutated(chance.choice(frames), chance), KEY, 0))] += 1
    after_bytes, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(outcomes.values()) == 20_000
    assert outcomes[Parts] > 100  # else the mutations never get past the MAC
    assert after_bytes - before_bytes < 100_000
    assert peak_bytes < 1_000_000
