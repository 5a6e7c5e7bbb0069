"""The readout's rule against closed forms and autograd."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from node_image import readout
from node_image.readout import Habit, Matrix, Vector

SAMPLES, FEATURES, CLASSES = 12, 5, 4
seeds = st.integers(0, 2**31)


def drawn(seed: int) -> tuple[Matrix, Matrix, NDArray[np.int64]]:
    """Weights, features with their constant, labels."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(CLASSES, FEATURES + 1)).astype(np.float32)
    h = readout.extended(rng.normal(size=(SAMPLES, FEATURES)).astype(np.float32))
    return weights, h, rng.integers(0, CLASSES, SAMPLES)


def gradient(weights: Matrix, h: Matrix, loss_targets: list[tuple[float, Matrix]], adjustment: Vector) -> Matrix:
    """Gradient of the weighted sum of cross-entropies, by autograd in float64."""
    w = torch.tensor(weights.astype(np.float64), requires_grad=True)
    scores = torch.tensor(h.astype(np.float64)) @ w.T + torch.tensor(adjustment.astype(np.float64))
    logs = torch.log_softmax(scores, dim=1)
    loss = sum((-share * (torch.tensor(t.astype(np.float64)) * logs).sum(1).mean() for share, t in loss_targets))
    assert isinstance(loss, torch.Tensor)
    (found,) = torch.autograd.grad(loss, w)
    result: Matrix = found.numpy().astype(np.float32)
    return result


def plain() -> Habit:
    return Habit(np.zeros(FEATURES + 1, np.float32), np.ones(FEATURES + 1, np.float32))


def test_a_head_becomes_a_matrix_and_a_head_again() -> None:
    head = np.arange(CLASSES * (FEATURES + 1), dtype=np.float32)
    weights = readout.unflatten(head, CLASSES)
    assert weights.shape == (CLASSES, FEATURES + 1)
    assert weights[1].tolist() == [5, 6, 7, 8, 9, 21]
    np.testing.assert_array_equal(readout.flatten(weights), head)


@given(seeds)
def test_the_hebbian_change_is_minus_the_gradient_of_the_adjusted_cross_entropy(seed: int) -> None:
    weights, h, labels = drawn(seed)
    adjustment, targets = readout.log_prior(np.array([3, 0, 8, 1])), readout.one_hot(labels, CLASSES)
    change = readout.hebbian(readout.softmax(h @ weights.T + adjustment), h, targets)
    np.testing.assert_allclose(change, -gradient(weights, h, [(1.0, targets)], adjustment), atol=1e-6)
    np.testing.assert_allclose(change.sum(axis=0), 0.0, atol=1e-6)


@given(seeds, st.floats(0, 1))
def test_a_mixed_target_is_the_sum_of_task_and_consistency_losses(seed: int, beta: float) -> None:
    weights, h, labels = drawn(seed)
    none, targets = np.zeros(CLASSES, np.float32), readout.one_hot(labels, CLASSES)
    prior = readout.probabilities(drawn(seed + 1)[0], h)
    change = readout.hebbian(readout.probabilities(weights, h), h, readout.clamped(targets, prior, beta))
    both = gradient(weights, h, [(1.0 - beta, targets), (beta, prior)], none)
    np.testing.assert_allclose(change, -both, atol=1e-6)


@given(seeds)
def test_a_step_is_one_on_standardised_features_whatever_the_features_mean_and_deviation(seed: int) -> None:
    weights, z, labels = drawn(seed)
    used_to = Habit(
        np.append(np.linspace(-3, 3, FEATURES), 0).astype(np.float32),
        np.append(np.linspace(0.5, 4, FEATURES), 1).astype(np.float32),
    )
    h, targets, none = z * used_to.deviation + used_to.mean, readout.one_hot(labels, CLASSES), np.zeros(CLASSES)
    on_h = weights / used_to.deviation  # the same function of h that `weights` is of z
    on_h[:, -1] -= on_h @ used_to.mean
    moved_h = readout.step(on_h, h, targets, none.astype(np.float32), used_to, 0.1, 0.0)
    moved_z = readout.step(weights, z, targets, none.astype(np.float32), plain(), 0.1, 0.0)
    np.testing.assert_allclose(h @ moved_h.T, z @ moved_z.T, atol=2e-4)


def test_a_step_adds_plasticity_times_change_less_decay() -> None:
    weights, h, labels = drawn(3)
    targets, none = readout.one_hot(labels, CLASSES), np.zeros(CLASSES, np.float32)
    change = readout.hebbian(readout.probabilities(weights, h), h, targets)
    moved = readout.step(weights, h, targets, none, plain(), 0.05, 0.2)
    np.testing.assert_allclose(moved, weights + 0.05 * (change - 0.2 * weights), atol=1e-6)
    np.testing.assert_array_equal(readout.step(weights, h, targets, none, plain(), 0.0, 0.2), weights)


