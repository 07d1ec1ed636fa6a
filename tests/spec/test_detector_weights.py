"""Whole detectors to start from: which names there are, and what is refused."""

from typing import Any

import pytest

from rethink_ray.spec.check import check_recipe
from rethink_ray.spec.detector_weights import (
    PUBLISHED_DETECTORS,
    find_detector_origin,
    find_published_name,
    starts_from_file,
)
from rethink_ray.spec.recipe import DetectorSpec, Family, InitSpec
from tests.builders import micro_recipe
from tests.spec.refusals import refused

COCO_V1 = "RetinaNet_ResNet50_FPN_Weights.COCO_V1"
WHOLE: dict[str, Any] = {
    "init__source": "detector",
    "init__weights": COCO_V1,
    "detector__backbone": "resnet50",
    "detector__norm": "frozen_bn",
}
FILE = WHOLE | {"init__weights": "w/d.pth", "init__weights_norm": "bn"}


@pytest.mark.parametrize(
    ("weights", "origin"),
    [
        (COCO_V1, "torchvision"),
        ("COCO_V1", "torchvision"),
        ("FasterRCNN_ResNet50_FPN_Weights.DEFAULT", "torchvision"),
        ("COCO_V1.pth", "file"),
        ("my_Weights.pth", "file"),
        ("COCO_model", "file"),
        ("weights/model.pt", "file"),
        ("upstream_detector", "upstream_detector"),
    ],
)
def test_the_word_says_where_a_detector_comes_from(weights: str, origin: str) -> None:
    init = InitSpec(source="detector", weights=weights)
    assert find_detector_origin(init) == origin
    assert starts_from_file(init) == (origin == "file")
    assert find_detector_origin(InitSpec(source="file", weights=weights)) is None


@pytest.mark.parametrize(
    ("family", "name", "full"),
    [
        ("fcos", "COCO_V1", "FCOS_ResNet50_FPN_Weights.COCO_V1"),
        ("keypoint_rcnn", "COCO_LEGACY", "KeypointRCNN_ResNet50_FPN_Weights.COCO_LEGACY"),
        ("faster_rcnn", "COCO_V1", None),  # two networks have weights of this name
        ("faster_rcnn", COCO_V1, None),
        ("retinanet", COCO_V1, COCO_V1),
        ("cascade_rcnn", "COCO_V1", None),
    ],
)
def test_a_short_name_is_enough_where_it_leaves_one_choice(
    family: Family, name: str, full: str | None
) -> None:
    assert find_published_name(DetectorSpec(family=family), name) == full


def test_torchvision_knows_every_name_here() -> None:
    from torchvision.models import get_weight

    assert {str(get_weight(name)) for name in PUBLISHED_DETECTORS} == {*PUBLISHED_DETECTORS}


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        (WHOLE | {"init__weights": None}, "Write RetinaNet_ResNet50_FPN_Weights.COCO_V1, "),
        (WHOLE | {"init__weights": "COCO_V1"}, "RetinaNet_ResNet50_FPN_V2_Weights.COCO_V1"),
        (WHOLE | {"detector__backbone": "resnet18"}, "There are none"),
        (WHOLE | {"detector__norm": "gn"}, "frozen_bn, which small batches need"),
        (FILE | {"detector__norm": "gn"}, "frozen_bn, which small batches need"),
        (FILE | {"init__weights_norm": None}, "init.weights_norm"),
        (FILE | {"init__weights_norm": "gn"}, "Use norm gn"),
        ({"init__keep_classes": "none"}, "init.source: detector"),
    ],
)
def test_a_detector_that_cannot_be_loaded_is_refused(settings: dict[str, Any], fact: str) -> None:
    with refused(f"whole detector {settings}", [fact]):
        check_recipe(micro_recipe(**settings), "study.yaml")


@pytest.mark.parametrize(
    "settings",
    [
        WHOLE,
        WHOLE | {"detector__norm": "bn", "init__keep_classes": "none", "init__frozen": "backbone"},
        FILE,
        FILE | {"detector__norm": "gn", "init__weights_norm": "gn"},
        {"init__source": "detector", "init__weights": "upstream_detector"},
    ],
)
def test_what_can_be_loaded_is_not_refused(settings: dict[str, Any]) -> None:
    check_recipe(micro_recipe(**settings), "study.yaml")
