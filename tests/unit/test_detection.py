"""Detection: what a grid should say, what it says, and a detector that learns from pictures in COCO's layout."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from node_image import registry
from node_image.data.boxes import main_classes, padded
from node_image.data.folder import DataNotFoundError, DataUnreadableError
from node_image.data.task import Task
from node_image.detection import best_of_each_place, detections, grid_loss, grid_of
from node_image.learner import build
from node_image.models import grid_detector
from node_image.network import flatten
from node_image.objective import Classification, Detection
from node_image.parameters import read
from node_image.spec import Chosen, NodeSpec, TaskSpec
from tests.unit.learners import node_spec

SIDE = 48  # pixels of a picture's side


def boxes(*rows: tuple[float, ...]) -> np.ndarray:
    return padded([np.array(rows, np.float32).reshape(-1, 6)])


def said(grid: np.ndarray, classes: int) -> np.ndarray:
    """Scores that say exactly what a grid wants, and are sure of it."""
    chance = np.clip(grid[..., :5], 1e-4, 1 - 1e-4)
    kinds = np.where(np.arange(classes) == grid[..., 5:6], 20.0, -20.0)
    return np.concatenate([np.log(chance / (1 - chance)), kinds], axis=-1).astype(np.float32)


def test_the_cell_of_the_middle_says_where_a_thing_is() -> None:
    grid = grid_of(boxes((1, 0.30, 0.80, 0.2, 0.4, 0)), 4)
    assert grid.shape == (1, 16, 6)
    np.testing.assert_allclose(grid[0, 3 * 4 + 1], [1, 0.2, 0.2, 0.2, 0.4, 1], atol=1e-6)
    assert grid.sum() == pytest.approx(3.0)


def test_of_two_things_in_a_cell_the_larger_one_counts_and_a_crowd_none() -> None:
    two = boxes((0, 0.1, 0.1, 0.2, 0.2, 0), (1, 0.12, 0.1, 0.1, 0.1, 0), (2, 0.9, 0.9, 0.1, 0.1, 1))
    grid = grid_of(two, 2)
    assert grid[0, 0, 5] == 0
    assert grid[0, :, 0].tolist() == [1, 0, 0, 0]
    assert grid_of(boxes((0, 1.0, 1.0, 0.0, 0.0, 0)), 2)[0, 3, 0] == 1, "the edge belongs to the last cell"


def test_scores_that_say_it_all_are_detections_in_the_right_place_and_cost_nothing() -> None:
    truth = boxes((1, 0.30, 0.80, 0.2, 0.4, 0), (0, 0.7, 0.2, 0.5, 0.3, 0))
    scores = said(grid_of(truth, 4), classes=3)
    found = detections(scores, 3)
    assert found.classes.tolist() == [0, 1]
    np.testing.assert_allclose(found.corners, [[0.45, 0.05, 0.95, 0.35], [0.2, 0.6, 0.4, 1.0]], atol=1e-3)
    assert (found.scores > 0.99).all()
    assert float(grid_loss(torch.from_numpy(scores), torch.from_numpy(truth), 3)) < 0.01
    assert Detection(3).evaluate(scores, truth).precision == {"0.5": 1.0, "0.5:0.95": 1.0}


def test_the_loss_is_that_of_the_formula() -> None:
    # One cell, all scores 0: every sigmoid is 1/2, both classes are equally likely.
    truth = torch.from_numpy(boxes((1, 0.25, 0.5, 0.25, 0.64, 0)))
    place = 0.25**2 + (0.5**0.5 - 0.5) ** 2 + (0.5**0.5 - 0.8) ** 2
    expected = np.log(2) + 5 * place + np.log(2)
    assert float(grid_loss(torch.zeros(1, 7), truth, 2)) == pytest.approx(expected, rel=1e-5)
    nothing = torch.from_numpy(boxes((-1, 0, 0, 0, 0, 0)))
    assert float(grid_loss(torch.zeros(1, 7), nothing, 2)) == pytest.approx(0.5 * np.log(2), rel=1e-5)


def test_a_worse_detection_of_the_same_thing_goes() -> None:
    places = np.array([[0, 0, 1, 1], [0, 0, 1, 0.9], [0, 0, 1, 0.9], [0.6, 0, 1.6, 1]], np.float32)
    stays = best_of_each_place(places, np.array([0.8, 0.9, 0.5, 0.7]), np.array([0, 0, 1, 0]))
    assert stays.tolist() == [False, True, True, True]


def test_useless_scores_find_nothing_and_are_no_error() -> None:
    scores = np.full((2, 4, 7), np.nan, np.float32)
    truth = np.repeat(boxes((1, 0.5, 0.5, 0.5, 0.5, 0)), 2, axis=0)
    assert Detection(2).evaluate(scores, truth).accuracy == 0.0


def test_only_square_grids_and_whole_pictures_fit_a_detector() -> None:
    assert Detection(2).problem(7) is None
    assert Detection(2).problem(7 * 16) is None
    assert "square grid" in str(Detection(2).problem(7 * 15))
    assert "10 classes" in str(Classification(10).problem(640))


def test_the_grid_detector_has_its_number_of_parameters_and_scores_every_cell() -> None:
    network = flatten(grid_detector.build(grid_detector.Parameters(), (3, 64, 64), 7))
    assert len(network.weights) == 98_375
    assert network.module(torch.zeros(2, 3, 64, 64)).shape == (2, 64, 7)
    assert flatten(grid_detector.build(grid_detector.Parameters(cells=4), (32, 32), 7)).layers[-1].outputs == 7 * 16
    with pytest.raises(ValueError, match="too small for 8 x 8 cells"):
        grid_detector.build(grid_detector.Parameters(), (28, 28), 7)


def draw(rng: np.random.Generator, file: Path) -> list[dict[str, Any]]:
    """A grey picture with one to three things apart from each other: filled squares (7), hollow ones (3)."""
    pixels = np.full((SIDE, SIDE), 60, np.uint8)
    things = []
    for corner in rng.permutation(4)[: rng.integers(1, 4)]:
        size = int(rng.integers(12, 19))
        left, top = (
            int(corner % 2) * 24 + rng.integers(0, 24 - size),
            int(corner // 2) * 24 + rng.integers(0, 24 - size),
        )
        kind = int(rng.choice([3, 7]))
        pixels[top : top + size, left : left + size] = 220
        if kind == 3:
            pixels[top + 3 : top + size - 3, left + 3 : left + size - 3] = 60
        things.append({"bbox": [int(left), int(top), size, size], "category_id": kind, "iscrowd": 0})
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)
    return things


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with pictures in COCO's layout: 240 to learn from, 40 to be tested on, one more without a box."""
    data = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for part, amount in (("train2017", 240), ("val2017", 40)):
        annotations: list[dict[str, Any]] = []
        images = [{"id": 5000, "file_name": "empty.png", "width": SIDE, "height": SIDE}]
        for number in range(amount):
            name = f"{number:012}.png"
            images.append({"id": number, "file_name": name, "width": SIDE, "height": SIDE})
            for thing in draw(rng, data / "coco" / part / name):
                annotations.append({"id": len(annotations), "image_id": number, **thing})
        raw = {"images": images, "annotations": annotations, "categories": [{"id": 7}, {"id": 3}]}
        (data / "coco" / "annotations").mkdir(exist_ok=True)
        (data / "coco" / "annotations" / f"instances_{part}.json").write_text(json.dumps(raw))
    return data


