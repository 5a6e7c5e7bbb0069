"""Distilled knowledge as bytes: one row of uint8 a message, so that its size is exactly what the formulas say.

Counts are little-endian int32, scales and sums float32, codes as `packing` lays them out. What came from others is
checked; RefusedError says in one word what is wrong with it.

    probabilities   codes (R x C), 0 and 1 being the lowest and the highest; up, counts (C) before them
                                                                                  ceil(R C b / 8) and 4 C
    sums            samples | upper triangle of A (D (D + 1) / 2) | S (D x C)     4 (D (D + 1) / 2 + D C) + 4
    prototypes      counts (C) | 2 scales | codes of means (C x D), of variances  2 C D b / 8 + 4 C + 8
"""

import numpy as np
from numpy.typing import NDArray

from node_image.distillation import Prototypes, Sums
from node_image.packing import (
    FLOAT_BITS,
    Bytes,
    RefusedError,
    code_bytes,
    dequantise,
    pack_codes,
    quantise,
    unpack_codes,
)
from node_image.readout import Matrix
from node_image.runtime import Body

COUNT = np.dtype("<i4")
FLOAT = np.dtype("<f4")


def row_of_bytes(body: Body, name: str) -> Bytes:
    """The row of bytes of that name; RefusedError where it is missing or something else."""
    if name not in body:
        raise RefusedError("missing_field")
    value = body[name]
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim != 1:
        raise RefusedError("wrong_shape")
    return np.ascontiguousarray(value, np.uint8)


def pack_probabilities(probabilities: Matrix, bits: int) -> Bytes:
    """Probabilities in codes of so many bits; none is off by more than 1 / (4 (2^(bits-1) - 1))."""
    if bits == FLOAT_BITS:
        return probabilities.reshape(-1).astype(FLOAT).view(np.uint8)
    top = _top(bits)
    codes = np.rint(probabilities.reshape(-1) * np.float32(2 * top)).astype(np.int32) - top
    return pack_codes(codes.astype(np.int16), bits)


def unpack_probabilities(packed: Bytes, shape: tuple[int, int], bits: int) -> Matrix:
    """Inverse of `pack_probabilities` for (inputs, classes), each row made to sum to 1."""
    inputs, classes = shape
    if len(packed) != (inputs * classes * 4 if bits == FLOAT_BITS else code_bytes(inputs * classes, bits)):
        raise RefusedError("wrong_shape")
    if bits == FLOAT_BITS:
        found = _floats(packed)
    else:
        top = _top(bits)
        codes = unpack_codes(packed, bits, inputs * classes)
        found = (codes.astype(np.float32) + top) / np.float32(2 * top)
    if not ((found >= 0) & (found <= 1)).all():
        raise RefusedError("not_probabilities")
    rows = found.reshape(shape)
    total = rows.sum(axis=1, keepdims=True)
    return np.where(total > 0, rows / np.maximum(total, 1e-6), np.float32(1 / classes)).astype(np.float32)


def pack_counts(counts: NDArray[np.int64]) -> Bytes:
    """How many samples there are of each class: 4 C bytes."""
    return counts.astype(COUNT).view(np.uint8)


def unpack_counts(packed: Bytes, classes: int) -> tuple[NDArray[np.int64], Bytes]:
    """The counts at the beginning, and what follows them."""
    size = classes * COUNT.itemsize
    if len(packed) < size:
        raise RefusedError("wrong_shape")
    counts = np.frombuffer(packed[:size].tobytes(), COUNT).astype(np.int64)
    if (counts < 0).any():
        raise RefusedError("wrong_field")
    return counts, packed[size:]


def pack_sums(sums: Sums) -> Bytes:
    """Sums in float32; of A, which is symmetric, the upper triangle."""
    triangle = sums.gram[np.triu_indices(len(sums.gram))]
    floats = np.concatenate([triangle, sums.cross.reshape(-1)]).astype(FLOAT)
    return np.concatenate([np.array([sums.samples], COUNT).view(np.uint8), floats.view(np.uint8)])


def unpack_sums(packed: Bytes, features: int, classes: int) -> Sums:
    """Inverse of `pack_sums`."""
    triangle = features * (features + 1) // 2
    if len(packed) != COUNT.itemsize + FLOAT.itemsize * (triangle + features * classes):
        raise RefusedError("wrong_shape")
    samples, rest = unpack_counts(packed, 1)
    floats = _floats(rest)
    gram = np.zeros((features, features))
    gram[np.triu_indices(features)] = floats[:triangle]
    if (np.diagonal(gram) < 0).any():
        raise RefusedError("wrong_field")
    gram += np.triu(gram, 1).T
    return Sums(int(samples[0]), gram, floats[triangle:].reshape(features, classes).astype(np.float64))


def pack_prototypes(prototypes: Prototypes, bits: int) -> Bytes:
    """Counts, then means and variances, each with a scale of its own."""
    halves = [prototypes.mean.reshape(-1), prototypes.variance.reshape(-1)]
    if bits == FLOAT_BITS:
        values = np.concatenate(halves).astype(FLOAT).view(np.uint8)
    else:
        coded = [quantise(half, bits) for half in halves]
        scales = np.array([scale for _, scale in coded], FLOAT).view(np.uint8)
        values = np.concatenate([scales, pack_codes(np.concatenate([codes for codes, _ in coded]), bits)])
    return np.concatenate([pack_counts(prototypes.counts), values])


def unpack_prototypes(packed: Bytes, classes: int, features: int, bits: int) -> Prototypes:
    """Inverse of `pack_prototypes`; a variance below 0 counts as 0."""
    counts, rest = unpack_counts(packed, classes)
    size, scale_bytes = classes * features, 0 if bits == FLOAT_BITS else 2 * FLOAT.itemsize
    if len(rest) != scale_bytes + code_bytes(2 * size, bits):
        raise RefusedError("wrong_shape")
    if bits == FLOAT_BITS:
        values = _floats(rest)
    else:
        scales, codes = _floats(rest[:scale_bytes]), unpack_codes(rest[scale_bytes:], bits, 2 * size)
        with np.errstate(over="ignore"):  # what overflows is refused below
            values = np.concatenate([dequantise(codes[:size], scales[0]), dequantise(codes[size:], scales[1])])
        if not np.isfinite(values).all():
            raise RefusedError("not_finite")
    mean, variance = values.reshape(2, classes, features)
    return Prototypes(counts, mean, np.maximum(variance, np.float32(0)))


def _top(bits: int) -> int:
    return (1 << (bits - 1)) - 1


def _floats(packed: Bytes) -> NDArray[np.float32]:
    if len(packed) % FLOAT.itemsize:
        raise RefusedError("wrong_shape")
    found = np.frombuffer(packed.tobytes(), FLOAT).astype(np.float32)
    if not np.isfinite(found).all():
        raise RefusedError("not_finite")
    return found
