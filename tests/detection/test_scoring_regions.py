"""Our numbers of masks and keypoints are pycocotools' numbers."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from rethink_ray.detection.masks import encode_mask
from rethink_ray.detection.reference_scoring import score_by_pycocotools
from rethink_ray.detection.scoring import (
    COCO_SIGMAS,
    Detection,
    GroundTruth,
    keypoint_sigmas,
    score,
)
from rethink_ray.spec.metrics import KEYPOINT_METRICS, MASK_METRICS

SIDE = 120


def disc(x: float, y: float, radius: float) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return ((columns - x) ** 2 + (rows - y) ** 2 <= radius**2).astype(np.uint8)


def box_of(mask: NDArray[np.uint8]) -> list[float]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]


def random_case(seed: int, num_keypoints: int) -> tuple[list[GroundTruth], list[Detection]]:
    """Discs with keypoints around them, crowds, images without objects, ties and false alarms."""
    rng = np.random.default_rng(seed)
    truths, detections = [], []
    for image_id in rng.choice(1000, 10, replace=False).tolist():
        num = int(rng.integers(0, 5))
        circles = np.column_stack([rng.uniform(20, 100, (num, 2)), rng.uniform(6, 45, num)])
        labels = rng.integers(1, 4, num)
        truths.append(truth_of(image_id, circles, labels, rng, num_keypoints))
        seen = np.repeat(circles, 3, axis=0)[rng.random(3 * num) < 0.8]
        seen = seen + rng.normal(0, 2, seen.shape)
        alarms = np.column_stack([rng.uniform(20, 100, (4, 2)), rng.uniform(6, 30, 4)])
        guesses = rng.integers(1, 4, len(seen) + 4)
        detections.append(
            detection_of(image_id, np.concatenate([seen, alarms]), guesses, rng, num_keypoints)
        )
    return truths, detections


def truth_of(
    image_id: int,
    circles: NDArray[np.float64],
    labels: NDArray[np.int64],
    rng: np.random.Generator,
    num_keypoints: int,
) -> GroundTruth:
    masks = [disc(*circle) for circle in circles]
    points = np.concatenate(
        [
            np.repeat(circles[:, None, :2], num_keypoints, axis=1)
            + rng.normal(0, 9, (len(circles), num_keypoints, 2)),
            rng.integers(0, 3, (len(circles), num_keypoints, 1)),
        ],
        axis=2,
    )
    points[points[..., 2] == 0] = 0.0
    return GroundTruth(
        image_id=image_id,
        boxes_xyxy=np.array([box_of(m) for m in masks]).reshape(-1, 4),
        labels=labels,
        is_crowd=rng.random(len(labels)) < 0.15,
        area=np.array([m.sum() for m in masks], np.float64),
        masks=[encode_mask(m) for m in masks],
        keypoints=points,
    )


def detection_of(
    image_id: int,
    circles: NDArray[np.float64],
    labels: NDArray[np.int64],
    rng: np.random.Generator,
    num_keypoints: int,
) -> Detection:
    masks = [disc(*circle) for circle in circles]
    points = np.repeat(circles[:, None, :2], num_keypoints, axis=1)
    points = points + rng.normal(0, 9, points.shape)
    return Detection(
        image_id=image_id,
        boxes_xyxy=np.array([box_of(m) for m in masks]).reshape(-1, 4),
        scores=np.round(rng.random(len(labels)), 1),
        labels=labels,
        masks=[encode_mask(m) for m in masks],
        keypoints=np.concatenate([points, np.ones((*points.shape[:2], 1))], axis=2),
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("num_keypoints", [5, 17])
def test_numbers_of_masks_and_keypoints_equal_pycocotools(seed: int, num_keypoints: int) -> None:
    truths, detections = random_case(seed, num_keypoints)

    numbers = score(truths, detections, 3)

    reference = score_by_pycocotools(truths, detections, 3)
    assert set(numbers) == set(reference)
    for names in (MASK_METRICS, KEYPOINT_METRICS):
        np.testing.assert_allclose(
            [numbers[name] for name in names],
            [reference[name] for name in names],
            rtol=0,
            atol=1e-10,
        )


def test_a_mask_of_half_the_object_fails_where_the_box_is_perfect() -> None:
    whole = np.zeros((SIDE, SIDE), np.uint8)
    whole[20:60, 20:60] = 1
    corner_cut = whole.copy()
    corner_cut[21:59, 20:58] = 0  # the frame that is left has the same box
    [box] = [box_of(whole)]
    assert box_of(corner_cut) == box
    truth = GroundTruth(
        image_id=1,
        boxes_xyxy=np.array([box]),
        labels=np.array([1]),
        is_crowd=np.array([False]),
        area=np.array([1600.0]),
        masks=[encode_mask(whole)],
    )
    found = Detection(
        image_id=1,
        boxes_xyxy=np.array([box]),
        scores=np.array([0.9]),
        labels=np.array([1]),
        masks=[encode_mask(corner_cut)],
    )

    numbers = score([truth], [found], 1)

    assert numbers["ap"] == pytest.approx(100)
    assert numbers["mask_ap"] == 0.0
    assert not any(name.startswith("keypoint_") for name in numbers)


def test_a_keypoint_off_by_its_sigma_has_the_similarity_of_a_pencil() -> None:
    """Area 1600, so s = 40; sigma 0.05 is 2 px; similarity exp(-d^2 / (2 s^2 (2 sigma)^2))."""
    distance = 40 * 0.1 * math.sqrt(-2 * math.log(0.62))  # similarity 0.62: passes 0.5 to 0.6
    point = np.array([[[30.0, 30.0, 2.0]]])
    truth = GroundTruth(
        image_id=1,
        boxes_xyxy=np.array([[10.0, 10.0, 50.0, 50.0]]),
        labels=np.array([1]),
        is_crowd=np.array([False]),
        area=np.array([1600.0]),
        keypoints=point,
    )
    found = Detection(
        image_id=1,
        boxes_xyxy=truth.boxes_xyxy,
        scores=np.array([0.9]),
        labels=np.array([1]),
        keypoints=point + np.array([distance, 0.0, 0.0]),
    )

    assert score([truth], [found], 1)["keypoint_ap"] == pytest.approx(100 * 3 / 10)


def test_average_precision_of_a_group_is_the_mean_over_its_categories() -> None:
    box = np.array([[10.0, 10.0, 60.0, 60.0]])
    truths = [
        GroundTruth(
            image_id=label,
            boxes_xyxy=box,
            labels=np.array([label]),
            is_crowd=np.array([False]),
            area=np.array([2500.0]),
        )
        for label in (1, 2, 3)
    ]
    hits = [
        Detection(image_id=n, boxes_xyxy=box, scores=np.array([0.9]), labels=np.array([n]))
        for n in (1, 2)
    ]

    numbers = score(truths, hits, 4, groups={"r": [4], "c": [2, 3], "f": [1]})

    assert numbers["ap_f"] == pytest.approx(100)
    assert numbers["ap_c"] == pytest.approx(50)
    assert math.isnan(numbers["ap_r"]), "category 4 has no object"


def test_seventeen_keypoints_are_cocos() -> None:
    assert keypoint_sigmas(17) == list(COCO_SIGMAS)
    assert keypoint_sigmas(5) == [0.05] * 5
    assert len(COCO_SIGMAS) == 17
