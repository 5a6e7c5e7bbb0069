"""Data sets: what is shipped, what is made, and what lies in a data folder."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from node_image import registry
from node_image.data import cifar10, digits, moving_digits
from node_image.data.folder import VARIABLE, DataNotFoundError, locate
from node_image.data.partition import Natural, PartitionError, split
from node_image.data.task import Task
from node_image.learner import build
from node_image.parameters import read
from node_image.spec import Chosen, TaskSpec
from tests.unit.learners import data_folder, node_spec


def loaded(name: str, given: dict[str, Any] | None = None, data_seed: int = 0, data_dir: str | None = None) -> Task:
    source = registry.TASKS[name]
    return source.load(read(source.Parameters, given or {}), data_seed, data_dir)


def nearest_centroid(task: Task) -> float:
    """Accuracy of the simplest classifier there is."""
    train = task.train_x.reshape(len(task.train_x), -1).astype(np.float32)
    test = task.test_x.reshape(len(task.test_x), -1).astype(np.float32)
    centroids = np.stack([train[task.train_y == c].mean(axis=0) for c in range(task.classes)])
    distances = ((centroids**2).sum(axis=1) - 2 * test @ centroids.T).argmin(axis=1)
    return float((distances == task.test_y).mean())


def test_digits_are_scikit_learns() -> None:
    x, y = digits.images()
    theirs = load_digits()
    np.testing.assert_array_equal(x, theirs.images)
    np.testing.assert_array_equal(y, theirs.target)


def test_the_digits_task_has_1500_digits_to_train_and_297_to_test() -> None:
    task = loaded("digits")
    assert task.train_x.shape == (1500, 8, 8)
    assert task.test_x.shape == (297, 8, 8)
    assert task.train_x.max() * task.scale == 1.0
    assert not np.array_equal(task.test_y, loaded("digits", data_seed=1).test_y)


def test_moving_digits_are_clips_of_the_asked_size_with_every_movement() -> None:
    task = loaded("moving_digits", {"clips": 200, "test_clips": 100, "frames": 5, "size": 20})
    assert task.train_x.shape == (200, 5, 20, 20)
    assert task.test_x.shape == (100, 5, 20, 20)
    assert task.train_x.dtype == np.uint8
    assert set(task.train_y.tolist()) == set(range(8))


@pytest.mark.parametrize(("noise", "sigma"), [("easy", 0.1), ("hard", 0.35)])
def test_the_noise_of_moving_digits_has_the_stated_sigma(noise: str, sigma: float) -> None:
    task = loaded("moving_digits", {"clips": 100, "test_clips": 1, "noise": noise})
    corner = task.train_x[:, :, 0, 0] * task.scale + task.offset  # a digit is seldom there
    assert float(np.median(np.abs(corner))) == pytest.approx(0.6745 * sigma, rel=0.15)


def test_moving_digits_move_as_their_label_says_and_stay_in_the_picture() -> None:
    params = moving_digits.Parameters()
    labels = np.repeat(np.arange(8), 50)
    columns, rows = moving_digits.paths(labels, params, np.random.default_rng(0))
    across, down = columns[:, -1] - columns[:, 0], rows[:, -1] - rows[:, 0]
    assert (across[labels == 0] < 0).all()
    assert (across[labels == 1] > 0).all()
    assert (down[labels == 2] < 0).all()
    assert (down[labels == 3] > 0).all()
    # Twice the area swept, on a screen whose rows grow downwards: positive is clockwise.
    x, y = columns - columns.mean(axis=1, keepdims=True), rows - rows.mean(axis=1, keepdims=True)
    swept = (x[:, :-1] * y[:, 1:] - x[:, 1:] * y[:, :-1]).sum(axis=1)
    assert (swept[labels == 4] > 0).all()
    assert (swept[labels == 5] < 0).all()
    assert (np.ptp(rows[labels == 6], axis=1) == 0).all()
    assert (np.ptp(columns[labels == 6], axis=1) > 2).all()
    assert (np.ptp(columns[labels == 7], axis=1) == 0).all()
    assert columns.min() >= 0
    assert max(columns.max(), rows.max()) <= params.size - moving_digits.DIGIT


def test_moving_digits_depend_on_the_seed_alone() -> None:
    given = {"clips": 20, "test_clips": 5}
    np.testing.assert_array_equal(loaded("moving_digits", given).train_x, loaded("moving_digits", given).train_x)
    assert not np.array_equal(loaded("moving_digits", given).train_x, loaded("moving_digits", given, 1).train_x)


def test_without_a_data_folder_the_error_says_how_to_give_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(DataNotFoundError, match=r"mnist: no data folder is set.*--data FOLDER or EDGEBED_DATA=FOLDER"):
        loaded("mnist")
    with pytest.raises(DataNotFoundError, match=f"there is no file {tmp_path}/cifar10/train_1.npz"):
        loaded("cifar10", data_dir=str(tmp_path))


def test_the_data_folder_given_goes_before_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "mnist.npz").touch()
    monkeypatch.setenv(VARIABLE, "/nowhere")
    assert locate(str(tmp_path), "mnist", "mnist.npz").is_file()
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert locate(None, "mnist", "mnist.npz").is_file()


@pytest.mark.parametrize(
    ("name", "given", "train", "test", "classes", "people"),
    [
        ("mnist", {}, (60000, 28, 28), (10000, 28, 28), 10, None),
        ("mnist", {"train_samples": 100, "test_samples": 50}, (100, 28, 28), (50, 28, 28), 10, None),
        ("sp_sw_har", {}, (9251, 100, 6), (3274, 100, 6), 5, set(range(1, 18))),
        ("utd_mhad", {}, (431, 8, 32, 32), (430, 8, 32, 32), 27, {1, 3, 5, 7}),
        ("utd_mhad", {"frames": 5, "size": 16}, (431, 5, 16, 16), (430, 5, 16, 16), 27, {1, 3, 5, 7}),
    ],
)
def test_a_data_set_of_the_folder_has_its_shape(
    name: str,
    given: dict[str, Any],
    train: tuple[int, ...],
    test: tuple[int, ...],
    classes: int,
    people: set[int] | None,
) -> None:
    task = loaded(name, given, data_dir=data_folder())
    assert task.train_x.shape == train
    assert task.test_x.shape == test
    assert task.classes == classes
    assert set(np.unique(task.train_y)) == set(range(classes))
    assert (None if task.ids is None else set(task.ids.tolist())) == people


def test_mnist_is_as_easy_as_published() -> None:
    assert nearest_centroid(loaded("mnist", data_dir=data_folder())) == pytest.approx(0.820, abs=0.001)


def test_a_stream_of_depth_clips_is_learned_from_and_tested_in_the_first_five_places() -> None:
    given = {"frames": 4, "size": 16, "train_samples": 120, "test_samples": 60}
    task = TaskSpec("utd_mhad", given, Chosen("natural"), stream_per_s=2.0, data_dir=data_folder())
    learner = build(node_spec(0, devices=4, task=task))
    assert learner.samples(3.0) == 6
    people = learner.task.ids
    assert people is not None
    assert len(set(people[learner.own].tolist())) == 1
    learner.train(20, 1e3, np.random.default_rng(0))
    found = learner.evaluate()
    assert sorted(found.top_k) == [3, 5]
    assert found.accuracy <= found.top_k[3] <= found.top_k[5]


def test_a_size_that_does_not_divide_the_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="size must be 64, 32, 16, 8 or 4"):
        loaded("utd_mhad", {"size": 20})


def test_every_person_of_sp_sw_har_can_be_a_device() -> None:
    task = loaded("sp_sw_har", data_dir=data_folder())
    assert task.ids is not None
    shares = split(Natural(), task.train_y, task.ids, devices=17, seed=0)
    assert [len(set(task.ids[share].tolist())) for share in shares] == [1] * 17
    with pytest.raises(PartitionError, match="17 sources, too few for 18"):
        split(Natural(), task.train_y, task.ids, devices=18, seed=0)


def test_sp_sw_har_has_the_published_number_of_windows_of_each_sensor() -> None:
    for sensor, windows in (("phone", 6197), ("watch", 6328)):
        task = loaded("sp_sw_har", {"sensor": sensor}, data_dir=data_folder())
        assert len(task.train_y) + len(task.test_y) == windows


@pytest.mark.slow
def test_cifar10_is_decoded_without_loss_as_its_nearest_centroids_show() -> None:
    task = loaded("cifar10", {"train_samples": 10_000}, data_dir=data_folder())
    assert task.train_x.shape == (10_000, 3, 32, 32)
    assert nearest_centroid(task) == pytest.approx(0.278, abs=0.01)
    np.testing.assert_array_equal(np.bincount(task.test_y), np.full(10, 1000))


def test_the_cifar10_predictor_is_undone_exactly() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (6, 7, 3)).astype(np.int16)
    pixels = rng.integers(0, 256, (6, 7, 3)).astype(np.int16)
    difference = pixels - base
    residuals = np.empty_like(pixels)
    for row in range(6):
        for column in range(7):
            left = difference[row, column - 1] if column else difference[row - 1, 0]
            above = difference[row - 1, column] if row else left
            corner = difference[row - 1, column - 1] if row and column else left
            guess = np.median([left, above, left + above - corner], axis=0)
            residuals[row, column] = difference[row, column] - (0 if row == column == 0 else guess)
    np.testing.assert_array_equal(cifar10.restore((residuals & 255).astype(np.uint8), base), pixels)


def test_a_subset_keeps_samples_labels_and_ids_together() -> None:
    n = 40
    task = Task(
        np.arange(n, dtype=np.uint8), np.arange(n), np.arange(9, dtype=np.uint8), np.arange(9), n, ids=np.arange(n)
    )
    part = task.subset(12, 4, data_seed=5)
    assert len(part.train_y) == 12
    assert len(part.test_y) == 4
    np.testing.assert_array_equal(part.train_x, part.train_y)
    np.testing.assert_array_equal(part.ids, part.train_y)
    np.testing.assert_array_equal(part.train_y, task.subset(12, 4, data_seed=5).train_y)
    assert not np.array_equal(part.train_y, task.subset(12, 4, data_seed=6).train_y)
    assert len(task.subset(0, 100, data_seed=5).test_y) == 9


def counted(n: int = 60) -> Task:
    """Samples that are their own number; three classes in turn."""
    y = np.arange(n) % 3
    return Task(np.arange(n, dtype=np.uint8), y, np.arange(9, dtype=np.uint8), np.arange(9) % 3, 3, ids=np.arange(n))


def test_some_classes_alone_are_relabelled_in_the_order_given() -> None:
    task = counted().restricted((2, 0))
    assert task.classes == 2
    assert task.train_x[:4].tolist() == [0, 2, 3, 5]
    assert task.train_y[:4].tolist() == [1, 0, 1, 0]
    assert task.test_y.tolist() == [1, 0, 1, 0, 1, 0]
    np.testing.assert_array_equal(task.ids, task.train_x)
    assert counted().restricted(()).classes == 3
    with pytest.raises(ValueError, match=r"classes 0 to 2 \(found 3\)"):
        counted().restricted((0, 3))


def test_public_samples_are_no_longer_for_training() -> None:
    task = counted().sharing(20, data_seed=4)
    np.testing.assert_array_equal(np.sort(np.concatenate([task.train_x, task.public_x])), np.arange(60))
    assert len(task.public_y) == 20
    np.testing.assert_array_equal(task.public_y, task.public_x % 3)
    np.testing.assert_array_equal(task.train_y, task.train_x % 3)
    np.testing.assert_array_equal(task.ids, task.train_x)
    np.testing.assert_array_equal(task.public_x, counted().sharing(20, data_seed=4).public_x)
    assert not np.array_equal(task.public_x, counted().sharing(20, data_seed=5).public_x)
    assert len(counted().sharing(0, data_seed=4).public_x) == 0
    with pytest.raises(ValueError, match="none would be left"):
        counted().sharing(60, data_seed=4)
