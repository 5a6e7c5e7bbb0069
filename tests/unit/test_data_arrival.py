"""Arrival: a device's samples in another order, all of them, the same for the same seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_image.data.arrival import ARRIVALS, RUN_SAMPLES, arrange
from node_image.data.partition import Indices

LABELS: Indices = np.random.default_rng(3).integers(6, size=900)
SHARE: Indices = np.random.default_rng(4).permutation(900)[:600]


def lengths_of_runs(labels: Indices) -> Indices:
    ends = np.flatnonzero(np.diff(labels, append=-1))
    return np.diff(ends, prepend=-1)


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(ARRIVALS), st.integers(0, 900), st.integers(0, 2**32), st.integers(0, 50))
def test_every_order_has_the_same_samples_and_comes_again(kind: str, size: int, seed: int, index: int) -> None:
    share = SHARE[:size]
    order = arrange(share, LABELS, kind, seed, index)
    np.testing.assert_array_equal(np.sort(order), np.sort(share))
    np.testing.assert_array_equal(order, arrange(share, LABELS, kind, seed, index))
    for label in range(6):  # those of one class keep their order
        np.testing.assert_array_equal(order[LABELS[order] == label], share[LABELS[share] == label])


def test_as_split_leaves_the_order_alone() -> None:
    np.testing.assert_array_equal(arrange(SHARE, LABELS, "as_split", 0, 0), SHARE)


def test_by_class_finishes_a_class_before_the_next_in_one_order_for_all_devices() -> None:
    def order_of_classes(share: Indices, seed: int, index: int) -> list[int]:
        labels = LABELS[arrange(share, LABELS, "by_class", seed, index)]
        assert len(lengths_of_runs(labels)) == len(np.unique(labels))
        return [int(each) for each in labels[np.append(True, np.diff(labels) != 0)]]

    whole = order_of_classes(SHARE, 0, 0)
    assert sorted(whole) == list(range(6))
    few = SHARE[np.isin(LABELS[SHARE], (1, 4, 5))]
    assert order_of_classes(few, 0, 7) == [each for each in whole if each in (1, 4, 5)]
    assert any(order_of_classes(SHARE, seed, 0) != whole for seed in range(1, 4))


def test_runs_are_of_one_class_about_ten_long_and_differ_between_devices() -> None:
    order = arrange(SHARE, LABELS, "runs", 0, 0)
    assert float(lengths_of_runs(LABELS[order]).mean()) == pytest.approx(RUN_SAMPLES, rel=0.3)
    assert float(lengths_of_runs(LABELS[SHARE]).mean()) < 2
    assert not np.array_equal(order, arrange(SHARE, LABELS, "runs", 0, 1))
    assert not np.array_equal(order, arrange(SHARE, LABELS, "runs", 1, 0))
    early = np.bincount(LABELS[order[:300]], minlength=6)
    assert early.min() > 20, "no class is kept for the end"


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown arrival 'backwards'; known: as_split"):
        arrange(SHARE, LABELS, "backwards", 0, 0)
