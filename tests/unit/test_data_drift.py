"""Drift: what changes, when, by how much, for whom; and that the same seed changes the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from node_image.data import distort
from node_image.data.drift import (
    DRIFTS,
    Contrast,
    Drift,
    NewClasses,
    Noise,
    Relabel,
    Rotate,
    Shift,
    affected,
    apply,
    held,
    of_device,
    relabelling,
)
from node_image.parameters import describe, read

PICTURES = np.random.default_rng(0).random((6, 5, 7), np.float32)
LABELS = np.random.default_rng(1).integers(10, size=2000)
IDS = np.arange(6)
SEED = (0, 4, 0)


def seen(*drifts: Drift, now: float, x: np.ndarray = PICTURES, ids: np.ndarray = IDS, seed: int = 0) -> np.ndarray:
    changes = of_device(drifts, index=0, devices=3, data_seed=seed)
    return apply(changes, x, np.zeros(len(x), np.int64), ids, now, classes=10)[0]


def test_before_it_begins_nothing_is_changed() -> None:
    drifts = (Shift(5, dx=1), Rotate(5, degrees=30), Contrast(5, factor=2), Noise(5, sigma=1), Relabel(5))
    np.testing.assert_array_equal(seen(*drifts, now=4.999), PICTURES)
    assert not np.array_equal(seen(*drifts, now=5.0), PICTURES)


def test_a_shift_moves_right_and_down_and_leaves_nothing_behind() -> None:
    moved = seen(Shift(0, dx=2, dy=-1), now=0)
    np.testing.assert_array_equal(moved[:, :-1, 2:], PICTURES[:, 1:, :-2])
    assert not moved[:, -1].any()
    assert not moved[:, :, :2].any()
    assert not seen(Shift(0, dx=7), now=0).any()


def test_the_frames_of_a_clip_all_move_alike() -> None:
    clips = np.random.default_rng(0).random((2, 3, 8, 8), np.float32)
    one_by_one = np.stack([distort.rotated(distort.shifted(clips[:, f], 1, 2), 20) for f in range(3)], axis=1)
    together = seen(Shift(0, dx=1, dy=2), Rotate(0, degrees=20), now=0, x=clips, ids=np.arange(2))
    np.testing.assert_allclose(together, one_by_one, atol=1e-6)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_quarter_turn_is_that_of_numpy(quarters: int) -> None:
    square = PICTURES[:, :, :5]
    np.testing.assert_allclose(distort.rotated(square, 90 * quarters), np.rot90(square, quarters, (1, 2)), atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(arrays(np.float32, (2, 4, 6), elements=st.floats(0, 1, width=32)), st.floats(-720, 720))
def test_a_turned_picture_keeps_its_range(x: np.ndarray, degrees: float) -> None:
    turned = distort.rotated(x, degrees)
    assert turned.dtype == np.float32
    assert turned.min() >= -1e-6
    assert turned.max() <= x.max() + 1e-5
    np.testing.assert_allclose(distort.rotated(x, 0.0), x, atol=1e-6)


def test_drifts_follow_one_another_in_their_order() -> None:
    both = seen(Contrast(0, factor=0.5), Noise(0, sigma=0.4), now=0)
    noise = seen(Noise(0, sigma=0.4, share=0.0), Noise(0, sigma=0.4), now=0) - PICTURES  # number 1 in the list, too
    np.testing.assert_allclose(both, 0.5 * PICTURES + noise, atol=1e-6)


def test_a_ramp_makes_it_gradual() -> None:
    drift = Contrast(10, ramp_s=20, factor=0.0)
    for now, left in ((10, 1.0), (15, 0.75), (25, 0.25), (30, 0.0), (99, 0.0)):
        np.testing.assert_allclose(seen(drift, now=now), left * PICTURES, atol=1e-6)
    assert seen(Shift(0, ramp_s=10, dx=2), now=5).tolist() == seen(Shift(0, dx=1), now=0).tolist()


def test_the_noise_of_a_sample_is_its_own_and_the_same_each_time() -> None:
    noise = Noise(0, sigma=0.4)
    there = seen(noise, now=1)
    order = np.array([4, 0, 2])
    np.testing.assert_array_equal(seen(noise, now=7, x=PICTURES[order], ids=IDS[order]), there[order])
    assert not np.array_equal(seen(noise, now=1, seed=1), there)
    many = distort.noise((20, 20), np.arange(50), SEED)
    assert float(many.std()) == pytest.approx(1, rel=0.02)
    assert abs(float(np.corrcoef(many[0].ravel(), many[1].ravel())[0, 1])) < 0.15


def test_relabelling_moves_so_many_classes_on_and_each_somewhere_else() -> None:
    for moved in (2, 3, 10, 99):
        names = relabelling(10, moved, SEED)
        assert sorted(names) == list(range(10))
        assert (names != np.arange(10)).sum() == min(10, moved)
    swap = relabelling(10, 2, SEED)
    np.testing.assert_array_equal(swap[swap], np.arange(10))


def test_labels_change_their_meaning_sample_by_sample_during_the_ramp() -> None:
    ids, y = np.arange(2000), LABELS
    changes = of_device([Relabel(0, ramp_s=10, classes=10)], 0, 1, 0)
    x = np.zeros((2000, 1), np.float32)
    shares, before = [], np.zeros(2000, bool)
    for now in (0.0, 2.5, 5.0, 10.0):
        changed = apply(changes, x, y, ids, now, 10)[1] != y
        assert (changed | ~before).all(), "what has changed stays changed"
        shares.append(float(changed.mean()))
        before = changed
    assert shares == pytest.approx([0, 0.25, 0.5, 1], abs=0.03)


def test_new_classes_take_the_place_of_those_a_device_holds() -> None:
    own = np.flatnonzero(np.isin(LABELS, (0, 1)))
    changes = of_device([NewClasses(3, new=2)], 0, 1, 0)
    np.testing.assert_array_equal(held(changes, own, LABELS, 2.9), own)
    later = held(changes, own, LABELS, 3)
    assert len(later) == len(own)
    new = set(LABELS[later].tolist())
    assert len(new) == 2
    assert not new & {0, 1}
    np.testing.assert_array_equal(later, held(changes, own, LABELS, 99))


def test_part_of_a_share_can_stay_and_give_way_gradually() -> None:
    own = np.flatnonzero(np.isin(LABELS, (0, 1)))
    changes = of_device([NewClasses(0, ramp_s=10, new=3, replaced=0.5)], 0, 1, 0)
    half, whole = held(changes, own, LABELS, 5), held(changes, own, LABELS, 10)
    assert float((half != own).mean()) == pytest.approx(0.25, abs=0.06)
    assert float((whole != own).mean()) == pytest.approx(0.5, abs=0.06)
    np.testing.assert_array_equal(whole[half != own], half[half != own])


def test_a_device_that_holds_every_class_keeps_what_it_held_least_of() -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    later = held(of_device([NewClasses(0, new=1)], 0, 1, 0), np.arange(100), labels, 0)
    assert set(labels[later].tolist()) == {2}


def test_devices_are_named_or_drawn_and_the_coordinator_is_never_one() -> None:
    assert affected(Shift(0, devices="0,3,5-7"), 10, SEED) == {0, 3, 5, 6, 7}
    assert affected(Shift(0), 4, SEED) == {0, 1, 2, 3}
    assert affected(Shift(0, share=0.0), 4, SEED) == frozenset()
    assert len(affected(Shift(0, share=0.01), 4, SEED)) == 1
    third = affected(Shift(0, share=0.3), 10, SEED)
    assert len(third) == 3
    assert third == affected(Shift(0, share=0.3), 10, SEED)
    assert any(third != affected(Shift(0, share=0.3), 10, (seed, 4, 0)) for seed in range(1, 5))
    assert of_device([Shift(0, dx=1)], -1, 4, 0) == ()
    assert of_device([Shift(0, devices="1"), Noise(0, devices="2")], 2, 4, 0)[0].drift == Noise(0, devices="2")


@pytest.mark.parametrize("written", ["a", "1,", "1-", ",2", "1--2", "-1", "1 2"])
def test_devices_that_cannot_be_read_are_refused(written: str) -> None:
    with pytest.raises(ValueError, match="devices: must be indices such as"):
        Shift(0, devices=written)


@pytest.mark.parametrize("written", ["3", "0-3", "2-1", "0-99999999999999"])
def test_devices_that_there_are_not_are_refused(written: str) -> None:
    with pytest.raises(ValueError, match="devices are 0 to 2, spans ascend"):
        of_device([Shift(0, devices=written)], 0, 3, 0)


def test_flat_samples_cannot_be_turned() -> None:
    with pytest.raises(ValueError, match=r"only pictures .* shape \(35,\)"):
        seen(Rotate(0, degrees=5), now=0, x=PICTURES.reshape(6, 35))


@pytest.mark.parametrize("drift", [Shift(0, dx=1), Rotate(0, degrees=1), Relabel(0)])
def test_what_would_leave_boxes_wrong_is_refused(drift: Drift) -> None:
    boxes = np.zeros((6, 2, 6), np.float32)
    with pytest.raises(ValueError, match="boxes are neither moved nor renamed"):
        apply(of_device([drift], 0, 1, 0), PICTURES, boxes, IDS, 0, 10)
    x, y = apply(of_device([Contrast(0, factor=2)], 0, 1, 0), PICTURES, boxes, IDS, 0, 10)
    np.testing.assert_array_equal(x, 2 * PICTURES)
    assert y is boxes


@pytest.mark.parametrize("kind", sorted(DRIFTS))
def test_every_kind_is_read_like_a_plug_in(kind: str) -> None:
    assert next(iter(describe(DRIFTS[kind]))) == "at_s"
    assert read(DRIFTS[kind], {"at_s": 3}).strength(3) == 1.0
    with pytest.raises(ValueError, match="at_s: is required"):
        read(DRIFTS[kind], {})
