"""Means, mixing and staleness against their closed forms."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from node_image.aggregate import CumulativeMean, constant, hinge, mix, polynomial, weighted_mean

Vector = NDArray[np.float32]

values = st.floats(-1e3, 1e3, width=32)
vectors = st.lists(st.lists(values, min_size=4, max_size=4), min_size=1, max_size=8)


def arrays(rows: list[list[float]]) -> list[Vector]:
    return [np.array(row, np.float32) for row in rows]


@given(vectors)
def test_the_mean_of_equal_weights_is_the_plain_mean(rows: list[list[float]]) -> None:
    mean = weighted_mean(arrays(rows), [3] * len(rows))
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, np.mean(rows, axis=0), rtol=1e-6, atol=1e-6)


@given(vectors, st.data())
def test_the_cumulative_mean_equals_the_batch_mean_bit_for_bit(rows: list[list[float]], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(1, 10_000), min_size=len(rows), max_size=len(rows)))
    cumulative = CumulativeMean()
    for vector, weight in zip(arrays(rows), weights, strict=True):
        cumulative.add(vector, weight)
    np.testing.assert_array_equal(cumulative.mean(), weighted_mean(arrays(rows), weights))


@given(st.lists(values, min_size=4, max_size=4), st.integers(1, 9))
def test_a_mean_of_equal_vectors_is_that_vector(row: list[float], times: int) -> None:
    vector = np.array(row, np.float32)
    mean = weighted_mean([vector] * times, list(range(1, times + 1)))
    np.testing.assert_allclose(mean, vector, rtol=1e-6, atol=2**-40)  # to a multiple of which it is rounded


@given(
    st.lists(
        st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
        min_size=2,
        max_size=9,
    ),
    st.data(),
)
def test_the_order_of_the_vectors_changes_no_bit(rows: list[list[float]], data: st.DataObject) -> None:
    some_weights = st.one_of(st.integers(1, 10**6), st.floats(1e-9, 100))
    weights = data.draw(st.lists(some_weights, min_size=len(rows), max_size=len(rows)))
    order = data.draw(st.permutations(range(len(rows))))
    with np.errstate(over="ignore"):  # a mean of the largest floats, rounded up
        mean = weighted_mean(arrays(rows), weights)
        other = weighted_mean([arrays(rows)[place] for place in order], [weights[place] for place in order])
    assert mean.tobytes() == other.tobytes()


def test_what_cancels_leaves_the_rest() -> None:
    """In float64, (1e17 + 1) - 1e17 is 0."""
    mean = weighted_mean(arrays([[1e17], [1.0], [-1e17], [1.0]]), [10, 10, 10, 10])
    assert mean.tolist() == [0.5]


def test_a_mean_of_integers_is_exact_in_a_million_terms() -> None:
    mean = CumulativeMean()
    for _ in range(1000):
        mean.add(np.array([3.0, -1.0, 0.25], np.float32), 1000)
    assert mean.mean().tolist() == [3.0, -1.0, 0.25]


@given(st.floats(1e-9, 1e9), st.lists(values, min_size=4, max_size=4))
def test_however_small_its_weight_a_vector_alone_is_its_own_mean(weight: float, row: list[float]) -> None:
    np.testing.assert_allclose(weighted_mean(arrays([row]), [weight]), arrays([row])[0], rtol=1e-7, atol=2**-40)


def test_a_mean_can_be_had_once() -> None:
    mean = CumulativeMean()
    mean.add(np.ones((2, 3), np.float32), 1)
    assert mean.mean().tolist() == [[1.0] * 3] * 2
    with pytest.raises(ValueError, match="no vector"):
        mean.mean()


def peak_bytes(vectors: int, elements: int) -> int:
    """Memory taken while so many vectors, one after the other, become a mean, beyond the vector that has just come."""
    vector = np.random.default_rng(0).normal(size=elements).astype(np.float32)
    tracemalloc.start()
    try:
        mean = CumulativeMean()
        for _ in range(vectors):
            mean.add(vector, 150)
        mean.mean()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_memory_of_a_mean_does_not_grow_with_the_number_of_vectors() -> None:
    elements = 250_000
    few, many = peak_bytes(2, elements), peak_bytes(60, elements)
    assert many < 1.01 * few
    assert many < 1.1 * 8 * elements, "the sums in 64 bits, whose place the mean takes"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_vector_that_is_not_finite_is_refused_and_leaves_the_mean_as_it_was(value: float) -> None:
    mean = CumulativeMean()
    mean.add(np.ones(2, np.float32), 1)
    with pytest.raises(ValueError, match="finite"):
        mean.add(np.array([1.0, value], np.float32), 1)
    assert mean.mean().tolist() == [1.0, 1.0]


def test_adding_a_vector_leaves_it_as_it_was() -> None:
    vector = np.ones(3, np.float32)
    weighted_mean([vector, 5 * vector], [1, 1])
    np.testing.assert_array_equal(vector, np.ones(3))


def test_a_mean_of_nothing_and_a_weight_of_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="no vector"):
        weighted_mean([], [])
    with pytest.raises(ValueError, match="must be positive"):
        weighted_mean([np.ones(2, np.float32)], [0])


def test_mixing_keeps_the_model_at_zero_and_replaces_it_at_one() -> None:
    model, update = np.array([1.0, 2.0], np.float32), np.array([5.0, -2.0], np.float32)
    np.testing.assert_array_equal(mix(model, update, 0.0), model)
    np.testing.assert_array_equal(mix(model, update, 1.0), update)
    assert mix(model, update, 0.25).dtype == np.float32


@given(vectors, st.data())
def test_repeated_mixing_is_the_closed_form(rows: list[list[float]], data: st.DataObject) -> None:
    """G_T = prod(1 - a_i) G_0 + sum_i a_i prod_{j > i}(1 - a_j) u_i."""
    alphas = data.draw(st.lists(st.floats(0, 1), min_size=len(rows), max_size=len(rows)))
    start = np.arange(4, dtype=np.float32)
    model = start
    for update, alpha in zip(arrays(rows), alphas, strict=True):
        model = mix(model, update, alpha)
    expected = float(np.prod([1 - a for a in alphas])) * start.astype(np.float64)
    for i, update in enumerate(arrays(rows)):
        expected += alphas[i] * float(np.prod([1 - a for a in alphas[i + 1 :]])) * update
    np.testing.assert_allclose(model, expected, rtol=1e-5, atol=1e-3)


@given(st.floats(0.01, 20), st.floats(0, 20), st.lists(st.integers(0, 1000), min_size=2))
def test_staleness_functions_start_at_one_and_never_rise(a: float, b: float, ages: list[int]) -> None:
    ages.sort()
    for weights in (
        [constant(age) for age in ages],
        [hinge(age, a, b) for age in ages],
        [polynomial(age, a) for age in ages],
    ):
        assert weights == sorted(weights, reverse=True)
        assert all(0 <= weight <= 1 for weight in weights)
    assert constant(0) == hinge(0, a, b) == polynomial(0, a) == 1.0


def test_staleness_functions_have_the_published_values() -> None:
    assert hinge(4, 10, 4) == 1.0
    assert hinge(5, 10, 4) == pytest.approx(1 / 11)
    assert hinge(4.0001, 10, 4) == pytest.approx(1.0, abs=2e-3)
    assert polynomial(3, 0.5) == pytest.approx(0.5)
    assert polynomial(3, 2.0) == pytest.approx(1 / 16)
