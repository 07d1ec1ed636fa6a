"""What a recipe says of heads, losses and proposals is read back from the live network."""

from typing import Any, get_args

import pytest

from rethink_ray.detection.detectors import build_detector
from rethink_ray.spec.errors import Misconfigured
from rethink_ray.spec.recipe import TWO_STAGE, DetectorSpec, Family, InitSpec, Recipe
from rethink_ray.training.effective import read_detector, require_recipe_values
from rethink_ray.training.effective_heads import name_box_head
from tests.detection.tiny_detectors import tiny

OF_ONE_STAGE = {"focal_gamma": 1.5, "focal_alpha": 0.5, "box_loss_weight": 2.0}
OF_TWO_STAGES = {
    "box_loss_weight": 2.0,
    "rpn_box_loss_beta": 0.0,
    "rpn_box_loss_weight": 0.5,
    "rpn_pre_nms_train": 40,
    "rpn_pre_nms_test": 30,
    "rpn_post_nms_train": 25,
    "rpn_post_nms_test": 15,
    "canonical_scale_px": 150,
}
BOX_LOSSES: list[dict[str, Any]] = [{}, {"box_loss": "giou"}, {"box_loss_beta": 0.5}]


def network_of(spec: DetectorSpec) -> Any:
    return build_detector(spec, InitSpec(), 3, seed=0).network


@pytest.mark.parametrize("box_loss", BOX_LOSSES, ids=str)
@pytest.mark.parametrize("family", get_args(Family))
def test_the_live_network_has_the_values_of_the_recipe(
    family: Family, box_loss: dict[str, Any]
) -> None:
    settings = OF_TWO_STAGES if family in TWO_STAGE else OF_ONE_STAGE
    recipe = Recipe(detector=tiny(family, **settings, **box_loss))
    detector = build_detector(recipe.detector, InitSpec(), 3, seed=0)

    live = read_detector(detector)

    require_recipe_values(recipe, live)
    names = {*settings, "box_loss", "nms_iou"}
    assert {f"detector.{name}" for name in names} <= live.keys()
    is_smooth = recipe.detector.as_published().box_loss == "smooth_l1"
    assert ("detector.box_loss_beta" in live) == is_smooth, "no other loss has a beta"


def test_a_loss_that_is_not_the_recipes_is_an_error() -> None:
    recipe = Recipe(detector=tiny("faster_rcnn"))
    other = build_detector(tiny("faster_rcnn", box_loss_beta=1 / 9), InitSpec(), 3, seed=0)

    with pytest.raises(Misconfigured, match=r"detector.box_loss_beta.*must be 1\.0"):
        require_recipe_values(recipe, read_detector(other))


@pytest.mark.parametrize("name", ["2fc", "4conv1fc", "4conv2fc"])
@pytest.mark.parametrize("family", ["faster_rcnn", "cascade_mask_rcnn"])
def test_a_box_head_is_named_by_its_layers(family: Family, name: str) -> None:
    assert name_box_head(network_of(tiny(family, box_head=name))) == name


def test_a_box_head_without_a_name_says_its_layers() -> None:
    assert name_box_head(network_of(tiny("faster_rcnn", head_convs=1))) == "(1, 1) layers"


@pytest.mark.parametrize("source", ["p5", "c5"])
def test_the_source_of_p6_is_read_back(source: str) -> None:
    spec = tiny("retinanet", backbone="resnet18", p6_from=source)

    live = read_detector(build_detector(spec, InitSpec(), 3, seed=0))

    assert live["detector.p6_from"] == source
