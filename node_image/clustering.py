"""Distributed k-means: which devices belong together. Pure functions over points (n, dimensions) in float64.

Exact mode is Lloyd's algorithm, whose every iteration falls apart into sums that devices can make of their own:
assign each point to its nearest centroid (`nearest`), sum up each cluster (`ClusterSums.of`), add the sums of all
(`+`), divide (`centroids`). One-hop mode elects heads from what a device hears of its neighbours alone (`elect`).

A point is a device's place (metres), its labels (shares of each class), or both, one after the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Labels = NDArray[np.int64]
Histogram = NDArray[np.int64] | NDArray[np.float64]  # samples (or their share) of each class
LABELS_M = 100.0  # metres that labels with nothing in common count as: the side of the paper's field
MOST_ITERATIONS = 100


@dataclass(frozen=True)
class ClusterSums:
    """Sum (clusters, dimensions) and number (clusters,) of the points in each cluster."""

    sums: Points
    counts: Labels

    @staticmethod
    def of(points: Points, labels: Labels, clusters: int) -> "ClusterSums":
        """Those of these points."""
        sums = np.zeros((clusters, points.shape[1]))
        np.add.at(sums, labels, points)
        return ClusterSums(sums, np.bincount(labels, minlength=clusters))

    def __add__(self, other: "ClusterSums") -> "ClusterSums":
        return ClusterSums(self.sums + other.sums, self.counts + other.counts)

    def centroids(self, before: Points) -> Points:
        """The mean of each cluster; a cluster without members keeps the centroid it had before."""
        has_members = self.counts > 0
        means = self.sums / np.maximum(self.counts, 1)[:, None]
        return np.where(has_members[:, None], means, before)


def nearest(points: Points, centroids: Points) -> Labels:
    """The nearest centroid of each point; of equally near ones, the first."""
    return np.asarray(_squared(points, centroids).argmin(axis=1), np.int64)


def squared_error(points: Points, labels: Labels, centroids: Points) -> float:
    """Sum of the squared distances of all points from their centroids: no iteration of k-means raises it."""
    return float(((points - centroids[labels]) ** 2).sum())


def farthest_first(points: Points, clusters: int) -> Points:
    """Centroids to start from: the first point, then each time the point farthest from those chosen.

    Fewer where there are fewer different points. No chance is in it: devices that know the same points start alike.
    """
    chosen = [0]
    distance = _squared(points, points[:1])[:, 0]
    while len(chosen) < clusters and distance.max() > 0.0:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, _squared(points, points[chosen[-1:]])[:, 0])
    return points[chosen]


def k_means(points: Points, start: Points) -> tuple[Labels, Points]:
    """Labels and centroids once no point changes its cluster any more (or after a hundred iterations)."""
    centroids, labels = start, nearest(points, start)
    for _ in range(MOST_ITERATIONS):
        centroids = ClusterSums.of(points, labels, len(start)).centroids(centroids)
        moved = nearest(points, centroids)
        if np.array_equal(moved, labels):
            break
        labels = moved
    return labels, centroids


def heads(points: Points, labels: Labels, centroids: Points) -> Labels:
    """For each cluster the row of its member nearest to the centroid; -1 for a cluster without members."""
    distance = _squared(points, centroids)
    distance[labels[:, None] != np.arange(len(centroids))] = np.inf
    return np.where(np.isfinite(distance.min(axis=0)), distance.argmin(axis=0), -1)


def earth_movers_distance(a: Histogram, b: Histogram) -> float:
    """Share of the samples that must change their class to turn one histogram of labels into the other (0-1).

    Both are scaled to sum 1; all classes are equally far from each other. ValueError where one has no samples.
    """
    if not (a.sum() > 0 and b.sum() > 0):
        raise ValueError("a histogram without samples has no distance to another")
    return float(0.5 * np.abs(a / a.sum() - b / b.sum()).sum())


def point_of(place_m: tuple[float, float] | None, counts: Labels | None, share: float) -> tuple[Points, Points]:
    """The two halves of a device's point: (1 - share) x its place, and share x its labels (50 x the share of each).

    A half that is None, or weighs nothing, is empty. The sum of absolute differences of two devices' labels, so
    scaled, is 100 x their earth mover's distance.
    """
    place = np.empty(0) if place_m is None or share == 1.0 else (1.0 - share) * np.array(place_m, np.float64)
    if counts is None or share == 0.0:
        return place, np.empty(0)
    return place, np.asarray(share * 0.5 * LABELS_M * counts / max(1.0, float(counts.sum())), np.float64)


def distances(point: Points, others: Points, places: int) -> NDArray[np.float64]:
    """How far other points (n, dimensions) are: metres between places, plus 100 x earth mover's distance of labels.

    The first `places` coordinates (2 or 0) are the place, as `point_of` has weighed it, the others the labels.
    """
    apart = others - point
    return np.asarray(np.sqrt((apart[:, :places] ** 2).sum(axis=1)) + np.abs(apart[:, places:]).sum(axis=1))


@dataclass(frozen=True)
class Seen:
    """What a device hears of a neighbour: how far it is, how many it hears, and the head it follows.

    A head follows itself; -1: it follows none yet.
    """

    distance: float
    neighbours: int
    head: int


def elect(me: int, head: int, near: Mapping[int, Seen], successor: int, minimum: int) -> int:
    """The head (by its device number; -1: none) that device `me`, who followed `head`, follows from now on.

    `successor` is the member that a head would hand over to: the nearest to its cluster's centroid, or `me`. A head
    with `minimum` neighbours or members or fewer resigns where it hears another; of two such, the one with the larger
    number. Others follow the nearest head they hear. Where there is none, a device with more than `minimum` neighbours
    becomes one, unless a smaller number could at the same time; any other joins its nearest neighbour's cluster.
    """
    if not near:
        return me
    nearest_first = sorted(near, key=lambda number: (near[number].distance, number))
    in_range = [number for number in nearest_first if near[number].head == number]
    if head == me:
        if min(len(near), sum(seen.head == me for seen in near.values())) > minimum:
            return successor
        return next((number for number in in_range if number < me), me)
    if head in near and near[head].head == me:  # my head hands over to me
        return me
    if head in near and near[head].head in near:  # it is still a head, or hands over to one that I hear as well
        return near[head].head
    if in_range:
        return in_range[0]
    could_too = [number for number, seen in near.items() if seen.head == -1 and seen.neighbours > minimum]
    if len(near) > minimum and me < min(could_too, default=me + 1):
        return me
    return near[nearest_first[0]].head


def _squared(points: Points, centroids: Points) -> Points:
    return np.asarray(((points[:, None, :] - centroids[None, :, :]) ** 2).sum(axis=2))
