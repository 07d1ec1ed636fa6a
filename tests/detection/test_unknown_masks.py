"""Objects whose mask is unknown count for boxes alone, in the loss and in the scores."""

import numpy as np
import pytest
import torch

from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.masks import encode_mask
from rethink_ray.detection.reference_scoring import score_by_pycocotools
from rethink_ray.detection.scoring import Detection, GroundTruth, score
from rethink_ray.spec.recipe import InitSpec
from tests.detection.tiny_detectors import pictures, targets, tiny


def _losses(known: list[bool] | None, fill: int) -> dict[str, float]:
    """Losses of two pictures; ``fill`` is what the mask of each first object holds."""
    detector = build_detector(tiny("mask_rcnn"), InitSpec(), 3, seed=0)
    batch = targets()
    for target in batch:
        target["masks"][0] = fill
        if known is not None:
            target["has_mask"] = torch.tensor(known)
    losses = detector.losses(pictures(), batch, seed=0, step=0)
    return {name: loss.item() for name, loss in losses.items()}


def test_the_loss_of_masks_leaves_out_objects_whose_mask_is_unknown() -> None:
    unknown, other = _losses([False, True], 0), _losses([False, True], 1)
    assert unknown["loss_mask"] == other["loss_mask"] > 0
    assert _losses(None, 0)["loss_mask"] != _losses(None, 1)["loss_mask"]


def test_boxes_are_learned_whether_or_not_a_mask_is_known() -> None:
    known, unknown = _losses([True, True], 1), _losses([False, True], 1)
    assert known["loss_mask"] == _losses(None, 1)["loss_mask"] != unknown["loss_mask"]
    del known["loss_mask"], unknown["loss_mask"]
    assert known == unknown


def test_a_batch_without_a_known_mask_has_no_loss_of_masks() -> None:
    assert _losses([False, False], 1)["loss_mask"] == 0


def _square(x: int, side: int) -> dict[str, object]:
    mask = np.zeros((60, 60), np.uint8)
    mask[10 : 10 + side, x : x + side] = 1
    return encode_mask(mask)


def test_what_is_found_inside_an_unknown_mask_is_neither_right_nor_wrong() -> None:
    """The known object's mask is found; of the other, a corner of its box."""
    boxes = np.array([[2, 10, 22, 30], [30, 10, 50, 30]], np.float64)
    truth = GroundTruth(
        image_id=1,
        boxes_xyxy=boxes,
        labels=np.array([1, 1]),
        is_crowd=np.array([False, False]),
        area=np.array([400.0, 400.0]),
        masks=[_square(2, 20), _square(30, 20)],
        has_mask=np.array([True, False]),
    )
    seen = Detection(
        image_id=1,
        boxes_xyxy=boxes,
        scores=np.array([0.8, 0.9]),
        labels=np.array([1, 1]),
        masks=[_square(2, 20), _square(30, 6)],
    )
    scores = score([truth], [seen], 1)
    assert scores["ap"] == pytest.approx(100)
    assert scores["mask_ap"] == pytest.approx(100)
    assert score_by_pycocotools([truth], [seen], 1) == pytest.approx(scores, nan_ok=True)