def detector(
    coco: Path, index: int = 0, devices: int = 1, rule: str = "backprop", model: str = "grid_detector"
) -> NodeSpec:
    given = {"size": SIDE, "colour": False}
    spec = node_spec(index, devices, task=TaskSpec("coco_folder", given, Chosen("iid"), data_dir=str(coco)))
    parameters = {"learning_rate": 0.02, "momentum": 0.9, "batch_size": 16}
    model_parameters = {"cells": 4, "width": 8} if model == "grid_detector" else {}
    return replace(
        spec, model=Chosen(model, model_parameters), rule=Chosen(rule, parameters if rule == "backprop" else {})
    )


def loaded(coco: Path, **given: Any) -> Task:
    source = registry.TASKS["coco_folder"]
    return source.load(read(source.Parameters, given), 0, str(coco))


def test_pictures_come_with_their_boxes_and_the_class_of_the_largest_thing(coco: Path) -> None:
    task = loaded(coco, size=24, train_samples=50)
    assert task.train_x.shape == (50, 3, 24, 24)
    assert len(task.test_y) == 40, "the picture without a box is left out"
    assert task.train_boxes is not None
    assert task.classes == 2
    assert set(np.unique(task.train_y)) == {0, 1}
    np.testing.assert_array_equal(main_classes(task.train_boxes), task.train_y)
    whole = loaded(coco, size=SIDE, colour=False)
    assert whole.train_boxes is not None
    _, column, row, width, height, _ = whole.train_boxes[0, 0] * SIDE
    edge = whole.train_x[0, round(row - height / 2) :, round(column - width / 2) :]
    assert (edge[0, : round(width)] == 220).all()
    assert edge[0, round(width)] == 60 if round(width) < edge.shape[1] else True


