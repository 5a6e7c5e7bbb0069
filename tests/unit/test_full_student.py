"""A full student: how it imitates, in worked numbers and against the loss; the narrower network; and what travels."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from node_image import learner, readout
from node_image.algorithms import elabip
from node_image.algorithms.elabip_parameters import Parameters
from node_image.experience import Experience
from node_image.kd.full import FullStudentPupil, imitated
from node_image.kd.strategy import Setting
from node_image.network import Part
from node_image.outcomes import UnfitError
from node_image.packing import pack_model
from node_image.parameters import read
from node_image.spec import Chosen, TaskSpec
from tests.contract.worlds import run_in
from tests.plans import star
from tests.unit.learners import node_spec

P = 0.1  # with which a student learns
CLASSES, WIDE, NARROW = 3, 6, 2


def one_step(count: int, tau: float) -> Parameters:
    """All samples in one minibatch, once, without decay."""
    return Parameters(
        student="full", student_temperature=tau, local_steps=1, batch_size=count, decay=0.0, bits=32, beta=0.5
    )


def standard(count: int, features: int, seed: int = 0) -> NDArray[np.float32]:
    """Features of mean 0 and deviation 1, to which a readout need not get used, with the constant behind."""
    h = np.random.default_rng(seed).normal(size=(count, features))
    return readout.extended(((h - h.mean(axis=0)) / h.std(axis=0)).astype(np.float32))


def test_one_step_of_imitation_in_worked_numbers() -> None:
    """Two samples, h = 1 and -1; the softened teacher says (3/4, 1/4) of one and (1/4, 3/4) of the other.

    The student says 1/2, so that of its weight on class 0 the mean of h (t - y) is (1/4 + 1/4) / 2, and dW is tau p of
    that; what pulls at the constant cancels out.
    """
    tau = 3.0
    scores = np.array([[tau * np.log(3), 0], [0, tau * np.log(3)]], np.float32)
    h, rng = np.array([[1, 1], [-1, 1]], np.float32), np.random.default_rng(0)
    learned = imitated(one_step(2, tau), np.zeros((2, 2), np.float32), h, scores, rng)
    np.testing.assert_allclose(learned, [[tau * P / 4, 0], [-tau * P / 4, 0]], atol=1e-6)


def softened(scores: NDArray[np.float64], tau: float) -> NDArray[np.float64]:
    return readout.softmax(scores / tau)


@pytest.mark.parametrize("tau", [0.5, 1.0, 3.0])
def test_imitation_descends_the_softened_divergence(tau: float) -> None:
    rng, h = np.random.default_rng(1), standard(8, 2)
    weights, scores = rng.normal(size=(3, 3)).astype(np.float32), rng.normal(size=(8, 3)).astype(np.float32)
    taught = softened(scores.astype(np.float64), tau)

    def loss(w: NDArray[np.float64]) -> float:
        said = softened(h.astype(np.float64) @ w.T, tau)
        return float(tau**2 * (taught * np.log(taught / said)).sum(axis=1).mean())

    exact, eps = weights.astype(np.float64), 1e-5
    gradient = np.zeros_like(exact)
    for place in np.ndindex(*exact.shape):
        moved = np.zeros_like(exact)
        moved[place] = eps
        gradient[place] = (loss(exact + moved) - loss(exact - moved)) / (2 * eps)
    learned = imitated(one_step(8, tau), weights, h, scores, np.random.default_rng(0))
    np.testing.assert_allclose(learned, weights - P * gradient, atol=2e-5)


def test_at_a_high_temperature_it_follows_differences_of_scores() -> None:
    """tau (softmax(z / tau) - softmax(v / tau)) tends to (z - v) / C, both less their mean: as squared errors do."""
    rng, h = np.random.default_rng(2), standard(8, 2)
    weights, scores = rng.normal(size=(3, 3)).astype(np.float32), rng.normal(size=(8, 3)).astype(np.float32)
    lacks = scores - h @ weights.T
    lacks -= lacks.mean(axis=1, keepdims=True)
    learned = imitated(one_step(8, 1000.0), weights, h, scores, np.random.default_rng(0))
    np.testing.assert_allclose(learned - weights, P * (lacks / 3).T @ h / 8, atol=2e-3)


def test_a_student_that_says_what_its_teacher_does_stays_as_it_is() -> None:
    h = standard(8, 2)
    weights = np.random.default_rng(3).normal(size=(3, 3)).astype(np.float32)
    learned = imitated(one_step(8, 2.0), weights, h, h @ weights.T, np.random.default_rng(0))
    np.testing.assert_allclose(learned, weights, atol=1e-6)


# --- the pupil ---


def school(count: int = 60, **given: Any) -> tuple[FullStudentPupil, Experience]:
    """A pupil with six features of its own and two of its student, and samples whose class both show."""
    params = Parameters(student="full", bits=32, **given)
    size = CLASSES * NARROW
    parts = (Part("1.weight", 0, size, (CLASSES, NARROW), 1), Part("1.bias", size, size + CLASSES, (CLASSES,), 1))
    setting = Setting(params, parts, np.zeros(size + CLASSES, np.float32), np.empty((0, NARROW + 1), np.float32))
    labels = np.arange(count) % CLASSES
    noise = np.random.default_rng(0).normal(0, 0.1, (count, WIDE + NARROW)).astype(np.float32)
    wide = np.eye(CLASSES, WIDE, dtype=np.float32)[labels] + noise[:, :WIDE]
    narrow = np.eye(CLASSES, NARROW, dtype=np.float32)[labels] + noise[:, WIDE:]
    seen = Experience(WIDE, CLASSES, beside=Experience(NARROW, CLASSES))
    seen.add(readout.extended(wide), labels)
    assert seen.beside is not None
    seen.beside.add(readout.extended(narrow), labels)
    return FullStudentPupil(setting, np.zeros((CLASSES, WIDE + 1), np.float32)), seen


def test_the_student_learns_what_the_device_knows_without_seeing_a_label() -> None:
    pupil, seen = school()
    assert seen.beside is not None
    for _ in range(20):
        pupil.learn(seen, 0.1, np.random.default_rng(0))
    assert seen.accuracy(pupil.weights) == 1.0
    assert seen.beside.accuracy(pupil.shared) == 1.0
    blind, unlabelled = school()
    assert unlabelled.beside is not None
    unlabelled.beside.labels = unlabelled.beside.labels[::-1].copy()
    for _ in range(20):
        blind.learn(unlabelled, 0.1, np.random.default_rng(0))
    np.testing.assert_array_equal(blind.shared, pupil.shared)


def test_by_beta_a_device_learns_from_the_fleets_student() -> None:
    knowing, seen = school(beta=0.9)
    for _ in range(20):
        knowing.learn(seen, 0.1, np.random.default_rng(0))
    told = pack_model(readout.flatten(knowing.shared), knowing.setting.parts)

    def accuracy(beta: float, prior: bool) -> float:
        pupil, seen = school(beta=beta)
        seen.labels = np.zeros_like(seen.labels)  # it meets one class only
        if prior:
            pupil.adopt(told)
        for _ in range(20):
            pupil.learn(seen, 0.1, np.random.default_rng(0))
        return seen.accuracy(pupil.weights)

    assert accuracy(0.9, prior=True) > 0.9
    assert accuracy(0.0, prior=True) == accuracy(0.0, prior=False) < 0.5


def test_the_student_begins_each_phase_as_the_prior_and_the_device_as_itself() -> None:
    pupil, seen = school()
    pupil.learn(seen, 0.1, np.random.default_rng(0))
    own, size = pupil.weights.copy(), CLASSES * (NARROW + 1)
    pupil.adopt({"model": np.arange(size, dtype=np.float32)})
    np.testing.assert_array_equal(readout.flatten(pupil.shared), np.arange(size))
    np.testing.assert_array_equal(pupil.weights, own)


def test_a_student_that_diverges_stays_as_it_was() -> None:
    pupil, seen = school()
    pupil.weights = np.full_like(pupil.weights, 3e38)
    before = pupil.shared.copy()
    with np.errstate(all="ignore"):
        assert not np.isfinite(pupil.learn(seen, 0.1, np.random.default_rng(0)))
    np.testing.assert_array_equal(pupil.shared, before)


def test_a_phase_costs_both_readouts_the_answers_and_the_looks() -> None:
    pupil, seen = school(local_steps=4, batch_size=5)
    wide, narrow = CLASSES * (WIDE + 1), CLASSES * (NARROW + 1)
    assert (len(seen.h), len(seen.held_h)) == (50, 10)
    assert pupil.cost(seen).macs == wide * (2 * 20 + 3 * 10) + 2 * 20 * narrow + 50 * wide
    leaning = FullStudentPupil(replace(pupil.setting, params=replace(pupil.setting.params, beta=0.1)), pupil.weights)
    assert leaning.cost(seen).macs == pupil.cost(seen).macs + 50 * narrow


# --- the narrower network ---


def built(model: Chosen, rule: str = "backprop") -> learner.Learner:
    return learner.build(replace(node_spec(), model=model, rule=Chosen(rule)))


SOFTHEBB = Chosen("softhebb1", {"filters": 16})


def test_a_narrower_learner_has_the_same_samples_and_pace_and_fewer_weights() -> None:
    wide = built(SOFTHEBB, "softhebb")
    narrow = wide.narrower(0.25)
    assert (wide.network.features, narrow.network.features) == (16 * 16, 4 * 16)
    assert narrow.pace is wide.pace
    np.testing.assert_array_equal(narrow.raw(0, 5)[0], wide.raw(0, 5)[0])
    narrow.load(np.ones(narrow.parameters, np.float32))
    assert wide.untouched


@pytest.mark.parametrize(
    ("model", "rule"),
    [("small_conv", "backprop"), ("mlp", "backprop"), ("softhebb1", "softhebb"), ("spiking_conv", "spiking")],
)
def test_models_get_narrower_by_the_share(model: str, rule: str) -> None:
    wide = built(Chosen(model), rule)
    assert 0 < wide.narrower(0.1).parameters < wide.narrower(0.5).parameters < wide.parameters


def test_a_model_that_is_too_narrow_for_its_norms_is_refused() -> None:
    with pytest.raises(UnfitError, match=r"do not pass through the model"):
        built(Chosen("small_conv")).narrower(0.01)


def test_a_model_without_a_narrower_form_is_refused_before_the_run_with_those_that_have_one() -> None:
    plain = built(Chosen("linear"))
    with pytest.raises(UnfitError, match=r"model linear: has no narrower form; models that have: mlp, small_conv, "):
        elabip.fits(Parameters(student="full"), plain)


def test_a_full_student_of_another_way_to_distil_is_refused() -> None:
    with pytest.raises(ValueError, match=r"student full: is a way of kd student \(found kd stats\)"):
        read(Parameters, {"student": "full", "kd": "stats"})


# --- the whole ---


@pytest.mark.parametrize("open_features", [False, True])
def test_it_learns_digits_in_simulation_and_sends_the_narrow_network(open_features: bool, tmp_path: Path) -> None:
    parameters = {"student": "full", "beta": 0.3, "student_width": 0.5, "open_features": open_features}
    plan = star(
        3,
        algorithm=Chosen("elabip", {**parameters, "evaluate_every_s": 1.0}),
        task=TaskSpec("digits"),
        model=SOFTHEBB,
        rule=Chosen("softhebb"),
        stop_after_s=3.0,
    )
    ran = run_in("simulation", plan, tmp_path / "run")
    assert ran.outcome.status == "complete", ran.outcome.notes
    assert (ran.outcome.summary["test_accuracy"] or 0.0) > 0.7
    features, head = 8 * 9, 10 * (8 * 16 + 1)  # 3x3 filters on 8x8 digits; 16 positions
    shared, scales = (features + head, 3) if open_features else (head, 2)
    updates = [each for each in ran.records("d-1", "sent_payload_bytes") if each["labels"]["kind"] == "update"]
    assert {each["value"] for each in updates} == {64 + shared + 4 * scales}
