"""How neighbours' models become one without a coordinator: mixing weights, and how fast they bring about consensus.

Pure functions. A *mixing matrix* W has a row a node: w_i <- sum_j W_ij w_j. An *adjacency* is a square matrix that is
true where two nodes speak to each other; what stands on its diagonal is ignored.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from node_image.clustering import earth_movers_distance

Vector = NDArray[np.float32]
Matrix = NDArray[np.float64]
Adjacency = NDArray[np.bool_]


def metropolis_weight(degree: int, other: int) -> float:
    """1 / (1 + max(d_i, d_j)): what neighbours of these degrees weigh for each other (Xiao, Boyd and Kim 2007)."""
    return 1.0 / (1.0 + max(degree, other))


def metropolis(adjacency: Adjacency) -> Matrix:
    """The mixing matrix of Metropolis weights: symmetric and doubly stochastic; what is left weighs a node's own."""
    linked = _linked(adjacency)
    degrees = linked.sum(axis=1)
    weights = np.where(linked, 1.0 / (1.0 + np.maximum.outer(degrees, degrees)), 0.0)
    np.fill_diagonal(weights, 1.0 - weights.sum(axis=1))
    return weights


def spectral_gap(adjacency: Adjacency) -> float:
    """1 - the second largest modulus of the eigenvalues of the Metropolis matrix.

    Each mixing step shrinks the squared distance from consensus to (1 - gap)^2 of it, or less. 0: the graph falls
    apart, and consensus never comes; 1: one step is enough, as in a full graph and for one node alone.
    """
    if len(adjacency) < 2:
        return 1.0
    moduli = np.sort(np.abs(np.linalg.eigvalsh(metropolis(adjacency))))
    return float(np.clip(1.0 - moduli[-2], 0.0, 1.0))


def cluster_gaps(adjacency: Adjacency, clusters: Sequence[int]) -> dict[int, float]:
    """The spectral gap inside each cluster: of its members and the links among them; `clusters` has one a node."""
    of = np.asarray(clusters)
    members = {int(cluster): np.flatnonzero(of == cluster) for cluster in np.unique(of)}
    return {cluster: spectral_gap(adjacency[np.ix_(inside, inside)]) for cluster, inside in members.items()}


def mean_of(vector: Vector) -> float:
    """The mean of all elements, summed in float64: what an exchange between two must not change in both together."""
    return float(vector.mean(dtype=np.float64))


def blend(own: Vector, others: Sequence[Vector], weights: Sequence[float]) -> Vector:
    """sum_j W_ij w_j, one row of a mixing matrix: what the others' weights leave of 1 weighs the own vector.

    So the row sums to 1 whoever is missing. Summed in float64, in the order given. ValueError where a weight is
    negative or the others' are more than 1 together.
    """
    left = 1.0 - sum(weights)
    if left < -1e-9 or min(weights, default=0.0) < 0.0:
        raise ValueError(f"mixing weights must be at least 0 and at most 1 together (found {list(weights)})")
    mixed = np.float64(max(0.0, left)) * own
    for other, weight in zip(others, weights, strict=True):
        mixed += np.float64(weight) * other
    return mixed.astype(np.float32)


def balanced_samples(counts: NDArray[np.int64]) -> float:
    """n (1 - 2 e)^3: what a device's samples weigh, less the more its labels are skewed; `counts` has one a class.

    e is the mean over the classes of |share - 1/C|: the earth mover's distance of the labels to uniform ones, times
    2/C, so that it stays below 1/2 and the weight above 0. At least 1, so that no device is silenced.
    """
    samples, classes = float(counts.sum()), len(counts)
    if not samples:
        return 1.0
    skew = 2.0 / classes * earth_movers_distance(counts, np.ones(classes))
    return max(1.0, samples * (1.0 - 2.0 * skew) ** 3)


def _linked(adjacency: Adjacency) -> Adjacency:
    if adjacency.ndim != 2 or not np.array_equal(adjacency, adjacency.T):
        raise ValueError(f"an adjacency is square and symmetric (found one of shape {adjacency.shape})")
    return np.asarray(adjacency, np.bool_) & ~np.eye(len(adjacency), dtype=np.bool_)