def test_keeping_one_class_keeps_its_boxes_and_the_pictures_that_have_one(coco: Path) -> None:
    task = loaded(coco, size=24).restricted((1,))
    assert task.train_boxes is not None
    assert task.objective == Detection(1)
    assert set(np.unique(task.train_boxes[..., 0])) == {-1, 0}
    assert (task.train_boxes[..., 0] == 0).any(axis=1).all()
    assert 0 < len(task.train_y) < 240
    fewer = task.sharing(10, 0)
    assert fewer.train_boxes is not None
    assert len(fewer.train_boxes) == len(fewer.train_y) == len(task.train_y) - 10


def test_a_detector_learns_where_things_are_and_which(coco: Path) -> None:
    learner = build(detector(coco))
    before = learner.evaluate().accuracy
    learner.train(300, 0.0, np.random.default_rng(0))
    after = learner.evaluate()
    assert before < 0.05
    assert after.precision["0.5"] > 0.6
    assert 0.2 < after.accuracy == after.precision["0.5:0.95"] < after.precision["0.5"]


def test_pictures_sent_raw_are_learned_from_with_their_boxes(coco: Path) -> None:
    device, coordinator = build(detector(coco, 0, 4)), build(detector(coco, -1, 4))
    x, y = device.raw(0, 60)
    assert y.shape[0] == 60
    coordinator.take(x, y)
    assert coordinator.samples(0.0) == 60
    device.train(4, 0.0, np.random.default_rng(0))
    coordinator.train(4, 0.0, np.random.default_rng(0))
    np.testing.assert_array_equal(coordinator.weights(), device.weights())
    for wrong in (y[:, :, :5], y[:, :1], y.astype(np.float64), y + np.float32(0.5), y * np.float32(np.nan)):
        with pytest.raises(ValueError, match="boxes"):
            coordinator.take(x, wrong)


def test_what_cannot_detect_is_refused_by_name(coco: Path) -> None:
    with pytest.raises(ValueError, match="rule lls: learns classes, not detection; rules that can: backprop"):
        build(detector(coco, rule="lls"))
    with pytest.raises(ValueError, match="a detector gives no probabilities"):
        build(detector(coco)).predict(np.zeros((1, SIDE, SIDE), np.uint8))
    with pytest.raises(ValueError, match="model grid_detector: the task has 10 classes, the model 40 scores"):
        build(replace(node_spec(), model=Chosen("grid_detector", {"cells": 2})))


def test_a_model_of_one_set_of_scores_is_a_grid_of_one_cell(coco: Path) -> None:
    learner = build(detector(coco, model="mlp"))
    assert learner.network.classes == 7
    learner.train(3, 0.0, np.random.default_rng(0))
    assert 0 <= learner.evaluate().accuracy <= 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"images": None}, "not COCO's format: TypeError"),
        ({"categories": [{"id": 3}]}, "not COCO's format: ValueError"),
        ({"annotations": []}, "no picture has a box"),
        ({"annotations": [{"image_id": 99, "bbox": [0, 0, 1, 1], "category_id": 3}]}, "KeyError: 99"),
        ({"annotations": [{"image_id": 0, "bbox": [0, 0, 1], "category_id": 3}]}, "not enough values"),
        ({"images": [{"id": 0, "file_name": "../../x.png", "width": 9, "height": 9}]}, "must lead to below"),
    ],
)
def test_a_file_that_is_not_cocos_is_named(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    raw: dict[str, Any] = {
        "images": [{"id": 0, "file_name": "a.png", "width": 9, "height": 9}],
        "annotations": [{"image_id": 0, "bbox": [0, 0, 4, 4], "category_id": 7}],
        "categories": [{"id": 3}, {"id": 7}],
    }
    (tmp_path / "coco" / "annotations").mkdir(parents=True)
    (tmp_path / "coco" / "annotations" / "instances_train2017.json").write_text(json.dumps({**raw, **change}))
    with pytest.raises(DataUnreadableError, match=says):
        loaded(tmp_path)


def test_pictures_and_annotations_that_are_not_there_are_named(tmp_path: Path) -> None:
    (tmp_path / "coco" / "annotations").mkdir(parents=True)
    with pytest.raises(DataNotFoundError, match=r"no file .*instances_train2017\.json; name the parts"):
        loaded(tmp_path)
    raw = {
        "images": [{"id": 0, "file_name": "a.png", "width": 9, "height": 9}],
        "annotations": [{"image_id": 0, "bbox": [0, 0, 4, 4], "category_id": 7}],
        "categories": [{"id": 7}],
    }
    (tmp_path / "coco" / "annotations" / "instances_train2017.json").write_text(json.dumps(raw))
    with pytest.raises(DataNotFoundError, match=r"no picture a\.png \(looked for"):
        loaded(tmp_path)
