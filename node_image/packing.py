"""Models and updates as they travel: whole or in part, in 32 bits or fewer. Pure functions, both ends use the same.

A body has one of three fields; its name says what it holds, so that a receiver needs no agreement on the width. The
names are short so that a message with a few numbers beside keeps to 64 bytes of overhead.

    model   the whole flat float32 vector
    q<b>    the whole vector in codes of b bits: one float32 scale a part | codes, the first in the highest bits
    p<b>    what some neurons trained: one bit a neuron | values (b = 32), or scales and codes as above

A *neuron* is one output channel: a row of every tensor of its layer (of the weight, and the bias with it). The head
has none, it always travels. With b < 32 a model travels as its weights, and the device takes the *dequantised* weights
as what it begins with; an update travels as its difference to them. Whoever adds it to the model as it was before it
was packed loses nothing of that model to rounding. (Added to the weights as they arrived, updates smaller than half a
step of the codes would be lost for ever: on digits, FedAvg in 4 bits came to 76 % instead of 95 %.)

What came from others is checked; RefusedError says in one word what is wrong with it.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from node_image.network import Part
from node_image.runtime import Body

Vector = NDArray[np.float32]
Codes = NDArray[np.int16]
Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]

FLOAT_BITS = 32
MIN_BITS, MAX_BITS = 2, 16
SCALE_BYTES = 4
CHUNK = 1 << 16  # codes unpacked into single bits at a time; a multiple of 8
FIELD = re.compile(r"([pq])(\d{1,2})")


class RefusedError(ValueError):
    """A message that cannot be used; `reason` is one word, a label of `discarded_updates`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def quantise(x: Vector, bits: int) -> tuple[Codes, np.float32]:
    """Codes and scale s = max|x| / (2^(bits-1) - 1), code = round(x / s): no element is off by more than s / 2.

    `bits` from 2 to 16. ValueError where a number is not finite: it has no code.
    """
    top = _top(bits)
    largest = float(np.max(np.abs(x), initial=0.0))
    if not np.isfinite(largest):
        raise ValueError("cannot quantise numbers that are not finite")
    scale = np.float32(largest / top)
    if scale == 0.0:  # all are zero, or too small for float32 to divide
        return np.zeros(x.shape, np.int16), np.float32(0.0)
    codes = np.rint(x / np.float64(scale))
    return np.clip(codes, -top, top, out=codes).astype(np.int16), scale


def dequantise(codes: Codes, scale: np.float32) -> Vector:
    """code * s in float32: the same bits on every machine."""
    return codes * np.float32(scale)


def pack_codes(codes: Codes, bits: int) -> Bytes:
    """Codes of `bits` bits as a row of ceil(n bits / 8) bytes, high bits first; spare bits of the last are 0."""
    unsigned = codes.astype(np.int32) + _top(bits)  # 0 .. 2 top
    if bits == 8:
        return unsigned.astype(np.uint8)
    if bits == 16:
        return unsigned.astype(">u2").view(np.uint8)
    packed = [
        np.packbits(np.unpackbits(chunk.astype(">u2").view(np.uint8)).reshape(-1, 16)[:, 16 - bits :])
        for chunk in np.split(unsigned, range(CHUNK, len(unsigned), CHUNK))
    ]
    return np.concatenate(packed)


