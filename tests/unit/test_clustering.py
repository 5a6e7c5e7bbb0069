"""Distributed k-means: the sums of many devices are Lloyd's, and elected heads are sensible."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from node_image.clustering import (
    ClusterSums,
    Points,
    Seen,
    distances,
    earth_movers_distance,
    elect,
    farthest_first,
    heads,
    k_means,
    nearest,
    point_of,
    squared_error,
)


def places(seed: int, count: int = 60) -> Points:
    return np.random.default_rng(seed).uniform(0.0, 100.0, (count, 2))


@given(seed=st.integers(0, 1000), devices=st.integers(1, 12), clusters=st.integers(1, 6))
def test_sums_made_by_many_devices_give_the_centroids_of_all_points_together(
    seed: int, devices: int, clusters: int
) -> None:
    points = places(seed)
    start = farthest_first(points, clusters)
    labels = nearest(points, start)
    owner = np.random.default_rng(seed).integers(devices, size=len(points))
    total = ClusterSums(np.zeros((clusters, 2)), np.zeros(clusters, np.int64))
    for device in range(devices):  # each knows its own points and the centroids
        own = points[owner == device]
        total += ClusterSums.of(own, nearest(own, start), clusters)
    pooled = np.array([points[labels == cluster].mean(axis=0) for cluster in range(clusters)])
    np.testing.assert_allclose(total.centroids(start), pooled, rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_k_means_ends_where_lloyds_algorithm_does(seed: int) -> None:
    points = places(seed)
    start = farthest_first(points, 4)
    labels, centroids = k_means(points, start)
    lloyd = KMeans(4, init=start, n_init=1, algorithm="lloyd", tol=0.0).fit(points)
    assert np.array_equal(labels, lloyd.labels_)
    np.testing.assert_allclose(centroids, lloyd.cluster_centers_, rtol=1e-9)


@given(seed=st.integers(0, 1000), clusters=st.integers(1, 8))
def test_no_iteration_raises_the_squared_error(seed: int, clusters: int) -> None:
    points = places(seed, 30)
    centroids = points[:clusters]
    errors = []
    for _ in range(8):
        labels = nearest(points, centroids)
        errors.append(squared_error(points, labels, centroids))
        centroids = ClusterSums.of(points, labels, clusters).centroids(centroids)
        errors.append(squared_error(points, labels, centroids))
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in itertools.pairwise(errors))


def test_a_cluster_without_members_keeps_its_centroid_and_has_no_head() -> None:
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    start = np.array([[0.0, 0.0], [99.0, 99.0]])
    labels, centroids = k_means(points, start)
    assert labels.tolist() == [0, 0, 0]
    assert centroids[1].tolist() == [99.0, 99.0]
    assert heads(points, labels, centroids).tolist() == [0, -1]


def test_there_are_no_more_clusters_than_different_points() -> None:
    assert len(farthest_first(np.array([[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]]), 4)) == 2


def test_the_head_of_a_cluster_is_the_member_nearest_to_its_centroid() -> None:
    points = np.array([[0.0, 0.0], [4.0, 0.0], [5.0, 0.0], [90.0, 0.0], [91.0, 0.0]])
    labels, centroids = k_means(points, points[[0, 3]])
    assert heads(points, labels, centroids).tolist() == [1, 3]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=8))
def test_the_earth_movers_distance_is_a_metric_between_0_and_1(rows: list[tuple[int, int, int]]) -> None:
    a, b, c = (np.array([row[each] for row in rows]) + (np.arange(len(rows)) == 0) for each in range(3))
    assert earth_movers_distance(a, a) == 0.0
    assert earth_movers_distance(a, b) == earth_movers_distance(b, a)
    assert 0.0 <= earth_movers_distance(a, b) <= 1.0 + 1e-12
    assert earth_movers_distance(a, c) <= earth_movers_distance(a, b) + earth_movers_distance(b, c) + 1e-12


def test_the_earth_movers_distance_of_worked_histograms() -> None:
    assert earth_movers_distance(np.array([3, 0]), np.array([0, 7])) == 1.0
    assert earth_movers_distance(np.array([1, 1, 0, 0]), np.array([1, 1, 1, 1])) == 0.5
    with pytest.raises(ValueError, match="without samples"):
        earth_movers_distance(np.array([0, 0]), np.array([1, 1]))


def test_distances_are_metres_between_places_and_100_earth_movers_of_labels() -> None:
    counts = np.array([10, 0]), np.array([5, 5])
    for share, expected in ((0.0, 5.0), (1.0, 50.0), (0.25, 0.75 * 5.0 + 0.25 * 50.0)):
        mine, theirs = point_of((0.0, 0.0), counts[0], share), point_of((3.0, 4.0), counts[1], share)
        found = distances(np.concatenate(mine), np.concatenate(theirs)[None], len(mine[0]))
        assert found == pytest.approx([expected])


def test_a_device_without_neighbours_is_its_own_head() -> None:
    assert elect(3, -1, {}, 3, minimum=2) == 3


def test_of_neighbours_without_a_head_the_one_with_the_smallest_number_becomes_one() -> None:
    around = {number: Seen(1.0, 3, -1) for number in (2, 5, 7)}
    assert elect(1, -1, around, 1, minimum=2) == 1
    assert elect(6, -1, around, 6, minimum=2) == -1
    assert elect(6, -1, {**around, 2: Seen(1.0, 1, -1), 5: Seen(1.0, 2, -1)}, 6, minimum=2) == 6


def test_a_device_joins_the_nearest_head_in_range_and_stays_with_it() -> None:
    near = {4: Seen(9.0, 3, 4), 8: Seen(2.0, 3, 8), 9: Seen(1.0, 3, 4)}
    assert elect(1, -1, near, 1, minimum=2) == 8
    assert elect(1, 4, near, 1, minimum=2) == 4


def test_a_head_with_too_few_members_joins_another_but_of_two_such_one_stays() -> None:
    assert elect(7, 7, {3: Seen(1.0, 1, 3), 9: Seen(1.0, 3, 7)}, 7, minimum=1) == 3
    assert elect(3, 3, {7: Seen(1.0, 1, 7)}, 3, minimum=1) == 3


def test_a_head_hands_over_and_its_members_follow() -> None:
    members = {number: Seen(1.0, 4, 0) for number in (1, 2, 3)}
    assert elect(0, 0, members, 2, minimum=2) == 2
    handed_over = {0: Seen(1.0, 4, 2), 1: Seen(1.0, 4, 0), 3: Seen(1.0, 4, 0)}
    assert elect(2, 0, handed_over, 2, minimum=2) == 2
    assert elect(1, 0, {0: Seen(1.0, 4, 2), 2: Seen(1.0, 4, 0)}, 1, minimum=2) == 2


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000))
def test_in_a_dense_net_every_device_soon_follows_a_head_that_it_hears(seed: int) -> None:
    where, count = places(seed, 30), 30
    apart = np.hypot(*(where[:, None] - where[None]).transpose(2, 0, 1))
    in_range = (apart <= 60.0) & ~np.eye(count, dtype=bool)
    head, degrees = [-1] * count, in_range.sum(axis=1)
    for _ in range(12):
        now = list(head)
        for me in range(count):
            near = {int(j): Seen(apart[me, j], int(degrees[j]), now[j]) for j in np.flatnonzero(in_range[me])}
            members = [me, *(number for number, seen in near.items() if seen.head == me)]
            centre = where[members].mean(axis=0)
            successor = members[int(((where[members] - centre) ** 2).sum(axis=1).argmin())]
            head[me] = elect(me, now[me], near, successor, minimum=2)
    followed = [head[me] == me or in_range[me, head[me]] for me in range(count)]
    assert np.mean(followed) > 0.8
