"""Means, mixing and staleness against their closed forms."""

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
    np.testing.assert_allclose(weighted_mean([vector] * times, list(range(1, times + 1))), vector, rtol=1e-6)


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
