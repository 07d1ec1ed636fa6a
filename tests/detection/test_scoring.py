"""Our 12 numbers are pycocotools' 12 numbers."""

import math

import numpy as np
import pytest

from rethink_ray.detection.reference_scoring import largest_difference, score_by_pycocotools
from rethink_ray.detection.scoring import Detection, GroundTruth, score
from rethink_ray.spec.metrics import BOX_METRICS


def truth(image_id: int, boxes: list[list[float]], labels: list[int]) -> GroundTruth:
    array = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return GroundTruth(
        image_id=image_id,
        boxes_xyxy=array,
        labels=np.array(labels, dtype=np.int64),
        is_crowd=np.zeros(len(labels), dtype=bool),
        area=(array[:, 2] - array[:, 0]) * (array[:, 3] - array[:, 1]),
    )


def found(
    image_id: int, boxes: list[list[float]], scores: list[float], labels: list[int]
) -> Detection:
    return Detection(
        image_id=image_id,
        boxes_xyxy=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        scores=np.array(scores, dtype=np.float64),
        labels=np.array(labels, dtype=np.int64),
    )


def random_case(
    seed: int, num_images: int = 12, num_categories: int = 4
) -> tuple[list[GroundTruth], list[Detection]]:
    """Boxes with crowds, empty images, unseen categories, tied scores and odd image ids."""
    rng = np.random.default_rng(seed)
    truths, detections = [], []
    for image_id in rng.choice(10_000, num_images, replace=False).tolist():
        num = int(rng.integers(0, 7))
        corner, side = rng.uniform(0, 300, (num, 2)), rng.uniform(4, 160, (num, 2))
        boxes = np.concatenate([corner, corner + side], axis=1)
        labels = rng.integers(1, num_categories, num)
        truths.append(
            GroundTruth(
                image_id=image_id,
                boxes_xyxy=boxes,
                labels=labels,
                is_crowd=rng.random(num) < 0.2,
                area=side.prod(axis=1) * rng.uniform(0.5, 1.0, num),
            )
        )
        copies = np.repeat(boxes, 3, axis=0)
        noisy = copies + rng.normal(0, 4, copies.shape)
        noisy[:, 2:] = np.maximum(noisy[:, 2:], noisy[:, :2] + 1)
        keep = rng.random(len(noisy)) < 0.7
        extra = rng.uniform(0, 200, (int(rng.integers(0, 130)), 2))
        noisy = np.concatenate([noisy[keep], np.concatenate([extra, extra + 40], axis=1)])
        guessed = np.concatenate([np.repeat(labels, 3)[keep], np.ones(len(extra), np.int64)])
        detections.append(
            Detection(
                image_id=image_id,
                boxes_xyxy=noisy,
                scores=np.round(rng.random(len(noisy)), 1),
                labels=guessed,
            )
        )
    return truths, detections


@pytest.mark.parametrize("seed", range(12))
def test_all_twelve_numbers_equal_pycocotools(seed: int) -> None:
    truths, detections = random_case(seed)

    numbers = score(truths, detections, 4)

    assert tuple(numbers) == BOX_METRICS
    reference = score_by_pycocotools(truths, detections, 4)
    assert tuple(reference) == BOX_METRICS
    np.testing.assert_allclose(list(numbers.values()), list(reference.values()), rtol=0, atol=1e-10)


def test_a_perfect_detector_scores_one_hundred_and_empty_bins_are_nan() -> None:
    boxes = [[10.0, 10.0, 60.0, 60.0]]  # 2500 square pixels: medium

    numbers = score([truth(1, boxes, [1])], [found(1, boxes, [0.9], [1])], 1)

    assert numbers["ap"] == pytest.approx(100)
    assert numbers["ap_m"] == pytest.approx(100)
    assert math.isnan(numbers["ap_s"])
    assert math.isnan(numbers["ar_l"])


def test_a_false_alarm_above_the_only_hit_halves_precision() -> None:
    boxes = [[10.0, 10.0, 60.0, 60.0]]
    wrong = found(1, [[200.0, 200.0, 250.0, 250.0], *boxes], [0.9, 0.8], [1, 1])

    assert score([truth(1, boxes, [1])], [wrong], 1)["ap50"] == pytest.approx(50)


def test_an_image_may_have_more_than_100_detections_over_its_categories() -> None:
    """300 categories, as on LVIS, each with an object that one detection finds."""
    labels = [*range(1, 301)]
    boxes = [[10.0 * (i % 20), 10.0 * (i // 20), 10.0 * (i % 20) + 8, 99.0] for i in range(300)]
    many = found(1, boxes, [1 - i / 1000 for i in range(300)], labels)

    numbers = score([truth(1, boxes, labels)], [many], 300)

    assert numbers["ap"] == pytest.approx(100)
    assert numbers["ar100"] == pytest.approx(100)


def test_only_the_best_100_detections_of_one_category_count_in_an_image() -> None:
    """Of 150 objects 100 can be found; those of another image are not affected."""
    boxes = [
        [20.0 * (i % 15), 20.0 * (i // 15), 20.0 * (i % 15) + 9, 20.0 * (i // 15) + 9]
        for i in range(150)
    ]
    scores = [1 - i / 1000 for i in range(150)]

    numbers = score([truth(1, boxes, [1] * 150)], [found(1, boxes, scores, [1] * 150)], 1)

    assert numbers["ar100"] == pytest.approx(100 * 100 / 150)


def test_images_without_objects_count_what_is_found_in_them() -> None:
    boxes = [[10.0, 10.0, 60.0, 60.0]]
    hit, alarm = found(5, boxes, [0.8], [1]), found(9, boxes, [0.9], [1])
    truths = [truth(5, boxes, [1]), truth(9, [], [])]

    assert score(truths, [hit], 1)["ap"] == pytest.approx(100)
    assert score(truths, [hit, alarm], 1)["ap"] == pytest.approx(50)


def test_finding_nothing_is_zero_and_nothing_to_find_is_nan() -> None:
    boxes = [[10.0, 10.0, 60.0, 60.0]]

    assert score([truth(1, boxes, [1])], [], 1)["ap"] == 0.0
    assert score([truth(1, boxes, [1])], [found(1, [], [], [])], 1)["ap"] == 0.0
    assert math.isnan(score([truth(1, [], [])], [found(1, boxes, [0.5], [1])], 1)["ap"])


def test_scoring_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    truths, detections = random_case(0)
    score(truths, detections, 4)

    assert capfd.readouterr() == ("", "")


def test_an_image_scored_twice_is_our_own_slip() -> None:
    image = truth(1, [], [])

    with pytest.raises(AssertionError, match="scored once"):
        score([image, image], [], 1)


def test_a_detector_that_finds_nothing_has_a_reference_too() -> None:
    boxes = [[10.0, 10.0, 60.0, 60.0]]
    nothing = [found(1, [], [], [])]

    reference = score_by_pycocotools([truth(1, boxes, [1])], nothing, 1)

    assert reference["ap"] == 0.0
    assert largest_difference(score([truth(1, boxes, [1])], nothing, 1), reference) == 0.0


def test_a_number_that_only_one_of_them_has_is_an_infinite_difference() -> None:
    assert largest_difference({"ap": 1.0, "ap_s": math.nan}, {"ap": 1.25, "ap_s": math.nan}) == 0.25
    assert largest_difference({"ap": math.nan}, {"ap": 0.0}) == math.inf
