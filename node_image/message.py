"""What is on the wire: messages to bytes and back, as pure functions.

A frame, little-endian throughout:

    0xEB  version  header length  payload length | header  zeros | tensors | MAC
      1      1           2              4        |   padded to   | payload |  16

The header is msgpack `[kind, {name: value}]`. A tensor's value there is `[dtype, *shape]`; `nil` stands for the one
float32 vector that fills whatever the other tensors leave of the payload, so that a model needs no shape. Zeros make
prefix, header and MAC together a multiple of 64 bytes: a model update costs exactly 64 + 4 P bytes. Tensors lie in
the payload by falling item size (else in the header's order), so each is aligned without padding.

The MAC (keyed BLAKE2b) covers everything before it and the frame's number in its direction, which is not sent: a frame
that is replayed, reordered or left out fails. The parser trusts nothing: it checks every claim against what is there
before it uses it, raises nothing and allocates nothing for the tensors (they are read-only views of the frame).
Numbers inside tensors may be NaN or infinite: what to do with those is the algorithm's business.
"""

import hmac
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import cast

import msgpack
import numpy as np

from node_image.runtime import Array, Body

MAGIC = 0xEB
VERSION = 1
PREFIX = struct.Struct("<BBHI")
MAC_BYTES = 16
BLOCK_BYTES = 64
MAX_HEADER_BYTES = 4096
MAX_PAYLOAD_BYTES = 64 * 2**20
MAX_DIMENSIONS = 4
MAX_FIELDS = 256
DTYPES = {code: np.dtype("<" + code) for code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1")}
NAME = re.compile(r"[a-z0-9_-]{1,64}")
TEXT = re.compile(r"[a-z0-9_-]{0,64}")


@dataclass(frozen=True)
class Reject:
    """Why a frame was refused, in one word that serves as a label; never anything out of the frame itself."""

    reason: str


@dataclass(frozen=True)
class Sizes:
    """What a frame's prefix announces, checked against the limits. `rest_bytes` follow the prefix, MAC included."""

    header_bytes: int
    payload_bytes: int
    rest_bytes: int


@dataclass(frozen=True)
class Parts:
    """A decoded frame; `frame_bytes` is its whole size. Tensors in `body` are read-only views of the frame."""

    kind: str
    body: Body
    frame_bytes: int


def encode(kind: str, body: Body, key: bytes, sequence: int) -> bytes:
    """One authenticated frame. Raises ValueError for what the limits of this module forbid."""
    frame = pack(kind, body)
    seal(frame, key, sequence)
    return bytes(frame)


def pack(kind: str, body: Body, max_payload_bytes: int = MAX_PAYLOAD_BYTES) -> bytearray:
    """A frame with room for its MAC, which `seal` fills in once connection and number are known. Copies the tensors."""
    header, arrays = _header(kind, body)
    payload_bytes = sum(array.nbytes for array in arrays)
    if payload_bytes > min(max_payload_bytes, MAX_PAYLOAD_BYTES):
        raise ValueError(
            f"cannot send {kind!r}: {payload_bytes} bytes of tensors, and a frame of this run holds "
            f"{min(max_payload_bytes, MAX_PAYLOAD_BYTES)}: send it in parts"
        )
    padding = bytes(_overhead(len(header)) - PREFIX.size - len(header) - MAC_BYTES)
    tensors = [np.ascontiguousarray(array, DTYPES[array.dtype.str[1:]]).reshape(-1).data for array in arrays]
    prefix = PREFIX.pack(MAGIC, VERSION, len(header), payload_bytes)
    return bytearray().join([prefix, header, padding, *tensors, bytes(MAC_BYTES)])


def seal(frame: bytearray, key: bytes, sequence: int) -> None:
    """Write the MAC of a packed frame in place; `sequence` is its number on this connection in this direction."""
    with memoryview(frame) as view:
        view[-MAC_BYTES:] = _mac(key, sequence, view[: PREFIX.size], view[PREFIX.size : -MAC_BYTES])


def frame_bytes(kind: str, body: Body) -> int:
    """Size of the frame that `encode` would make, without making it: what a simulation charges a link with."""
    header, arrays = _header(kind, body)
    return _overhead(len(header)) + sum(array.nbytes for array in arrays)


def parse_prefix(prefix: bytes, max_payload_bytes: int = MAX_PAYLOAD_BYTES) -> Sizes | Reject:
    """Sizes of the frame that begins with these `PREFIX.size` bytes, or why it is refused before it is read."""
    if len(prefix) != PREFIX.size:
        return Reject("length")
    magic, version, header_bytes, payload_bytes = PREFIX.unpack(prefix)
    if magic != MAGIC:
        return Reject("magic")
    if version != VERSION:
        return Reject("version")
    if header_bytes > MAX_HEADER_BYTES:
        return Reject("header_size")
    if payload_bytes > min(max_payload_bytes, MAX_PAYLOAD_BYTES):
        return Reject("payload_size")
    return Sizes(header_bytes, payload_bytes, _overhead(header_bytes) + payload_bytes - PREFIX.size)


def decode(frame: bytes, key: bytes, sequence: int, max_payload_bytes: int = MAX_PAYLOAD_BYTES) -> Parts | Reject:
    """A whole frame as message, or why it is refused."""
    return decode_rest(frame[: PREFIX.size], memoryview(frame)[PREFIX.size :], key, sequence, max_payload_bytes)


def decode_rest(
    prefix: bytes,
    rest: bytes | memoryview,
    key: bytes,
    sequence: int,
    max_payload_bytes: int = MAX_PAYLOAD_BYTES,
) -> Parts | Reject:
    """As `decode`, for a reader that has the prefix and the rest apart and will not copy to join them."""
    sizes = parse_prefix(prefix, max_payload_bytes)
    if isinstance(sizes, Reject):
        return sizes
    if len(rest) != sizes.rest_bytes:
        return Reject("length")
    view = memoryview(rest).toreadonly()
    if not hmac.compare_digest(view[-MAC_BYTES:], _mac(key, sequence, prefix, view[:-MAC_BYTES])):
        return Reject("mac")
    payload_start = sizes.rest_bytes - MAC_BYTES - sizes.payload_bytes
    if any(view[sizes.header_bytes : payload_start]):
        return Reject("padding")
    try:
        header = _unpack_header(view[: sizes.header_bytes])
        if isinstance(header, Reject):
            return header
        kind, fields = header
        tensors = _tensors(fields, view[payload_start:-MAC_BYTES])
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException):
        return Reject("header")
    if isinstance(tensors, Reject):
        return tensors
    body = cast(Body, {**fields, **tensors})  # what is not a tensor was checked to be a scalar
    return Parts(kind, body, PREFIX.size + len(rest))


