"""Partitions: which device holds which training samples. Pure: the same arguments give the same split on every node.

The shares are disjoint, cover all samples, and give every device at least one. A share's order is the order in which
a stream delivers it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from node_image.outcomes import UnfitError
from node_image.parameters import parameter

Indices = NDArray[np.int64]
Split = tuple[Indices, ...]
ATTEMPTS = 1000


class PartitionError(UnfitError):
    """The samples cannot be split as asked; the message says what stands in the way."""


@dataclass(frozen=True)
class InOrder:
    """Nothing to set."""


@dataclass(frozen=True)
class Iid:
    """Nothing to set."""


@dataclass(frozen=True)
class Dirichlet:
    """What a scenario may set."""

    alpha: float = parameter(0.5, "concentration: small is skewed, large is even", minimum=1e-6)
    min_samples: int = parameter(10, "samples that every device gets at least", minimum=1)


@dataclass(frozen=True)
class Pathological:
    """What a scenario may set."""

    classes: int = parameter(2, "classes that a device sees", minimum=1)


@dataclass(frozen=True)
class Natural:
    """Nothing to set."""


@dataclass(frozen=True)
class QuantitySkew:
    """What a scenario may set."""

    alpha: float = parameter(0.5, "concentration: small is skewed, large is even", minimum=1e-6)


PARTITIONS: Mapping[str, type[Any]] = {
    "dirichlet": Dirichlet,
    "iid": Iid,
    "in_order": InOrder,
    "natural": Natural,
    "pathological": Pathological,
    "quantity_skew": QuantitySkew,
}


def split(params: object, labels: Indices, ids: Indices | None, devices: int, seed: int) -> Split:
    """Indices of every device's samples; `params` says which kind. PartitionError where it cannot be done."""
    if devices > len(labels):
        raise PartitionError(f"{len(labels)} training samples are too few for {devices} devices")
    rng = np.random.default_rng([seed, 3])
    match params:
        case InOrder():
            return tuple(np.array_split(np.arange(len(labels)), devices))
        case Iid():
            return tuple(np.array_split(rng.permutation(len(labels)), devices))
        case Dirichlet():
            return dirichlet(labels, devices, params.alpha, params.min_samples, rng)
        case Pathological():
            return pathological(labels, devices, params.classes, rng)
        case Natural():
            return natural(ids, devices, rng)
        case QuantitySkew():
            return quantity_skew(len(labels), devices, params.alpha, rng)
    raise TypeError(f"no partition has parameters of type {type(params).__name__}")


def dirichlet(labels: Indices, devices: int, alpha: float, min_samples: int, rng: np.random.Generator) -> Split:
    """Each class is shared out by its own draw from Dirichlet(alpha) (Yurochkin et al. 2019, arXiv 1905.12022).

    As in flwr-datasets, a device that already has its even share gets no more, and all is drawn again until every
    device has `min_samples`.
    """
    if min_samples * devices > len(labels):
        raise PartitionError(f"{len(labels)} training samples cannot give {devices} devices {min_samples} each")
    for _ in range(ATTEMPTS):
        shares = _draw_dirichlet(labels, devices, alpha, rng)
        if shares is not None and min(map(len, shares)) >= min_samples:
            return shares
    raise PartitionError(
        f"no draw of Dirichlet({alpha:g}) in {ATTEMPTS} gave all {devices} devices {min_samples} samples; "
        "raise alpha, or lower min_samples or the number of devices"
    )


def _draw_dirichlet(labels: Indices, devices: int, alpha: float, rng: np.random.Generator) -> Split | None:
    """One draw, or None where a class would go to full devices alone."""
    fair = len(labels) / devices
    shares: list[list[Indices]] = [[] for _ in range(devices)]
    held = np.zeros(devices, np.int64)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        weights = rng.dirichlet(np.full(devices, alpha)) * (held < fair)
        if not weights.sum() > 0:  # zero, or NaN: a tiny alpha underflows
            return None
        cuts = (np.cumsum(weights)[:-1] / weights.sum() * len(members)).astype(np.int64)
        for device, piece in enumerate(np.split(members, cuts)):
            shares[device].append(piece)
            held[device] += len(piece)
    return tuple(rng.permutation(np.concatenate(share)) for share in shares)


def pathological(labels: Indices, devices: int, classes: int, rng: np.random.Generator) -> Split:
    """Every device sees exactly so many classes, and the holders of a class share it evenly (McMahan et al. 2017).

    Classes are dealt from shuffled decks, so that they have equally many holders, give or take one.
    """
    kinds = np.unique(labels)
    if classes > len(kinds):
        raise PartitionError(f"a device cannot see {classes} classes of {len(kinds)}")
    if devices * classes < len(kinds):
        raise PartitionError(f"{devices} devices of {classes} classes leave some of the {len(kinds)} classes to nobody")
    holders = _deal(len(kinds), devices, classes, rng)
    shares: list[list[Indices]] = [[] for _ in range(devices)]
    for label, those in zip(kinds, holders, strict=True):
        members = rng.permutation(np.flatnonzero(labels == label))
        if len(members) < len(those):
            raise PartitionError(f"class {label} has {len(members)} samples for {len(those)} devices")
        for device, piece in zip(those, np.array_split(members, len(those)), strict=True):
            shares[device].append(piece)
    return tuple(rng.permutation(np.concatenate(share)) for share in shares)


def _deal(kinds: int, devices: int, classes: int, rng: np.random.Generator) -> list[list[int]]:
    """Holders of each class: each device takes the classes that have the fewest holders, ties by chance."""
    holders: list[list[int]] = [[] for _ in range(kinds)]
    for device in range(devices):
        tie_break = rng.random(kinds)
        by_need = sorted(range(kinds), key=lambda kind: (len(holders[kind]), tie_break[kind]))
        for kind in by_need[:classes]:
            holders[kind].append(device)
    return holders


def natural(ids: Indices | None, devices: int, rng: np.random.Generator) -> Split:
    """Every device holds the samples of its own people (or whatever the ids tell apart), dealt in turn."""
    if ids is None:
        raise PartitionError("this task does not say whom its samples come from; choose another partition")
    sources = rng.permutation(np.unique(ids))
    if devices > len(sources):
        raise PartitionError(f"the samples come from {len(sources)} sources, too few for {devices} devices")
    return tuple(rng.permutation(np.flatnonzero(np.isin(ids, sources[k::devices]))) for k in range(devices))


def quantity_skew(samples: int, devices: int, alpha: float, rng: np.random.Generator) -> Split:
    """All devices draw from the same classes, but amounts by Dirichlet(alpha); one sample each is set apart first."""
    shares = rng.dirichlet(np.full(devices, alpha))
    cuts = (np.cumsum(shares)[:-1] * (samples - devices)).astype(np.int64) + np.arange(1, devices)
    return tuple(np.split(rng.permutation(samples), cuts))
