"""torchvision's detectors as recipes: its schedules on COCO, and batches that fit their norms."""

from typing import Any

import pytest

from rethink_ray.spec.check import check_recipe
from rethink_ray.spec.detector import DetectorSpec, Norm, UpperNorm
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.spec.settings import with_settings
from rethink_ray.spec.torchvision_recipes import TORCHVISION_RECIPES
from tests.spec.refusals import refused

COCO = {"init.source": "detector", "init.frozen": "none"}
FROZEN = {"detector.norm": "frozen_bn", "batch_size": 8}
WEIGHTS = {
    "retinanet_r50_v1": "RetinaNet_ResNet50_FPN_Weights.COCO_V1",
    "fcos_r50_v1": "FCOS_ResNet50_FPN_Weights.COCO_V1",
    "faster_rcnn_r50_v1": "FasterRCNN_ResNet50_FPN_Weights.COCO_V1",
    "mask_rcnn_r50_v1": "MaskRCNN_ResNet50_FPN_Weights.COCO_V1",
    "keypoint_rcnn_r50_v1": "KeypointRCNN_ResNet50_FPN_Weights.COCO_V1",
    "retinanet_r50_v2": "RetinaNet_ResNet50_FPN_V2_Weights.COCO_V1",
    "faster_rcnn_r50_v2": "FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1",
    "mask_rcnn_r50_v2": "MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1",
}
"""Recipe -> the COCO weights of its network."""


@pytest.mark.parametrize("name", TORCHVISION_RECIPES)
def test_a_recipe_of_torchvision_breaks_no_rule(name: str) -> None:
    check_recipe(build_recipe(name), name)


@pytest.mark.parametrize("name", TORCHVISION_RECIPES)
def test_a_recipe_can_start_from_its_coco_weights(name: str) -> None:
    settings = COCO | {"init.weights": WEIGHTS[name]}
    check_recipe(with_settings(build_recipe(name), settings, "test"), name)


@pytest.mark.parametrize(
    ("name", "epochs", "drops"),
    [
        ("faster_rcnn_r50_v1", 26, [16, 22]),
        ("retinanet_r50_v2", 26, [16, 22]),
        ("keypoint_rcnn_r50_v1", 26, [26 * 36 / 46, 26 * 43 / 46]),
        ("mask_rcnn_r50_v2", 400, [352, 384]),
    ],
)
def test_a_schedule_has_torchvisions_epochs_of_coco(
    name: str, epochs: int, drops: list[float]
) -> None:
    """An epoch has 117,266 images. Keypoint R-CNN has as many updates as the others."""
    recipe = build_recipe(name)
    schedule, [length] = recipe.schedule, recipe.schedule.lengths
    per_epoch = 117_266 / recipe.batch_size
    steps = schedule.steps(length)
    assert steps / per_epoch == pytest.approx(epochs, abs=0.02)
    reached = [(steps - point) / per_epoch for point in schedule.points(length)]
    assert reached == pytest.approx(drops, abs=0.02)


def test_the_second_detectors_are_not_trained_on_few_images_at_once() -> None:
    small = with_settings(build_recipe("faster_rcnn_r50_v2"), {"batch_size": 8}, "test")
    with refused("64 images normalised together", ["norm_batch", "64", "frozen_bn"]):
        check_recipe(small, "study.yaml")


@pytest.mark.parametrize(
    ("name", "head_norm"),
    [("retinanet_r50_v2", "gn"), ("faster_rcnn_r50_v2", "frozen_bn")],
)
def test_their_loaded_norms_can_be_kept_with_few_images(name: str, head_norm: str) -> None:
    settings: dict[str, Any] = COCO | FROZEN | {"detector.head_norm": head_norm}
    kept = with_settings(build_recipe(name), settings | {"init.weights": WEIGHTS[name]}, "test")
    check_recipe(kept, "study.yaml")


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
