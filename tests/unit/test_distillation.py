"""Distilled knowledge against closed forms, and as bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from node_image import distillation, knowledge, readout
from node_image.distillation import Prototypes, Sums
from node_image.packing import RefusedError
from node_image.readout import Matrix

INPUTS, FEATURES, CLASSES = 9, 6, 4
seeds = st.integers(0, 2**31)
Counts = NDArray[np.int64]


def opinions(seed: int, devices: int) -> list[Matrix]:
    rng = np.random.default_rng(seed)
    return [readout.softmax(rng.normal(size=(INPUTS, CLASSES)).astype(np.float32) * 2) for _ in range(devices)]


def samples(seed: int, count: int) -> tuple[Matrix, Counts]:
    rng = np.random.default_rng(seed)
    return rng.normal(1.0, 2.0, size=(count, FEATURES)).astype(np.float32), rng.integers(0, CLASSES, count)


def split(count: int, parts: int, seed: int) -> list[Counts]:
    rng = np.random.default_rng(seed)
    where = rng.integers(0, parts, count)
    return [np.flatnonzero(where == part) for part in rng.permutation(parts)]


# --- logits ---


@given(seeds, st.integers(1, 5), st.integers(1, 50))
def test_with_equal_counts_and_temperature_1_the_fused_opinion_is_the_plain_mean(seed: int, k: int, n: int) -> None:
    said = opinions(seed, k)
    fused = distillation.sharpen(distillation.fuse(said, [np.full(CLASSES, n)] * k, [1.0] * k), 1.0)
    np.testing.assert_allclose(fused, np.mean(said, axis=0), atol=1e-5)


@given(seeds, st.floats(0.1, 1))
def test_a_device_without_samples_of_a_class_has_no_say_in_that_class(seed: int, age: float) -> None:
    one, other = opinions(seed, 2)
    counts = [np.array([5, 0, 3, 2]), np.array([4, 6, 0, 2])]
    altered = one.copy()
    altered[:, 1] = 0.9
    before = distillation.fuse([one, other], counts, [1.0, age])
    after = distillation.fuse([altered, other], counts, [1.0, age])
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_opinions_weigh_by_their_counts_and_their_age() -> None:
    sure = np.array([[0.8, 0.2]], np.float32)
    unsure = np.array([[0.4, 0.6]], np.float32)
    fused = distillation.fuse([sure, unsure], [np.array([3, 1]), np.array([2, 1])], [1.0, 0.5])
    raw = np.array([(3 * 0.8 + 1 * 0.4) / 4, (1 * 0.2 + 0.5 * 0.6) / 1.5])
    np.testing.assert_allclose(fused[0], raw / raw.sum(), rtol=1e-6)


def test_where_nobody_has_samples_of_a_class_all_have_a_say() -> None:
    said = opinions(1, 3)
    fused = distillation.fuse(said, [np.zeros(CLASSES, np.int64)] * 3, [1.0] * 3)
    np.testing.assert_allclose(fused, np.mean(said, axis=0), atol=1e-6)


@given(seeds)
def test_sharpening_by_one_half_squares_the_odds(seed: int) -> None:
    (said,) = opinions(seed, 1)
    squared = said.astype(np.float64) ** 2
    np.testing.assert_allclose(
        distillation.sharpen(said, 0.5), squared / squared.sum(axis=1, keepdims=True), rtol=1e-3, atol=1e-5
    )


# --- sums ---


@given(seeds, st.integers(1, 6))
def test_ridge_from_sums_is_the_pooled_ridge_whatever_the_split_and_the_order(seed: int, parts: int) -> None:
    h, labels = samples(seed, 60)
    total = distillation.no_sums(FEATURES, CLASSES)
    for part in split(60, parts, seed):
        packed = knowledge.pack_sums(distillation.sums(h[part], labels[part], CLASSES))
        total += knowledge.unpack_sums(packed, FEATURES, CLASSES)
    assert total.samples == 60
    exact, targets = h.astype(np.float64), readout.one_hot(labels, CLASSES)
    pooled = np.linalg.solve(exact.T @ exact + 5.0 * np.eye(FEATURES), exact.T @ targets).T
    np.testing.assert_allclose(distillation.ridge(total, 5.0), pooled, atol=1e-4)


def test_sums_are_packed_without_the_half_that_symmetry_gives() -> None:
    packed = knowledge.pack_sums(distillation.sums(*samples(0, 20), CLASSES))
    assert len(packed) == 4 * (FEATURES * (FEATURES + 1) // 2 + FEATURES * CLASSES) + 4


# --- prototypes ---


@given(seeds, st.integers(1, 6))
def test_merged_prototypes_are_those_of_the_pooled_samples(seed: int, parts: int) -> None:
    h, labels = samples(seed, 50)
    of_parts = [distillation.prototypes(h[part], labels[part], CLASSES) for part in split(50, parts, seed)]
    merged, pooled = distillation.merge(of_parts), distillation.prototypes(h, labels, CLASSES)
    np.testing.assert_array_equal(merged.counts, pooled.counts)
    np.testing.assert_allclose(merged.mean, pooled.mean, atol=1e-5)
    np.testing.assert_allclose(merged.variance, pooled.variance, atol=1e-4)
    for c in np.flatnonzero(pooled.counts):
        np.testing.assert_allclose(pooled.mean[c], h[labels == c].mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(pooled.variance[c], h[labels == c].var(axis=0), atol=1e-4)


def test_pseudo_samples_have_the_prototypes_mean_and_variance_and_only_known_classes() -> None:
    h, labels = samples(3, 200)
    of = distillation.prototypes(h[labels != 2], labels[labels != 2], CLASSES)
    made, of_class = distillation.pseudo_samples(of, 30_000, np.random.default_rng(0))
    assert set(of_class.tolist()) == {0, 1, 3}
    again = distillation.prototypes(made, of_class, CLASSES)
    np.testing.assert_allclose(again.mean, of.mean, atol=0.1)
    np.testing.assert_allclose(again.variance, of.variance, rtol=0.1)


def test_there_are_no_pseudo_samples_of_nothing() -> None:
    nothing = distillation.prototypes(*samples(0, 0), CLASSES)
    with pytest.raises(ValueError, match="no class"):
        distillation.pseudo_samples(nothing, 3, np.random.default_rng(0))


# --- as bytes ---


@given(seeds, st.sampled_from([2, 4, 8, 12, 16, 32]))
def test_packed_probabilities_are_no_further_off_than_their_codes(seed: int, bits: int) -> None:
    (said,) = opinions(seed, 1)
    packed = knowledge.pack_probabilities(said, bits)
    assert len(packed) == -(-INPUTS * CLASSES * bits // 8)
    found = knowledge.unpack_probabilities(packed, said.shape, bits)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-5)
    step = 1.0 / (2 * ((1 << (bits - 1)) - 1)) if bits < 32 else 0.0
    # half a step each, and what making the row sum to 1 moves: at most as much as the row was off
    np.testing.assert_allclose(found, said, atol=(0.5 + CLASSES / 2) * step + 1e-6)


@given(seeds, st.sampled_from([4, 8, 16, 32]))
def test_packed_prototypes_keep_counts_and_lose_half_a_step(seed: int, bits: int) -> None:
    of = distillation.prototypes(*samples(seed, 40), CLASSES)
    packed = knowledge.pack_prototypes(of, bits)
    scales = 8 if bits < 32 else 0
    assert len(packed) == 2 * CLASSES * FEATURES * bits // 8 + 4 * CLASSES + scales
    found = knowledge.unpack_prototypes(packed, CLASSES, FEATURES, bits)
    np.testing.assert_array_equal(found.counts, of.counts)
    top = (1 << (bits - 1)) - 1
    np.testing.assert_allclose(found.mean, of.mean, atol=0.51 * np.abs(of.mean).max() / top)
    np.testing.assert_allclose(found.variance, of.variance, atol=0.51 * of.variance.max() / top)
    assert (found.variance >= 0).all()


BAD_FLOATS = np.full(10, np.nan, "<f4").view(np.uint8)


@pytest.mark.parametrize("packed", [np.zeros(0, np.uint8), np.zeros(7, np.uint8), np.zeros(9999, np.uint8), BAD_FLOATS])
def test_bytes_of_the_wrong_length_are_refused(packed: NDArray[np.uint8]) -> None:
    with pytest.raises(RefusedError):
        knowledge.unpack_probabilities(packed, (INPUTS, CLASSES), 8)
    with pytest.raises(RefusedError):
        knowledge.unpack_probabilities(packed, (INPUTS, CLASSES), 32)
    with pytest.raises(RefusedError):
        knowledge.unpack_sums(packed, FEATURES, CLASSES)
    with pytest.raises(RefusedError):
        knowledge.unpack_prototypes(packed, CLASSES, FEATURES, 8)


def test_numbers_that_cannot_be_are_refused() -> None:
    def reason(of: Sums | Prototypes | Matrix) -> str:
        with pytest.raises(RefusedError) as refused:
            if isinstance(of, Sums):
                knowledge.unpack_sums(knowledge.pack_sums(of), FEATURES, CLASSES)
            elif isinstance(of, Prototypes):
                knowledge.unpack_prototypes(knowledge.pack_prototypes(of, 32), CLASSES, FEATURES, 32)
            else:
                knowledge.unpack_probabilities(knowledge.pack_probabilities(of, 32), of.shape, 32)
        return refused.value.reason

    good = distillation.sums(*samples(0, 9), CLASSES)
    of = distillation.prototypes(*samples(0, 9), CLASSES)
    assert reason(Sums(9, good.gram * np.nan, good.cross)) == "not_finite"
    assert reason(Sums(9, -good.gram, good.cross)) == "wrong_field"
    assert reason(Sums(-9, good.gram, good.cross)) == "wrong_field"
    assert reason(Prototypes(of.counts - 100, of.mean, of.variance)) == "wrong_field"
    assert reason(Prototypes(of.counts, of.mean * np.float32("inf"), of.variance)) == "not_finite"
    assert reason(np.full((INPUTS, CLASSES), 1.5, np.float32)) == "not_probabilities"
    assert reason(np.full((INPUTS, CLASSES), np.nan, np.float32)) == "not_finite"


# --- losses ---
