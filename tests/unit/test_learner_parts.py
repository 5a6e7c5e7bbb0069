"""What algorithms see of a learner beyond its flat weights: features, predictions, its own world and its start."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from node_image.learner import Learner, build
from node_image.spec import Chosen, TaskSpec
from tests.unit.learners import node_spec


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def learner_of(index: int = 0, **task: Any) -> Learner:
    task.setdefault("partition", Chosen("pathological", {"classes": 2}))
    return build(node_spec(index, task=TaskSpec("digits", **task)))


def test_the_head_on_the_features_is_the_model() -> None:
    learner = learner_of()
    x, _ = learner.raw(0, 20)
    features = learner.features(x)
    assert features.shape == (20, 32)
    head = learner.weights()[learner.head_start :]
    scores = features @ head[:-10].reshape(10, 32).T + head[-10:]
    odds = np.exp(scores)
    np.testing.assert_allclose(learner.predict(x), odds / odds.sum(axis=1, keepdims=True), rtol=1e-4)


def test_features_of_no_samples_have_their_width() -> None:
    learner = learner_of()
    assert learner.features(learner.raw(0, 0)[0]).shape == (0, 32)


def test_training_the_head_alone_leaves_the_features_as_they_were() -> None:
    learner = learner_of()
    trainable = np.zeros(learner.parameters, bool)
    trainable[learner.head_start :] = True
    before = learner.weights()
    learner.train(10, 0.0, rng(), trainable=trainable)
    after = learner.weights()
    np.testing.assert_array_equal(after[: learner.head_start], before[: learner.head_start])
    assert not np.array_equal(after[learner.head_start :], before[learner.head_start :])
    assert learner.cost(10, 0.0, trainable).macs < learner.cost(10, 0.0).macs


def test_label_counts_are_those_of_the_samples_that_have_arrived() -> None:
    learner = learner_of(stream_per_s=10.0)
    assert learner.label_counts(0.0).sum() == 0
    counts = learner.label_counts(3.0)
    assert counts.sum() == 30
    assert counts.shape == (10,)
    assert np.count_nonzero(counts) <= 2


def test_its_own_test_set_holds_the_classes_that_the_device_holds() -> None:
    learner = learner_of()
    own, everything = learner.evaluate(own=True), learner.evaluate()
    held = np.flatnonzero(learner.label_counts(0.0))
    assert own.samples == int(np.isin(learner.task.test_y, held).sum()) < everything.samples


def test_public_samples_are_the_same_for_all_and_nobodys_own() -> None:
    one, other = learner_of(0, public=50), learner_of(-1, public=50)
    assert one.public is other.public
    assert one.public.shape == (50, 8, 8)
    assert len(one.task.train_y) == 1500 - 50
    assert learner_of().public.shape[0] == 0


def test_a_task_of_some_classes_knows_no_others() -> None:
    learner = learner_of(classes=(3, 7, 1), partition=Chosen("iid"))
    assert learner.task.classes == 3
    assert set(learner.task.train_y) == set(learner.task.test_y) == {0, 1, 2}
    assert learner.predict(learner.raw(0, 4)[0]).shape == (4, 3)


def test_what_drifts_changes_what_is_learned_from_and_tested_on_at_its_time() -> None:
    drift = (Chosen("contrast", {"at_s": 10.0, "factor": 0.5}),)
    learner, still = learner_of(drift=drift), learner_of()
    x, _ = learner.raw(0, 50, now=9.0)
    np.testing.assert_array_equal(x, still.raw(0, 50)[0])
    dimmed, _ = learner.raw(0, 50, now=10.0)
    assert dimmed.dtype == np.uint8
    np.testing.assert_allclose(dimmed, x / 2, atol=0.51)
    assert learner.evaluate(own=True, now=10.0).loss != learner.evaluate(own=True, now=9.0).loss
    assert learner.evaluate().loss == still.evaluate().loss, "the global test set stays what it is"


def test_drift_is_learned_from() -> None:
    drift = (Chosen("labels", {"at_s": 5.0, "classes": 10}),)
    learner = learner_of(drift=drift)
    learner.train(200, 6.0, rng())
    assert learner.evaluate(own=True, now=6.0).accuracy > 0.9
    assert learner.evaluate(own=True, now=4.0).accuracy < 0.2


def test_new_classes_appear_among_the_devices_samples() -> None:
    learner = learner_of(drift=(Chosen("classes", {"at_s": 5.0, "new": 2}),))
    before, after = learner.label_counts(0.0), learner.label_counts(5.0)
    assert before.sum() == after.sum()
    assert not (set(np.flatnonzero(before)) & set(np.flatnonzero(after)))


def test_arrival_by_class_brings_one_class_after_the_other() -> None:
    learner = learner_of(arrival="by_class", partition=Chosen("iid"))
    labels = learner.raw(0, len(learner.own))[1]
    assert np.count_nonzero(np.diff(labels.astype(int))) == 9


def test_initial_weights_come_from_a_file_where_they_fit(tmp_path: Path) -> None:
    spec = node_spec()
    plain = build(spec)
    first, head = plain.parts[0], plain.parts[-1]
    tensors = {first.name: np.full(first.shape, 0.5, np.float32), head.name: np.zeros(3, np.float32)}
    save_file(tensors, tmp_path / "start.safetensors")
    started = build(replace(spec, initial=str(tmp_path / "start.safetensors")))
    assert (started.weights()[first.start : first.end] == 0.5).all()
    np.testing.assert_array_equal(started.weights()[first.end :], plain.weights()[first.end :])


def test_initial_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    save_file({"other.weight": np.zeros(3, np.float32)}, tmp_path / "start.safetensors")
    with pytest.raises(ValueError, match=r"start\.safetensors: no tensor fits the model"):
        build(replace(node_spec(), initial=str(tmp_path / "start.safetensors")))


def test_where_a_node_is_lies_between_the_points_of_its_track() -> None:
    spec = replace(node_spec(), track=((0.0, 0.0, 10.0), (2.0, 4.0, 10.0)))
    assert [spec.position_m(t) for t in (-1.0, 0.0, 1.0, 2.0, 9.0)] == [
        (0.0, 10.0),
        (0.0, 10.0),
        (2.0, 10.0),
        (4.0, 10.0),
        (4.0, 10.0),
    ]
    assert node_spec().position_m(1.0) is None


def test_a_pace_keeps_local_phases_apart_and_never_lets_them_pile_up() -> None:
    learner = build(replace(node_spec(), phase_every_s=2.0))
    assert learner.until_phase_s(0.0) == 0.0
    assert learner.until_phase_s(0.5) == 1.5  # begins at 2
    assert learner.until_phase_s(9.0) == 0.0  # long overdue: at once, and the missed ones are not made up for
    assert learner.until_phase_s(9.5) == 1.5
    assert build(node_spec()).until_phase_s(3.0) == 0.0


def test_a_view_of_a_learner_keeps_its_pace() -> None:
    learner = build(replace(node_spec(), phase_every_s=2.0))
    assert learner.until_phase_s(0.0) == 0.0
    assert replace(learner).until_phase_s(0.5) == 1.5


def test_in_virtual_time_the_test_sets_features_are_computed_once_for_the_same_weights_below_the_head() -> None:
    learner = build(replace(node_spec(), model=Chosen("softhebb1", {"filters": 4}), rule=Chosen("softhebb")))
    start, rng = learner.head_start, np.random.default_rng(0)
    other_head, other_features = learner.weights(), learner.weights()
    other_head[start:] = rng.normal(size=learner.parameters - start)
    other_features[:start] = rng.normal(size=start)
    asked = (learner.weights(), other_head, other_features, other_head)
    plain = [learner.evaluate(weights) for weights in asked]
    looked = []
    handle = learner.network.module[0].register_forward_hook(lambda *_: looked.append(1))
    learner.network.tested.is_kept = True
    try:
        kept, counts = [], []
        for weights in asked:
            kept.append(learner.evaluate(weights))
            counts.append(len(looked))
    finally:
        handle.remove()
        learner.network.tested.is_kept = False  # nodes of one process share the network
    assert kept == plain, "to the last bit"
    batches = counts[0]
    assert counts == [batches, batches, 2 * batches, 3 * batches]
