"""``voc_ap50`` and ``voc07_ap50`` are the VOC devkit's."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from rethink_ray.detection.scoring import Detection, GroundTruth, score
from rethink_ray.detection.voc_scoring import score_voc

Box = tuple[int, int, int, int]
LARGE: Box = (100, 100, 200, 200)
SMALL_INSIDE: Box = (140, 140, 160, 160)
OBJECT: Box = (0, 0, 40, 40)
OTHER: Box = (300, 0, 340, 40)


def truth(
    boxes: Sequence[Box], difficult: Sequence[int] = (), image_id: int = 1, label: int = 1
) -> GroundTruth:
    """Objects of one class; ``difficult`` numbers those that are, from 0."""
    array = np.array(boxes, np.float64).reshape(-1, 4)
    return GroundTruth(
        image_id=image_id,
        boxes_xyxy=array,
        labels=np.full(len(array), label),
        is_crowd=np.isin(np.arange(len(array)), difficult),
        area=np.prod(array[:, 2:] - array[:, :2], axis=1),
    )


def seen(boxes: Sequence[Box], image_id: int = 1, label: int = 1) -> Detection:
    """Detections of one class, best first: scores 0.9, 0.8 ..."""
    array = np.array(boxes, np.float64).reshape(-1, 4)
    return Detection(
        image_id=image_id,
        boxes_xyxy=array,
        scores=0.9 - 0.1 * np.arange(len(array)),
        labels=np.full(len(array), label),
    )


def test_a_small_box_inside_a_difficult_object_is_wrong_where_a_crowd_would_hide_it() -> None:
    objects, detections = [truth([OBJECT, LARGE], [1])], [seen([SMALL_INSIDE, OBJECT])]
    assert score_voc(objects, detections, 1) == pytest.approx({"voc_ap50": 50, "voc07_ap50": 50})
    assert score(objects, detections, 1)["ap50"] == pytest.approx(100)


def test_detections_of_a_difficult_object_count_neither_as_right_nor_as_wrong() -> None:
    objects = [truth([OBJECT, LARGE], [1])]
    twice = seen([LARGE, LARGE, OBJECT])
    assert score_voc(objects, [twice], 1)["voc_ap50"] == pytest.approx(100)


def test_a_difficult_object_that_is_missed_costs_nothing() -> None:
    objects = [truth([OBJECT, LARGE], [1])]
    assert score_voc(objects, [seen([OBJECT])], 1)["voc_ap50"] == pytest.approx(100)


def test_the_second_detection_of_an_object_is_wrong() -> None:
    """Right, wrong, right of two objects: precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1."""
    numbers = score_voc([truth([OBJECT, OTHER])], [seen([OBJECT, OBJECT, OTHER])], 1)
    assert numbers["voc_ap50"] == pytest.approx(100 * (1 / 2 * 1 + 1 / 2 * 2 / 3))
    assert numbers["voc07_ap50"] == pytest.approx(100 * (6 * 1 + 5 * 2 / 3) / 11)


def test_a_detection_belongs_to_the_object_it_overlaps_most_even_if_that_is_taken() -> None:
    """COCO would give the second detection the other object."""
    objects = [truth([(0, 0, 100, 100), (20, 0, 120, 100)])]
    detections = [seen([(0, 0, 100, 100), (2, 0, 102, 100)])]
    assert score_voc(objects, detections, 1)["voc_ap50"] == pytest.approx(50)
    assert score(objects, detections, 1)["ap50"] == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize(("width", "expected"), [(20, 100), (19, 0)])
def test_half_an_object_is_enough(width: int, expected: float) -> None:
    """20 x 40 of 40 x 40 pixels."""
    numbers = score_voc([truth([OBJECT])], [seen([(0, 0, width, 40)])], 1)
    assert numbers["voc_ap50"] == pytest.approx(expected)


def test_scores_are_sorted_over_all_images() -> None:
    """Image 2 has no object; its detection (0.9) comes before the right one of image 1 (0.8)."""
    objects = [truth([OBJECT]), truth([], image_id=2)]
    detections = [seen([OTHER, OBJECT]), seen([OBJECT], image_id=2)]
    assert score_voc(objects, detections, 1)["voc_ap50"] == pytest.approx(100 / 3)


def test_categories_count_alike_and_those_without_an_object_do_not_count() -> None:
    objects = [truth([OBJECT]), truth([OTHER], image_id=2, label=2), truth([LARGE], [0], 3, 3)]
    detections = [seen([OBJECT]), seen([OBJECT], 2, 2), seen([OBJECT], 3, 3), seen([LARGE], 4, 4)]
    objects.append(truth([], image_id=4))
    assert score_voc(objects, detections, 4)["voc_ap50"] == pytest.approx(50)


def test_without_an_object_there_is_no_score() -> None:
    numbers = score_voc([truth([LARGE], [0])], [seen([LARGE])], 1)
    assert all(math.isnan(value) for value in numbers.values())
    assert score_voc([truth([OBJECT])], [], 1) == {"voc_ap50": 0, "voc07_ap50": 0}


def test_there_is_no_limit_to_the_detections_of_an_image() -> None:
    """The 120th detection is the right one; COCO counts 100."""
    wrong = [OTHER] * 119
    detections = [seen([*wrong, OBJECT])]
    numbers = score_voc([truth([OBJECT])], detections, 1)
    assert numbers["voc_ap50"] == pytest.approx(100 / 120)
    assert score([truth([OBJECT])], detections, 1)["ap50"] == pytest.approx(0)


# the definition once more: pixels from 1, both corners in the box, one detection at a time


def devkit(
    objects: Sequence[GroundTruth], detections: Sequence[Detection], label: int
) -> tuple[float, float] | None:
    """The area under the curve and the mean of 11 precisions of one class."""
    real = {
        g.image_id: [
            (box, bool(hard), False)
            for box, name, hard in zip(pixels_of(g.boxes_xyxy), g.labels, g.is_crowd, strict=True)
            if name == label
        ]
        for g in objects
    }
    num_objects = sum(not hard for boxes in real.values() for _, hard, _ in boxes)
    if not num_objects:
        return None
    rows = [
        (float(value), d.image_id, box)
        for d in detections
        for box, name, value in zip(pixels_of(d.boxes_xyxy), d.labels, d.scores, strict=True)
        if name == label
    ]
    curve, right, wrong = [(0.0, 0.0)], 0, 0
    for _, image_id, box in sorted(rows, key=lambda row: -row[0]):
        boxes = real[image_id]
        shares = [shared_pixels(box, other) for other, _, _ in boxes]
        best = max(range(len(boxes)), key=lambda i: shares[i], default=None)
        if best is None or shares[best] < 0.5:
            wrong += 1
        elif not boxes[best][1]:
            taken = boxes[best][2]
            right, wrong = right + (not taken), wrong + taken
            boxes[best] = (boxes[best][0], False, True)
        curve.append((right / num_objects, right / max(right + wrong, 1)))
    area = sum(
        (curve[i][0] - curve[i - 1][0]) * max(p for _, p in curve[i:]) for i in range(1, len(curve))
    )
    points = [max((p for r, p in curve if r >= tenth / 10), default=0.0) for tenth in range(11)]
    return 100 * area, 100 * sum(points) / 11


def pixels_of(boxes_xyxy: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[Box]:
    """Continuous corners as the first and the last pixel, counted from 1."""
    return [(int(x0) + 1, int(y0) + 1, int(x1), int(y1)) for x0, y0, x1, y1 in boxes_xyxy]


def shared_pixels(first: Box, second: Box) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0]) + 1
    height = min(first[3], second[3]) - max(first[1], second[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (first, second)]
    return width * height / (sum(areas) - width * height)


def random_case(seed: int) -> tuple[list[GroundTruth], list[Detection]]:
    """Boxes on whole pixels in 12 images: difficult ones, empty images, tied scores, 3 classes."""
    rng = np.random.default_rng(seed)
    objects, detections = [], []
    for image_id in rng.choice(1000, 12, replace=False).tolist():
        num = int(rng.integers(0, 6))
        corner = rng.integers(0, 80, (num, 2))
        boxes = np.concatenate([corner, corner + rng.integers(5, 60, (num, 2))], axis=1)
        labels = rng.integers(1, 4, num)
        objects.append(
            GroundTruth(
                image_id=image_id,
                boxes_xyxy=boxes.astype(np.float64),
                labels=labels,
                is_crowd=rng.random(num) < 0.3,
                area=np.ones(num),
            )
        )
        near = np.repeat(boxes, 4, axis=0) + rng.integers(-6, 7, (4 * num, 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        far = np.concatenate([corner // 2, corner // 2 + 20], axis=1)
        detections.append(
            Detection(
                image_id=image_id,
                boxes_xyxy=np.concatenate([near, far]).astype(np.float64),
                scores=rng.integers(1, 20, 5 * num) / 20,
                labels=np.concatenate([np.repeat(labels, 4), labels]),
            )
        )
    return objects, detections


@pytest.mark.parametrize("seed", range(20))
def test_random_detections_score_as_the_definition_says(seed: int) -> None:
    objects, detections = random_case(seed)
    expected = [pair for label in (1, 2, 3) if (pair := devkit(objects, detections, label))]
    numbers = score_voc(objects, detections, 3)
    area, points = np.mean(expected, axis=0)
    assert numbers == pytest.approx({"voc_ap50": area, "voc07_ap50": points}, abs=1e-9)
    assert 5 < numbers["voc_ap50"] < 95
