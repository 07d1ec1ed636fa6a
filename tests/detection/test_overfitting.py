"""Every family learns eight pictures by heart: all of it, from pixels to COCO's numbers, works."""

import logging
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from rethink_ray.data.splits import open_split
from rethink_ray.spec.recipe import WITH_KEYPOINTS, WITH_MASKS, Family
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.spec.regime import DataSpec, ShapesSpec
from rethink_ray.spec.settings import with_settings
from tests.builders import micro_trial
from tests.training.runs import climb

_log = logging.getLogger(__name__)

EIGHT = DataSpec(dataset="shapes", shapes=ShapesSpec(train=8, val=4, test=4))
UNCOVERED = DataSpec(dataset="shapes", shapes=ShapesSpec(train=8, val=4, test=4, seed=74))
"""Eight pictures, 17 objects, drawn so that no keypoint lies outside its box, covered by another
object, as for 3 of the 18 objects above: no heatmap over a box can learn such a one."""
BY_HEART = {
    "augment.flip": 0.0,
    "optimizer": {"name": "adamw", "lr": 2e-3},
    "schedule": {"unit": 100, "lengths": [8.0], "warmup": 20},
    "schedule.decay.before_end": [2.0, 0.5],
}
"""800 updates, all eight pictures in each."""


@pytest.mark.slow
@pytest.mark.parametrize("family", get_args(Family))
def test_a_detector_learns_eight_pictures_by_heart(family: Family, tmp_path: Path) -> None:
    recipe = with_settings(build_recipe(f"tiny_{family}"), BY_HEART, "by heart")
    data = UNCOVERED if family in WITH_KEYPOINTS else EIGHT

    [rung] = climb(micro_trial(recipe, data=data), tmp_path, (8.0,), splits=("train",))

    _log.info("%s: %s", family, dict(rung.metrics))
    assert rung.metrics["train/ap"] > 90
    if family in WITH_MASKS:
        assert rung.metrics["train/mask_ap"] > 80
    if family in WITH_KEYPOINTS:
        assert rung.metrics["train/keypoint_ap"] > 80


def test_the_keypoints_to_be_learnt_by_heart_lie_in_their_boxes() -> None:
    index = open_split(UNCOVERED, "train")

    reach = [
        _beyond_its_box(index.entry(i).boxes_xyxy, index.keypoints(i)) for i in index.image_ids
    ]

    assert sum(map(len, reach)) == 17
    assert np.concatenate(reach).max() <= 1.0  # px: of outlines that touch a pixel but lightly


def _beyond_its_box(
    boxes_xyxy: NDArray[np.float32], points: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """Of each object, by how many pixels its outermost keypoint lies outside its box."""
    assert points is not None
    low, high = boxes_xyxy[:, None, :2], boxes_xyxy[:, None, 2:]
    outside = np.maximum(low - points[..., :2], points[..., :2] - high).max(axis=-1)
    told: NDArray[np.float32] = np.where(points[..., 2] > 0, outside, 0.0)
    return told.max(axis=-1)
