"""Every family learns eight pictures by heart: all of it, from pixels to COCO's numbers, works."""

from pathlib import Path
from typing import get_args

import pytest

from rethink_ray.spec.recipe import WITH_KEYPOINTS, WITH_MASKS, Family
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.spec.regime import DataSpec, ShapesSpec
from rethink_ray.spec.settings import with_settings
from tests.builders import micro_trial
from tests.training.runs import climb

EIGHT = DataSpec(dataset="shapes", shapes=ShapesSpec(train=8, val=4, test=4))
BY_HEART = {
    "augment.flip": 0.0,
    "optimizer": {"name": "adamw", "lr": 2e-3},
    "schedule": {"unit": 100, "lengths": [8.0], "warmup": 20},
    "schedule.decay.before_end": [2.0, 0.5],
}
"""800 updates, all eight pictures in each."""
KEYPOINT_AP = 75
"""Not 80: 4 of the 18 objects have a keypoint outside their box, covered by another object, which
no heatmap over a box can learn. Measured 2026-11-22: 78.9, and 79.8 after 1,200 updates; the others
are off by 1 to 4 % of their object."""


@pytest.mark.slow
@pytest.mark.parametrize("family", get_args(Family))
def test_a_detector_learns_eight_pictures_by_heart(family: Family, tmp_path: Path) -> None:
    recipe = with_settings(build_recipe(f"tiny_{family}"), BY_HEART, "by heart")

    [rung] = climb(micro_trial(recipe, data=EIGHT), tmp_path, (8.0,), splits=("train",))

    assert rung.metrics["train/ap"] > 90
    if family in WITH_MASKS:
        assert rung.metrics["train/mask_ap"] > 80
    if family in WITH_KEYPOINTS:
        assert rung.metrics["train/keypoint_ap"] > KEYPOINT_AP
