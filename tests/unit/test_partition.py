"""Every partition deals all samples to all devices, once; each with its own shape."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_image.data import partition
from node_image.data.partition import Indices, PartitionError, Split, split

SAMPLES, CLASSES = 600, 6
LABELS: Indices = np.random.default_rng(7).integers(CLASSES, size=SAMPLES)
IDS: Indices = np.random.default_rng(8).integers(12, size=SAMPLES) + 100

kinds = st.one_of(
    st.just(partition.Iid()),
    st.just(partition.InOrder()),
    st.just(partition.Natural()),
    st.builds(partition.Dirichlet, alpha=st.floats(0.3, 100), min_samples=st.integers(1, 5)),
    st.builds(partition.Pathological, classes=st.integers(2, CLASSES)),
    st.builds(partition.QuantitySkew, alpha=st.floats(0.01, 100)),
)


def dealt(params: object, devices: int, seed: int = 0) -> Split:
    return split(params, LABELS, IDS, devices, seed)


def shares_of_classes(shares: Split) -> list[int]:
    return [len(np.unique(LABELS[share])) for share in shares]


@settings(deadline=None)
@given(kinds, st.integers(3, 12), st.integers(0, 2**32))
def test_shares_are_disjoint_cover_everything_and_are_never_empty(params: object, devices: int, seed: int) -> None:
    shares = dealt(params, devices, seed)
    assert len(shares) == devices
    assert all(len(share) > 0 for share in shares)
    np.testing.assert_array_equal(np.sort(np.concatenate(shares)), np.arange(SAMPLES))


@settings(deadline=None, max_examples=30)
@given(kinds, st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_split(params: object, seed: int) -> None:
    for one, other in zip(dealt(params, 5, seed), dealt(params, 5, seed), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("params", [partition.Iid(), partition.Dirichlet(), partition.QuantitySkew()])
def test_another_seed_gives_another_split(params: object) -> None:
    assert any(not np.array_equal(a, b) for a, b in zip(dealt(params, 5, 0), dealt(params, 5, 1), strict=True))


def test_iid_shares_are_equally_large_and_see_every_class() -> None:
    shares = dealt(partition.Iid(), 7)
    assert {len(share) for share in shares} == {85, 86}
    assert set(shares_of_classes(shares)) == {CLASSES}


def test_in_order_deals_consecutive_pieces() -> None:
    np.testing.assert_array_equal(np.concatenate(dealt(partition.InOrder(), 7)), np.arange(SAMPLES))


def test_a_small_dirichlet_alpha_skews_classes_and_a_large_one_does_not() -> None:
    def largest_class_share(alpha: float) -> float:
        shares = dealt(partition.Dirichlet(alpha=alpha, min_samples=1), 5)
        return float(np.mean([np.bincount(LABELS[share]).max() / len(share) for share in shares]))

    assert largest_class_share(0.1) > 0.4
    assert largest_class_share(1000.0) < 0.25


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(0, 2**32))
def test_dirichlet_gives_every_device_its_minimum(min_samples: int, seed: int) -> None:
    shares = dealt(partition.Dirichlet(alpha=0.5, min_samples=min_samples), 8, seed)
    assert min(len(share) for share in shares) >= min_samples


@settings(deadline=None)
@given(st.integers(1, CLASSES), st.integers(6, 20), st.integers(0, 2**32))
def test_pathological_devices_see_exactly_so_many_classes(classes: int, devices: int, seed: int) -> None:
    shares = dealt(partition.Pathological(classes=classes), devices, seed)
    assert set(shares_of_classes(shares)) == {classes}


def test_natural_shares_keep_people_together() -> None:
    shares = dealt(partition.Natural(), 5)
    people = [set(IDS[share].tolist()) for share in shares]
    assert sum(len(each) for each in people) == len(set().union(*people)) == 12


def test_quantity_skew_gives_amounts_that_differ_and_classes_that_do_not() -> None:
    shares = dealt(partition.QuantitySkew(alpha=0.3), 4, seed=3)
    sizes = sorted(len(share) for share in shares)
    assert sizes[-1] > 3 * sizes[0]
    assert len(np.unique(LABELS[max(shares, key=len)])) == CLASSES


@pytest.mark.parametrize(
    ("params", "ids", "devices", "says"),
    [
        (partition.Iid(), None, SAMPLES + 1, "too few for 601 devices"),
        (partition.Dirichlet(min_samples=100), None, 10, "cannot give 10 devices 100 each"),
        (partition.Dirichlet(alpha=1e-5, min_samples=50), None, 8, "raise alpha"),
        (partition.Natural(), None, 3, "whom its samples come from"),
        (partition.Natural(), IDS, 13, "12 sources, too few for 13"),
        (partition.Pathological(classes=CLASSES + 1), None, 3, "cannot see 7 classes of 6"),
        (partition.Pathological(classes=1), None, 3, "to nobody"),
    ],
)
def test_what_cannot_be_split_says_why(params: object, ids: Indices | None, devices: int, says: str) -> None:
    with pytest.raises(PartitionError, match=says):
        split(params, LABELS, ids, devices, 0)
