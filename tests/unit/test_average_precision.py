"""Average precision: worked examples, and COCO's own code on random scenes."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO  # type: ignore[import-untyped]  # it ships no types
from pycocotools.cocoeval import COCOeval  # type: ignore[import-untyped]  # it ships no types

from node_image.average_precision import Detections, average_precision, overlaps
from node_image.data.boxes import Boxes, corners, padded


def found(*rows: tuple[int, int, float, float, float, float, float]) -> Detections:
    """Rows of picture, class, score, left, top, right, bottom."""
    table = np.array(rows, np.float64).reshape(-1, 7)
    return Detections(
        table[:, 0].astype(np.int64),
        table[:, 1].astype(np.int64),
        table[:, 2].astype(np.float32),
        table[:, 3:].astype(np.float32),
    )


def pictures(*of_each: list[tuple[float, ...]]) -> Boxes:
    """Rows of class, left, top, right, bottom, crowd for each picture."""
    rows = []
    for those in of_each:
        kind, left, top, right, bottom, crowd = np.array(those, np.float32).reshape(-1, 6).T
        rows.append(np.stack([kind, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top, crowd], axis=1))
    return padded(rows)


HERE, THERE = (0.0, 0.0, 0.2, 0.2), (0.5, 0.5, 0.8, 0.9)


def test_overlap_is_the_common_part_of_the_union() -> None:
    boxes = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 6, 6], [0, 0, 4, 4]], np.float32)
    single = np.zeros(4, np.bool_)
    np.testing.assert_allclose(overlaps(boxes[:1], boxes, single), [[1, 1 / 7, 0, 4 / 16]])
    np.testing.assert_allclose(overlaps(boxes[:1], boxes, ~single), [[1, 1 / 4, 0, 1]])


def test_everything_found_is_one_and_nothing_found_is_nought() -> None:
    truth = pictures([(0, *HERE, 0), (1, *THERE, 0)], [(1, *HERE, 0)])
    everything = found((0, 0, 0.9, *HERE), (0, 1, 0.8, *THERE), (1, 1, 0.7, *HERE))
    np.testing.assert_allclose(average_precision(everything, truth), 1.0)
    np.testing.assert_array_equal(average_precision(found(), truth), 0.0)
    assert np.isnan(average_precision(everything, pictures([], []))).all()


def test_a_worked_example() -> None:
    # Two things; found: right, wrong, right by falling score. Precision 1 up to recall 0.5 (51 of the 101 recalls),
    # then 2/3 up to recall 1 (50 of them).
    truth = pictures([(0, *HERE, 0), (0, *THERE, 0)])
    three = found((0, 0, 0.9, *HERE), (0, 0, 0.8, 0.3, 0.3, 0.4, 0.4), (0, 0, 0.7, *THERE))
    np.testing.assert_allclose(average_precision(three, truth), (51 + 50 * 2 / 3) / 101)


def test_a_thing_is_found_once() -> None:
    truth = pictures([(0, *HERE, 0), (0, *THERE, 0)])
    twice = found((0, 0, 0.9, *HERE), (0, 0, 0.8, *HERE), (0, 0, 0.7, *THERE))
    np.testing.assert_allclose(average_precision(twice, truth), (51 + 50 * 2 / 3) / 101)


def test_another_class_or_another_picture_is_not_the_thing() -> None:
    truth = pictures([(0, *HERE, 0)], [(1, *THERE, 0)])
    astray = found((1, 0, 0.9, *HERE), (0, 1, 0.9, *THERE), (0, 1, 0.9, *HERE))
    np.testing.assert_array_equal(average_precision(astray, truth), 0.0)


def test_a_box_half_right_counts_at_low_thresholds_only() -> None:
    truth = pictures([(0, 0.0, 0.0, 0.5, 0.5, 0)])
    shifted = found((0, 0, 0.9, 0.0, 0.0, 0.5, 0.36))  # overlap 0.72
    assert average_precision(shifted, truth).tolist() == [1.0] * 5 + [0.0] * 5


def test_what_lies_in_a_crowd_is_neither_right_nor_wrong() -> None:
    truth = pictures([(0, *HERE, 0), (0, 0.4, 0.4, 1.0, 1.0, 1)])
    crowd = found((0, 0, 0.9, 0.5, 0.5, 0.6, 0.6), (0, 0, 0.8, 0.7, 0.7, 0.8, 0.8), (0, 0, 0.7, *HERE))
    np.testing.assert_allclose(average_precision(crowd, truth), 1.0)
    alone = found((0, 0, 0.9, 0.2, 0.2, 0.35, 0.35), (0, 0, 0.7, *HERE))
    assert (average_precision(alone, truth) < 1).all()


def scene(seed: int) -> tuple[Boxes, Detections]:
    """Random things in eight pictures, many of them found roughly, others found where nothing is."""
    rng = np.random.default_rng(seed)
    truth: list[list[tuple[float, ...]]] = []
    rows = []
    for picture in range(8):
        those: list[tuple[float, ...]] = []
        for _ in range(rng.integers(0, 5)):
            left, top, width, height = rng.uniform(0.05, 0.4, 4)
            kind, crowd = int(rng.integers(3)), float(rng.random() < 0.15)
            those.append((kind, left, top, left + width, top + height, crowd))
            for _ in range(rng.integers(0, 3)):
                blur = rng.normal(0, 0.03, 4)
                place = np.array([left, top, left + width, top + height]) + blur
                place[2:] = np.maximum(place[2:], place[:2] + 0.01)  # COCO leaves boxes out that are inside out
                rows.append((picture, kind, round(rng.random(), 1), *place))
        for _ in range(rng.integers(0, 3)):
            left, top, width, height = rng.uniform(0.05, 0.4, 4)
            rows.append((picture, int(rng.integers(3)), rng.random(), left, top, left + width, top + height))
        truth.append(those)
    return pictures(*truth), found(*rows)


def by_coco(truth: Boxes, detections: Detections) -> float:
    """Mean average precision by COCO's own code, in pictures of 1000 x 1000 pixels."""
    annotations: list[dict[str, object]] = []
    for picture, boxes in enumerate(truth):
        for box in boxes[boxes[:, 0] >= 0].astype(np.float64):
            (left, top), (width, height) = (box[1:3] - box[3:5] / 2) * 1000, box[3:5] * 1000
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": picture,
                    "category_id": int(box[0]),
                    "bbox": [left, top, width, height],
                    "area": width * height,
                    "iscrowd": int(box[5]),
                }
            )
    results = []
    for picture, kind, score, place in zip(
        detections.pictures, detections.classes, detections.scores, detections.corners.astype(np.float64), strict=True
    ):
        left, top, right, bottom = place * 1000
        results.append(
            {
                "image_id": int(picture),
                "category_id": int(kind),
                "score": float(score),
                "bbox": [left, top, right - left, bottom - top],
            }
        )
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": picture} for picture in range(len(truth))],
            "categories": [{"id": kind} for kind in range(3)],
            "annotations": annotations,
            "info": {},
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, -1]
    return float(precision[precision > -1].mean())


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32))
def test_it_is_what_cocos_own_code_finds(seed: int) -> None:
    truth, detections = scene(seed)
    single = (truth[..., 0] >= 0) & (truth[..., 5] == 0)
    if len(detections.scores) and single.any():
        ours = float(average_precision(detections, truth).mean())
        assert ours == pytest.approx(by_coco(truth, detections), abs=1e-6)


def test_corners_are_half_the_sides_from_the_middle() -> None:
    middles = np.array([[0.5, 0.4, 0.2, 0.6]], np.float32)
    np.testing.assert_allclose(corners(middles), [[0.4, 0.1, 0.6, 0.7]], atol=1e-7)
