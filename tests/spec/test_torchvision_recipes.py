"""torchvision's detectors as recipes: its schedules on COCO, and batches that fit their norms."""

from typing import Any

import pytest

from rethink_ray.spec.check import check_recipe
from rethink_ray.spec.detector import DetectorSpec, Norm, UpperNorm
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.spec.settings import with_settings
from rethink_ray.spec.torchvision_recipes import TORCHVISION_RECIPES
from tests.spec.refusals import refused

FROZEN = {"detector.norm": "frozen_bn", "batch_size": 8}
LOADED = {"init.source": "direct", "init.weights": None, "direct.norm": "bn"}


@pytest.mark.parametrize("name", TORCHVISION_RECIPES)
def test_a_recipe_of_torchvision_breaks_no_rule(name: str) -> None:
    check_recipe(build_recipe(name), name)


@pytest.mark.parametrize(
    ("name", "steps", "drops"),
    [
        # 117,266 images x 26 / 16, and epochs 16 and 22 of them
        ("faster_rcnn_r50_v1", 190_557, (117_266, 161_241)),
        ("retinanet_r50_v2", 190_557, (117_266, 161_241)),
        # as many updates, and epochs 36 and 43 of 46
        ("keypoint_rcnn_r50_v1", 190_557, (149_132, 178_129)),
        # 117,266 images x 400 / 64, and epochs 352 and 384 of them
        ("mask_rcnn_r50_v2", 732_912, (644_963, 703_596)),
    ],
)
def test_1x_is_the_whole_schedule_on_coco(name: str, steps: int, drops: tuple[int, int]) -> None:
    schedule = build_recipe(name).schedule
    assert schedule.lengths == (1.0,)
    assert schedule.steps(1.0) == steps
    assert tuple(steps - point for point in schedule.points(1.0)) == drops


def test_the_second_detectors_are_not_trained_on_few_images_at_once() -> None:
    small = with_settings(build_recipe("faster_rcnn_r50_v2"), {"batch_size": 8}, "test")
    with refused("64 images normalised together", ["norm_batch", "64", "frozen_bn"]):
        check_recipe(small, "study.yaml")


@pytest.mark.parametrize(
    ("name", "head_norm"),
    [("retinanet_r50_v2", "gn"), ("faster_rcnn_r50_v2", "frozen_bn")],
)
def test_their_loaded_norms_can_be_kept_with_few_images(name: str, head_norm: str) -> None:
    kept: dict[str, Any] = FROZEN | LOADED | {"detector.head_norm": head_norm}
    check_recipe(with_settings(build_recipe(name), kept, "test"), "study.yaml")


@pytest.mark.parametrize(
    ("norm", "upper", "new", "expected"),
    [
        ("frozen_bn", ("same", None), "bn", ("none", None)),
        ("frozen_bn", ("frozen_bn", "none"), "bn", ("same", "none")),
        ("frozen_bn", ("gn", "frozen_bn"), "sync_bn", ("gn", "same")),
        ("sync_bn", ("same", None), "bn", ("same", None)),
        ("frozen_bn", ("frozen_bn", None), "frozen_bn", ("frozen_bn", None)),
    ],
)
def test_norms_above_stand_where_they_stood_under_another_norm(
    norm: Norm,
    upper: tuple[UpperNorm, UpperNorm | None],
    new: Norm,
    expected: tuple[UpperNorm, UpperNorm | None],
) -> None:
    spec = DetectorSpec(norm=norm, head_norm=upper[0], neck_norm=upper[1]).with_norm(new)
    assert (spec.norm, spec.head_norm, spec.neck_norm) == (new, *expected)
