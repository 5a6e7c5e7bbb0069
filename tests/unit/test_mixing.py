"""Mixing weights and consensus: closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_image.aggregate import CumulativeMean
from node_image.mixing import (
    Adjacency,
    balanced_samples,
    blend,
    cluster_gaps,
    metropolis,
    metropolis_weight,
    spectral_gap,
)
from tests.unit.peers import full, ring


@st.composite
def graphs(draw: st.DrawFn) -> Adjacency:
    count = draw(st.integers(1, 12))
    upper = np.triu(np.array(draw(st.lists(st.booleans(), min_size=count**2, max_size=count**2))).reshape(count, -1), 1)
    return np.asarray(upper | upper.T, np.bool_)


@given(graphs())
def test_metropolis_weights_are_symmetric_and_doubly_stochastic(adjacency: Adjacency) -> None:
    weights = metropolis(adjacency)
    assert np.array_equal(weights, weights.T)
    assert weights.min() >= 0.0
    np.testing.assert_allclose(weights.sum(axis=0), 1.0, rtol=1e-12)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-12)
    degrees = adjacency.sum(axis=1)
    for i, j in np.argwhere(adjacency):
        assert weights[i, j] == metropolis_weight(int(degrees[i]), int(degrees[j]))


@given(graphs(), st.integers(0, 100))
def test_a_mixing_step_keeps_the_mean_and_contracts_the_squared_error_by_the_gap(
    adjacency: Adjacency, seed: int
) -> None:
    weights, gap = metropolis(adjacency), spectral_gap(adjacency)
    w = np.random.default_rng(seed).normal(size=(len(adjacency), 3))
    mixed = weights @ w
    np.testing.assert_allclose(mixed.mean(axis=0), w.mean(axis=0), atol=1e-12)
    before, after = (((each - each.mean(axis=0)) ** 2).sum() for each in (w, mixed))
    assert after <= (1.0 - gap) ** 2 * before + 1e-9


def test_spectral_gaps_that_can_be_worked_out() -> None:
    assert spectral_gap(full(5)) == pytest.approx(1.0)
    assert spectral_gap(np.zeros((1, 1), np.bool_)) == 1.0
    assert spectral_gap(np.zeros((3, 3), np.bool_)) == 0.0
    of_ring = max(abs(1 / 3 + 2 / 3 * np.cos(2 * np.pi * k / 8)) for k in range(1, 8))
    assert spectral_gap(ring(8)) == pytest.approx(1.0 - of_ring)


def test_the_gap_inside_clusters_counts_their_own_links_alone() -> None:
    two_triangles = np.kron(np.eye(2, dtype=np.bool_), full(3))
    two_triangles[2, 3] = two_triangles[3, 2] = True
    gaps = cluster_gaps(two_triangles, [7, 7, 7, 9, 9, 9])
    assert gaps == pytest.approx({7: 1.0, 9: 1.0})
    assert spectral_gap(two_triangles) < 0.3


def test_a_graph_that_is_not_symmetric_is_refused() -> None:
    with pytest.raises(ValueError, match="symmetric"):
        metropolis(np.array([[False, True], [False, False]]))


@given(st.integers(0, 100), st.integers(1, 6))
def test_row_stochastic_mixing_comes_to_the_perron_vectors_mean(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    hears = rng.random((count, count)) < 0.5
    hears |= np.roll(np.eye(count, dtype=np.bool_), 1, axis=1)  # a ring in one direction: all reach all
    np.fill_diagonal(hears, False)
    models = list(rng.normal(size=(count, 2)).astype(np.float32))
    first = np.array(models, np.float64)
    q = (hears | np.eye(count, dtype=np.bool_)) / (1.0 + hears.sum(axis=1, keepdims=True))
    values, left = np.linalg.eig(q.T)
    pi = np.real(left[:, np.argmax(np.real(values))])
    pi /= pi.sum()
    for _ in range(400):
        models = [
            blend(models[i], [models[j] for j in np.flatnonzero(hears[i])], [q[i, j] for j in np.flatnonzero(hears[i])])
            for i in range(count)
        ]
    np.testing.assert_allclose(models, np.tile(pi @ first, (count, 1)), atol=2e-5)


def test_equal_models_are_a_fixed_point_whoever_is_missing() -> None:
    model = np.array([1.1, -3.7, 0.3], np.float32)
    assert np.array_equal(blend(model, [model] * 3, [1 / 4] * 3), model)
    assert np.array_equal(blend(model, [model], [1 / 4]), model)
    assert np.array_equal(blend(model, [], []), model)


def test_mixing_weights_beyond_1_are_refused() -> None:
    model = np.zeros(2, np.float32)
    with pytest.raises(ValueError, match="at most 1 together"):
        blend(model, [model, model], [0.6, 0.6])
    with pytest.raises(ValueError, match="at least 0"):
        blend(model, [model], [-0.1])


def test_pairwise_gossip_keeps_the_sample_weighted_sum_of_the_pair() -> None:
    (a, samples_a), (b, samples_b) = (np.array([1.0, 5.0], np.float32), 30), (np.array([3.0, -2.0], np.float32), 10)
    found = []
    for own, partner in (((a, samples_a), (b, samples_b)), ((b, samples_b), (a, samples_a))):
        mean = CumulativeMean()
        mean.add(*own)
        mean.add(*partner)
        found.append(mean.mean())
    assert np.array_equal(found[0], found[1])
    np.testing.assert_allclose(samples_a * found[0] + samples_b * found[1], samples_a * a + samples_b * b, rtol=1e-6)


def test_samples_weigh_less_the_more_their_labels_are_skewed() -> None:
    assert balanced_samples(np.array([5, 5, 5, 5])) == pytest.approx(20.0)
    one_of_ten = np.array([100, *[0] * 9])
    assert balanced_samples(one_of_ten) == pytest.approx(100 * (1 - 2 * 0.18) ** 3)
    assert balanced_samples(np.array([50, 0])) == 1.0, "one class of two: the formula gives 0"
    assert balanced_samples(np.array([0, 0])) == 1.0


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20))
def test_balanced_samples_are_between_1_and_all(counts: list[int]) -> None:
    assert 1.0 <= balanced_samples(np.array(counts)) <= max(1.0, sum(counts) * (1 + 1e-9))