def test_the_log_prior_counts_a_tenth_of_a_sample_for_every_class() -> None:
    pi = np.exp(readout.log_prior(np.array([9, 0])))
    np.testing.assert_allclose(pi, [9.1 / 9.2, 0.1 / 9.2], rtol=1e-5)


def test_the_logit_adjustment_hardly_moves_a_class_of_which_there_are_no_samples() -> None:
    weights, h, labels = drawn(5)
    labels = labels % 2
    weights = np.zeros_like(weights)
    targets = readout.one_hot(labels, CLASSES)
    plainly = readout.hebbian(readout.probabilities(weights, h), h, targets)
    prior = readout.log_prior(np.bincount(labels, minlength=CLASSES))
    adjusted = readout.hebbian(readout.softmax(h @ weights.T + prior), h, targets)
    assert np.abs(adjusted[2:]).max() < 0.1 * np.abs(plainly[2:]).max()


def test_features_that_never_vary_do_not_take_wild_steps() -> None:
    features = np.random.default_rng(0).normal(size=(50, 3)) * [1, 1, 0] + [0, 5, 2]
    h = readout.extended(features.astype(np.float32))
    used_to = readout.habit(h)
    np.testing.assert_allclose(used_to.mean, [h[:, 0].mean(), h[:, 1].mean(), 2, 0], atol=1e-5)
    assert used_to.deviation[2] == pytest.approx(0.08, abs=0.04)
    assert used_to.deviation[3] == 1


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 30), seeds)
def test_minibatches_use_every_sample_once_a_pass(count: int, size: int, steps: int, seed: int) -> None:
    batches = list(readout.minibatches(count, size, steps, np.random.default_rng(seed)))
    assert len(batches) == steps
    assert all(1 <= len(batch) <= size for batch in batches)
    used = np.bincount(np.concatenate([np.empty(0, np.int64), *batches]), minlength=count)
    assert used.max() - used.min() <= 1


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_which_samples_are_held_out_does_not_depend_on_how_they_arrive(first: int, one: int, other: int) -> None:
    together = readout.held_out(first, one + other)
    apart = np.concatenate([readout.held_out(first, one), readout.held_out(first + one, other)])
    np.testing.assert_array_equal(together, apart)


def test_every_sixth_sample_is_held_out() -> None:
    assert np.flatnonzero(readout.held_out(0, 20)).tolist() == [5, 11, 17]


@given(seeds)
def test_divergence_is_a_distance_between_0_and_1(seed: int) -> None:
    weights, h, _ = drawn(seed)
    one, other = readout.probabilities(weights, h), readout.probabilities(drawn(seed + 1)[0], h)
    assert readout.divergence(one, one) == 0
    assert readout.divergence(one, other) == pytest.approx(readout.divergence(other, one))
    assert 0 <= readout.divergence(one, other) <= 1
    sure = np.eye(2, dtype=np.float32)
    assert readout.divergence(sure, sure[::-1]) == 1


def test_accuracy_is_the_share_of_samples_whose_highest_score_is_their_class() -> None:
    h = readout.extended(np.array([[1.0], [-1.0], [2.0], [3.0]], np.float32))
    assert readout.accuracy(np.array([[1, 0], [-1, 0]], np.float32), h, np.array([0, 1, 0, 1])) == 0.75
    assert readout.accuracy(np.zeros((2, 2), np.float32), h[:0], np.empty(0, np.int64)) == 0.0


def test_an_eligibility_trace_forgets_geometrically_and_keeps_the_size_of_its_input() -> None:
    pulse = np.array([[0.0], [1.0], [0.0], [0.0]], np.float32)
    traced = readout.eligibility(pulse, np.zeros(1, np.float32), 0.5)
    assert traced[:, 0].tolist() == [0.0, 0.5, 0.25, 0.125]
    steady = np.ones((5, 2), np.float32)
    np.testing.assert_array_equal(readout.eligibility(steady, steady[0], 0.9), steady)


def test_a_trace_goes_on_where_the_last_batch_of_samples_left_it() -> None:
    h = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    whole = readout.eligibility(h, h[0], 0.7)
    first = readout.eligibility(h[:4], h[0], 0.7)
    np.testing.assert_array_equal(np.concatenate([first, readout.eligibility(h[4:], first[-1], 0.7)]), whole)


def test_contrastive_hebbian_steps_learn_separable_classes() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, 400)
    centres = 3 * rng.normal(size=(CLASSES, FEATURES))
    h = readout.extended((centres[labels] + 0.3 * rng.normal(size=(400, FEATURES)) + 7).astype(np.float32))
    weights, targets = np.zeros((CLASSES, FEATURES + 1), np.float32), readout.one_hot(labels, CLASSES)
    none = np.zeros(CLASSES, np.float32)
    for batch in readout.minibatches(400, 32, 100, rng):
        weights = readout.step(weights, h[batch], targets[batch], none, readout.habit(h), 0.1, 1e-4)
    assert readout.accuracy(weights, h, labels) > 0.98