def unpack_codes(packed: Bytes, bits: int, count: int) -> Codes:
    """Inverse of `pack_codes`; ValueError where `packed` is not as long as `count` codes are."""
    if len(packed) != code_bytes(count, bits):
        raise ValueError(f"{count} codes of {bits} bits fill {code_bytes(count, bits)} bytes (found {len(packed)})")
    unsigned = np.empty(count, np.int32)
    if bits == 8:
        unsigned[:] = packed
    elif bits == 16:
        unsigned[:] = np.ascontiguousarray(packed).view(">u2")
    else:
        for start in range(0, count, CHUNK):
            end = min(start + CHUNK, count)
            chunk = np.unpackbits(packed[start * bits // 8 : code_bytes(end, bits)], count=(end - start) * bits)
            padded = np.pad(chunk.reshape(-1, bits), ((0, 0), (16 - bits, 0)))
            unsigned[start:end] = np.packbits(padded).view(">u2")
    return np.clip(unsigned - _top(bits), -_top(bits), _top(bits)).astype(np.int16)


def code_bytes(count: int, bits: int) -> int:
    """ceil(count * bits / 8)."""
    return -(-count * bits // 8)


def pack_model(weights: Vector, parts: Sequence[Part], bits: int = FLOAT_BITS) -> Body:
    """A whole model as the field of a message: ceil(P bits / 8) + 4 a part bytes for 2 to 16 bits, 4 P for more."""
    if bits > MAX_BITS:
        return {"model": weights}
    return {f"q{bits}": _quantised(weights, [(part.start, part.end) for part in parts], bits)}


def unpack_model(body: Body, parts: Sequence[Part]) -> Vector:
    """The model of a body, as `pack_model` made it; RefusedError where there is none or it is not of these parts."""
    return _unpack(body, None, parts)


def pack_update(
    start: Vector, weights: Vector, parts: Sequence[Part], bits: int = FLOAT_BITS, trained: Mask | None = None
) -> Body:
    """What training from `start` to `weights` has to say; `trained` marks the weights that it was allowed to move.

    With a mask: ceil(neurons / 8) bytes, and 4 for each weight of a neuron that trained and of the head. In 2 to 16
    bits the difference travels, in more the weights themselves.
    """
    if trained is None and bits > MAX_BITS:
        return {"model": weights}
    if trained is None:
        return pack_model(weights - start, parts, bits)
    neuron_of, neurons = _neurons(tuple(parts))
    chosen = np.zeros(neurons, np.bool_)
    chosen[neuron_of[trained & (neuron_of >= 0)]] = True
    sent = _sent(chosen, neuron_of)
    if bits > MAX_BITS:
        return {f"p{FLOAT_BITS}": np.concatenate([np.packbits(chosen), weights[sent].view(np.uint8)])}
    codes = _quantised((weights - start)[sent], _spans(sent, parts), bits)
    return {f"p{bits}": np.concatenate([np.packbits(chosen), codes])}


def unpack_update(body: Body, base: Vector, parts: Sequence[Part]) -> Vector:
    """The weights after training, given those before it; weights that were not sent are those of `base`.

    RefusedError where the body holds no update of these parts.
    """
    return _unpack(body, base, parts)


def vector(body: Body, name: str, size: int) -> Vector:
    """The float32 vector of that name and size; RefusedError where it is missing, of another shape, or not finite."""
    if name not in body:
        raise RefusedError("missing_field")
    value = body[name]
    if not isinstance(value, np.ndarray) or value.dtype != np.float32 or value.shape != (size,):
        raise RefusedError("wrong_shape")
    if not np.isfinite(value).all():
        raise RefusedError("not_finite")
    return value.astype(np.float32, copy=False)


def _unpack(body: Body, base: Vector | None, parts: Sequence[Part]) -> Vector:
    size = parts[-1].end
    if "model" in body:
        return vector(body, "model", size)
    for name, packed in body.items():
        form = FIELD.fullmatch(name)
        if form is None:
            continue
        if not isinstance(packed, np.ndarray) or packed.dtype != np.uint8 or packed.ndim != 1:
            raise RefusedError("wrong_shape")
        bits = int(form[2])
        if not (MIN_BITS <= bits <= MAX_BITS or (bits == FLOAT_BITS and form[1] == "p")):
            raise RefusedError("wrong_field")
        held = packed.astype(np.uint8, copy=False)  # for mypy: an array of some type became one of bytes
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
            found = _whole(held, bits, base, parts) if form[1] == "q" else _partial(held, bits, base, parts)
        if not np.isfinite(found).all():
            raise RefusedError("not_finite")
        return found
    raise RefusedError("missing_field")


def _whole(packed: Bytes, bits: int, base: Vector | None, parts: Sequence[Part]) -> Vector:
    values = _dequantised(packed, [(part.start, part.end) for part in parts], bits)
    return values if base is None else base + values


def _partial(packed: Bytes, bits: int, base: Vector | None, parts: Sequence[Part]) -> Vector:
    if base is None:
        raise RefusedError("wrong_field")
    neuron_of, neurons = _neurons(tuple(parts))
    mask_bytes = -(-neurons // 8)
    bit_of = np.unpackbits(packed[:mask_bytes])
    if len(packed) < mask_bytes or bit_of[neurons:].any():
        raise RefusedError("wrong_mask")
    sent = _sent(bit_of[:neurons].astype(np.bool_), neuron_of)
    weights = base.copy()
    if bits == FLOAT_BITS:
        if len(packed) - mask_bytes != np.count_nonzero(sent) * 4:
            raise RefusedError("wrong_shape")
        weights[sent] = np.frombuffer(packed[mask_bytes:].tobytes(), "<f4")
    else:
        weights[sent] += _dequantised(packed[mask_bytes:], _spans(sent, parts), bits)
    return weights


def _top(bits: int) -> int:
    """The largest code."""
    if not MIN_BITS <= bits <= MAX_BITS:
        raise ValueError(f"codes have {MIN_BITS} to {MAX_BITS} bits (found {bits})")
    return (1 << (bits - 1)) - 1


def _quantised(values: Vector, spans: Sequence[tuple[int, int]], bits: int) -> Bytes:
    """Scales of the spans, then codes of all values."""
    coded = [quantise(values[start:end], bits) for start, end in spans]
    scales = np.array([scale for _, scale in coded], "<f4")
    codes = np.concatenate([codes for codes, _ in coded]) if coded else np.empty(0, np.int16)
    return np.concatenate([scales.view(np.uint8), pack_codes(codes, bits)])


def _dequantised(packed: Bytes, spans: Sequence[tuple[int, int]], bits: int) -> Vector:
    scale_bytes, count = SCALE_BYTES * len(spans), spans[-1][1] if spans else 0
    if len(packed) != scale_bytes + code_bytes(count, bits):
        raise RefusedError("wrong_shape")
    scales = np.frombuffer(packed[:scale_bytes].tobytes(), "<f4").astype(np.float32)
    codes = unpack_codes(packed[scale_bytes:], bits, count)
    values = np.empty(count, np.float32)
    for (start, end), scale in zip(spans, scales, strict=True):
        values[start:end] = dequantise(codes[start:end], scale)
    return values


@lru_cache(maxsize=8)
def _neurons(parts: tuple[Part, ...]) -> tuple[NDArray[np.int32], int]:
    """The neuron to which each weight belongs (-1: the head), and how many there are.

    The tensors of one layer share the name up to the last dot and the number of rows.
    """
    neuron_of = np.full(parts[-1].end, -1, np.int32)
    first: dict[tuple[str, int], int] = {}
    neurons = 0
    for part in parts:
        if part.child == parts[-1].child:
            continue
        rows = part.shape[0] if part.shape else 1
        layer = (part.name.rpartition(".")[0], rows)
        if layer not in first:
            first[layer] = neurons
            neurons += rows
        numbers = np.arange(first[layer], first[layer] + rows, dtype=np.int32)
        neuron_of[part.start : part.end] = np.repeat(numbers, (part.end - part.start) // rows)
    return neuron_of, neurons


def _sent(chosen: Mask, neuron_of: NDArray[np.int32]) -> Mask:
    """The weights that travel: those of the chosen neurons, and the head's (-1, the last of what is looked up in)."""
    travels: Mask = np.append(chosen, np.True_)[neuron_of]
    return travels


def _spans(sent: Mask, parts: Sequence[Part]) -> list[tuple[int, int]]:
    """Where the weights of each part lie among those that travel; parts of which none does are left out."""
    ends = np.cumsum([np.count_nonzero(sent[part.start : part.end]) for part in parts])
    pairs = zip([0, *ends.tolist()[:-1]], ends.tolist(), strict=True)
    return [(start, end) for start, end in pairs if end > start]
