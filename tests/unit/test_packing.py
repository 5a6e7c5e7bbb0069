"""Models and updates in fewer bits or fewer neurons: error bounds, exact sizes, one reference for both ends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from node_image.message import frame_bytes
from node_image.network import Part
from node_image.packing import (
    MAX_BITS,
    MIN_BITS,
    RefusedError,
    code_bytes,
    dequantise,
    pack_codes,
    pack_model,
    pack_update,
    quantise,
    unpack_codes,
    unpack_model,
    unpack_update,
)
from node_image.runtime import Array, Body

Vector = NDArray[np.float32]

bits_of_codes = st.integers(MIN_BITS, MAX_BITS)
finite = st.floats(-1e6, 1e6, width=32)


def parts_of(*shapes: tuple[str, int, tuple[int, ...]]) -> tuple[Part, ...]:
    """Parts one after the other, from (name, child, shape)."""
    parts, start = [], 0
    for name, child, shape in shapes:
        end = start + int(np.prod(shape))
        parts.append(Part(name, start, end, shape, child))
        start = end
    return tuple(parts)


# A convolution of 5 channels with bias, a normalisation, one of 4 channels without, and the head.
PARTS = parts_of(
    ("0.conv.weight", 0, (5, 2, 3, 3)),
    ("0.conv.bias", 0, (5,)),
    ("0.norm.weight", 0, (5,)),
    ("1.conv.weight", 1, (4, 5, 1, 1)),
    ("2.weight", 2, (3, 4)),
    ("2.bias", 2, (3,)),
)
SIZE = PARTS[-1].end
NEURONS = 5 + 5 + 4
HEAD = 3 * 4 + 3
STEEP = np.array([100, 1, 0.01, 1, 10, 0], np.float32)  # sizes of the parts' weights


def random(seed: int, scale: float = 1.0) -> Vector:
    return (scale * np.random.default_rng(seed).normal(size=SIZE)).astype(np.float32)


def tensor(body: Body) -> Array:
    """The only field of a body."""
    (value,) = body.values()
    assert isinstance(value, np.ndarray)
    return value


def in_neurons(*, conv0: tuple[int, ...] = (), conv1: tuple[int, ...] = (), head: bool = True) -> NDArray[np.bool_]:
    """The mask of the weights of these channels."""
    mask = np.zeros(SIZE, np.bool_)
    for channel in conv0:
        mask[18 * channel : 18 * (channel + 1)] = True
        mask[90 + channel] = True
    for channel in conv1:
        mask[100 + 5 * channel : 100 + 5 * (channel + 1)] = True
    mask[-HEAD:] = head
    return mask


# --- the quantiser ---


@given(st.lists(finite, min_size=1, max_size=30), bits_of_codes)
def test_no_number_is_off_by_more_than_half_a_scale(numbers: list[float], bits: int) -> None:
    x = np.array(numbers, np.float32)
    codes, scale = quantise(x, bits)
    assert np.abs(codes).max() <= 2 ** (bits - 1) - 1
    rounding = np.abs(x).max() * 2.0**-23  # of code * s itself, in float32
    assert np.abs(dequantise(codes, scale).astype(np.float64) - x).max() <= scale / 2 + rounding + 1e-40


def test_the_largest_number_has_the_largest_code() -> None:
    codes, scale = quantise(np.array([-12.7, 0.04, 0.06, 6.4], np.float32), 8)
    assert codes.tolist() == [-127, 0, 1, 64]
    assert scale == pytest.approx(0.1)


def test_zeros_and_numbers_too_small_to_divide_become_zero() -> None:
    for x in (np.zeros(4, np.float32), np.full(4, 1e-45, np.float32), np.empty(0, np.float32)):
        codes, scale = quantise(x, 8)
        assert scale == 0.0
        assert not codes.any()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_cannot_be_quantised(value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        quantise(np.array([1.0, value], np.float32), 8)


@pytest.mark.parametrize("bits", [0, 1, 17, 32])
def test_a_width_that_no_code_has_is_an_error(bits: int) -> None:
    with pytest.raises(ValueError, match="2 to 16 bits"):
        quantise(np.ones(3, np.float32), bits)


@given(bits_of_codes, st.data())
def test_codes_survive_packing_and_fill_exactly_their_bytes(bits: int, data: st.DataObject) -> None:
    top = 2 ** (bits - 1) - 1
    codes = np.array(data.draw(st.lists(st.integers(-top, top), max_size=70)), np.int16)
    packed = pack_codes(codes, bits)
    assert packed.dtype == np.uint8
    assert len(packed) == -(-len(codes) * bits // 8)
    assert unpack_codes(packed, bits, len(codes)).tolist() == codes.tolist()


@pytest.mark.parametrize("bits", [2, 3, 7, 11, 12, 15])
def test_more_codes_than_are_unpacked_at_a_time_survive_packing(bits: int) -> None:
    top = 2 ** (bits - 1) - 1
    codes = np.random.default_rng(0).integers(-top, top, 200_003, endpoint=True).astype(np.int16)
    np.testing.assert_array_equal(unpack_codes(pack_codes(codes, bits), bits, len(codes)), codes)


def test_too_few_or_too_many_bytes_are_no_codes() -> None:
    with pytest.raises(ValueError, match="10 codes of 3 bits fill 4 bytes"):
        unpack_codes(np.zeros(5, np.uint8), 3, 10)


# --- whole models and updates ---


def test_in_32_bits_a_model_is_the_vector_itself() -> None:
    weights = random(1)
    assert tensor(pack_model(weights, PARTS)) is weights
    assert tensor(pack_update(random(2), weights, PARTS)) is weights
    np.testing.assert_array_equal(unpack_model({"model": weights, "round": 3}, PARTS), weights)


@given(bits_of_codes)
def test_a_model_in_few_bits_is_off_by_half_the_scale_of_its_part(bits: int) -> None:
    weights = random(1) * np.repeat(STEEP, [part.end - part.start for part in PARTS])
    found = unpack_model(pack_model(weights, PARTS, bits), PARTS)
    for part in PARTS:
        largest = np.abs(weights[part.start : part.end]).max()
        off = np.abs(found - weights)[part.start : part.end].max()
        assert off <= largest / (2 ** (bits - 1) - 1) / 2 * 1.01


@given(st.integers(0, 1000), bits_of_codes)
def test_both_ends_hold_the_same_reference_bit_for_bit(seed: int, bits: int) -> None:
    body = pack_model(random(seed), PARTS, bits)  # what the coordinator sends ...
    kept, reference = unpack_model(body, PARTS), unpack_model(body, PARTS)  # ... and both take it as
    assert kept.tobytes() == reference.tobytes()
    trained = reference + random(seed + 1, 0.01)
    update = pack_update(reference, trained, PARTS, bits)
    assert unpack_update(update, kept, PARTS).tobytes() == unpack_update(update, reference, PARTS).tobytes()


def test_a_small_update_in_8_bits_is_off_by_little_because_its_difference_travels() -> None:
    start = random(1)
    trained = start + random(2, 1e-3)
    found = unpack_update(pack_update(start, trained, PARTS, 8), start, PARTS)
    assert np.abs(found - trained).max() < 1e-3 * 4 / 127


def test_a_quantised_message_costs_its_codes_and_one_scale_a_part() -> None:
    head: Body = {"round": 1, "n": 150}
    for bits in (4, 8, 16):
        expected = 64 + code_bytes(SIZE, bits) + 4 * len(PARTS)
        assert frame_bytes("model", {"round": 1, **pack_model(random(1), PARTS, bits)}) == expected
        assert frame_bytes("update", {**head, **pack_update(random(1), random(2), PARTS, bits)}) == expected
    assert frame_bytes("update", {**head, **pack_update(random(1), random(2), PARTS)}) == 64 + 4 * SIZE


def test_a_message_of_a_large_model_late_in_a_long_run_keeps_to_64_bytes_of_overhead() -> None:
    large = parts_of(("0.weight", 0, (100, 100)), ("1.weight", 1, (300, 200)))
    weights = np.ones(70_000, np.float32)
    for body in (pack_model(weights, large, 8), pack_update(weights, weights, large, 8)):
        assert frame_bytes("update", {"round": 60_000, "n": 60_000, **body}) == 64 + 70_000 + 8


# --- updates of some neurons ---

SOME = [
    in_neurons(conv0=(1, 3), conv1=(0,)),
    in_neurons(conv0=(0, 1, 2, 3, 4)),
    in_neurons(),
    in_neurons(head=False, conv1=(3,)),
]


def trained_where(mask: NDArray[np.bool_]) -> tuple[Vector, Vector]:
    start = random(1)
    return start, start + np.where(mask, random(2, 0.1), np.float32(0))


@pytest.mark.parametrize("mask", SOME)
def test_an_update_of_some_neurons_gives_the_trained_weights_bit_for_bit(mask: NDArray[np.bool_]) -> None:
    start, trained = trained_where(mask)
    found = unpack_update(pack_update(start, trained, PARTS, trained=mask), start, PARTS)
    assert found.tobytes() == trained.tobytes()


@pytest.mark.parametrize("mask", SOME)
def test_what_was_not_sent_stays_as_the_receiver_has_it(mask: NDArray[np.bool_]) -> None:
    start, trained = trained_where(mask)
    other = random(9)
    for bits in (8, 32):
        found = unpack_update(pack_update(start, trained, PARTS, bits, mask), other, PARTS)
        frozen = ~mask
        frozen[-HEAD:] = False
        frozen[95:100] = True  # the normalisation trained nowhere
        np.testing.assert_array_equal(found[frozen], other[frozen])


def test_an_update_of_some_neurons_costs_their_weights_the_head_and_a_bit_a_neuron() -> None:
    channels = [19 * 2, 5 * 1]  # weights and bias of two channels; weights of one
    mask = in_neurons(conv0=(1, 3), conv1=(0,))
    body: Body = {"round": 1, "n": 150, **pack_update(*trained_where(mask), PARTS, trained=mask)}
    assert frame_bytes("update", body) == 64 + 4 * sum(channels) + 4 * HEAD + -(-NEURONS // 8)


def test_an_update_of_some_neurons_in_few_bits_costs_codes_and_the_scales_of_what_it_holds() -> None:
    mask = in_neurons(conv1=(0, 2))
    start, trained = trained_where(mask)
    body = pack_update(start, trained, PARTS, 8, mask)
    assert len(tensor(body)) == -(-NEURONS // 8) + 4 * 3 + (10 + HEAD)  # scales of 1.conv.weight and the head's two
    assert np.abs(unpack_update(body, start, PARTS) - trained).max() < 0.1 * 4 / 127


# --- what others send may be garbage ---


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "missing_field"),
        ({"round": 1}, "missing_field"),
        ({"model": 3}, "wrong_shape"),
        ({"model": np.ones(SIZE + 1, np.float32)}, "wrong_shape"),
        ({"model": np.ones(SIZE, np.float64)}, "wrong_shape"),
        ({"model": np.full(SIZE, np.nan, np.float32)}, "not_finite"),
        ({"q8": 3}, "wrong_shape"),
        ({"q8": np.ones(SIZE, np.uint8)}, "wrong_shape"),
        ({"q8": np.ones((SIZE + 24, 1), np.uint8)}, "wrong_shape"),
        ({"q8": np.full(SIZE + 24, 255, np.uint8)}, "not_finite"),
        ({"q32": np.ones(4 * SIZE, np.uint8)}, "wrong_field"),
        ({"q1": np.ones(SIZE, np.uint8)}, "wrong_field"),
        ({"p32": np.zeros(0, np.uint8)}, "wrong_mask"),
        ({"p32": np.array([0, 255] + [0] * 4 * HEAD, np.uint8)}, "wrong_mask"),
        ({"p32": np.array([0, 0] + [0] * 4, np.uint8)}, "wrong_shape"),
        ({"p32": np.array([0, 0] + [255] * 4 * HEAD, np.uint8)}, "not_finite"),
        ({"p8": np.array([0, 0] + [1] * HEAD, np.uint8)}, "wrong_shape"),
        ({"p20": np.zeros(9, np.uint8)}, "wrong_field"),
    ],
)
def test_a_body_that_is_no_update_is_refused_with_its_reason(body: Body, reason: str) -> None:
    with pytest.raises(RefusedError) as refused:
        unpack_update(body, random(1), PARTS)
    assert refused.value.reason == reason


def test_a_model_cannot_come_in_part() -> None:
    mask = in_neurons(conv0=(1,))
    with pytest.raises(RefusedError, match="wrong_field"):
        unpack_model(pack_update(*trained_where(mask), PARTS, trained=mask), PARTS)


@given(st.sampled_from(["q8", "q3", "p32", "p8", "p2"]), st.binary(max_size=900))
def test_any_bytes_give_finite_weights_or_a_reason(name: str, data: bytes) -> None:
    try:
        found = unpack_update({name: np.frombuffer(data, np.uint8)}, random(1), PARTS)
    except RefusedError as refused:
        assert refused.reason in ("wrong_mask", "wrong_shape", "not_finite")
    else:
        assert np.isfinite(found).all()