def _overhead(header_bytes: int) -> int:
    """Bytes of a frame that are not tensors: prefix, padded header, MAC."""
    return -(-(PREFIX.size + header_bytes + MAC_BYTES) // BLOCK_BYTES) * BLOCK_BYTES


def _mac(key: bytes, sequence: int, prefix: bytes | memoryview, rest: memoryview) -> bytes:
    digest = blake2b(prefix, digest_size=MAC_BYTES, key=key)
    digest.update(rest)
    digest.update(sequence.to_bytes(8, "little"))
    return digest.digest()


def _header(kind: str, body: Body) -> tuple[bytes, list[Array]]:
    """The packed header, and the tensors in the order of the payload."""
    if NAME.fullmatch(kind) is None:
        raise ValueError(f"cannot send a message of kind {kind!r}: a kind is 1-64 characters of a-z 0-9 _ -")
    fields: dict[str, object] = {}
    arrays: list[Array] = []
    for name, value in body.items():
        if NAME.fullmatch(name) is None:
            raise ValueError(f"cannot send {kind!r}: field {name!r} is not 1-64 characters of a-z 0-9 _ -")
        if not isinstance(value, np.ndarray):
            if not _is_scalar(value):
                raise ValueError(
                    f"cannot send {kind!r}: field {name!r} is {value!r}; known: 64-bit int, finite float, bool, "
                    "text of at most 64 characters of a-z 0-9 _ -, numpy array"
                )
            fields[name] = value
            continue
        if value.dtype.str[1:] not in DTYPES or value.ndim > MAX_DIMENSIONS:
            raise ValueError(
                f"cannot send {kind!r}: tensor {name!r} has dtype {value.dtype} and {value.ndim} dimensions; "
                f"known: {' '.join(DTYPES)} in at most {MAX_DIMENSIONS}"
            )
        arrays.append(value)
        is_vector = value.dtype.str[1:] == "f4" and value.ndim == 1
        fields[name] = None if is_vector and None not in fields.values() else [value.dtype.str[1:], *value.shape]
    header: bytes = msgpack.packb([kind, fields])
    if len(header) > MAX_HEADER_BYTES or len(fields) > MAX_FIELDS:
        raise ValueError(
            f"cannot send {kind!r}: {len(fields)} fields in {len(header)} bytes; "
            f"a header holds {MAX_FIELDS} in {MAX_HEADER_BYTES}"
        )
    return header, sorted(arrays, key=lambda array: -array.itemsize)


def _is_scalar(value: object) -> bool:
    match value:
        case bool():
            return True
        case int():
            return -(2**63) <= value < 2**63
        case float():
            return math.isfinite(value)
        case str():
            return TEXT.fullmatch(value) is not None
    return False


def _no_extension(code: int, data: bytes) -> object:
    raise ValueError("extension types are refused")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name appears twice")
    return fields


def _unpack_header(packed: memoryview) -> tuple[str, dict[str, object]] | Reject:
    """Kind and fields, names and scalars checked; what stands for tensors is left to `_tensors`."""
    header = msgpack.unpackb(
        packed,
        ext_hook=_no_extension,
        object_pairs_hook=_unique,
        max_str_len=64,
        max_bin_len=0,
        max_array_len=1 + MAX_DIMENSIONS,
        max_map_len=MAX_FIELDS,
        max_ext_len=0,
    )
    match header:
        case [str() as kind, dict() as fields]:
            pass
        case _:
            return Reject("header")
    if NAME.fullmatch(kind) is None:
        return Reject("kind")
    for name, value in fields.items():
        if not isinstance(name, str) or NAME.fullmatch(name) is None:
            return Reject("field")
        if not (value is None or isinstance(value, list) or _is_scalar(value)):
            return Reject("field")
    return kind, fields


def _claim(descriptor: list[object]) -> tuple[np.dtype[np.generic], list[int]] | None:
    """Element type and shape that a header claims for a tensor; None where no frame could hold it."""
    match descriptor:
        case [str() as code, *sizes] if code in DTYPES:
            shape = [size for size in sizes if type(size) is int and size >= 0]
            # Empty dimensions count as one here: numpy multiplies the others, and they must not overflow.
            fits = math.prod(max(size, 1) for size in shape) * DTYPES[code].itemsize <= MAX_PAYLOAD_BYTES
            return (DTYPES[code], shape) if fits and len(shape) == len(sizes) else None
    return None


def _tensors(fields: Mapping[str, object], payload: memoryview) -> dict[str, Array] | Reject:
    """The tensors as views of the payload, which they must fill to the last byte."""
    claims: dict[str, tuple[np.dtype[np.generic], list[int]]] = {}
    for name, value in fields.items():
        if isinstance(value, list):
            claim = _claim(value)
            if claim is None:
                return Reject("tensor")
            claims[name] = claim
    left = len(payload) - sum(math.prod(shape) * dtype.itemsize for dtype, shape in claims.values())
    match [name for name, value in fields.items() if value is None]:
        case [] if left == 0:
            pass
        case [name] if left >= 0 and left % 4 == 0:
            claims[name] = (DTYPES["f4"], [left // 4])
        case _:
            return Reject("tensor")
    tensors: dict[str, Array] = {}
    offset = 0
    order = list(fields)
    for name in sorted(claims, key=lambda name: (-claims[name][0].itemsize, order.index(name))):
        dtype, shape = claims[name]
        size_bytes = math.prod(shape) * dtype.itemsize
        tensors[name] = np.frombuffer(payload[offset : offset + size_bytes], dtype).reshape(shape)
        offset += size_bytes
    return tensors
