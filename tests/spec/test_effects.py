"""Settings that no run reads are refused; what several arms share is not, if one reads it."""

from typing import Any

import pytest

from rethink_ray.spec.detector import DetectorSpec
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.recipes import RECIPES
from rethink_ray.spec.rules.effects import READERS_OF
from rethink_ray.spec.settings import known_paths
from tests.search.search_builders import small_study
from tests.spec.refusals import refused

ONE_STAGE = {"detector": {"family": "retinanet"}}
TWO_STAGE = {"detector": {"family": "faster_rcnn"}}
RESNET = {"detector.backbone": "resnet18"}
NAS_FPN = {"detector.neck": "nas_fpn"}
MERGE = {"detector.neck_merge": "sum"}
PLAIN_VIT = {"detector.backbone": "timm:test_vit", "detector.neck": "simple"}


@pytest.mark.parametrize(
    ("recipe", "settings", "path"),
    [
        ("tiny_faster_rcnn", {"detector.focal_gamma": 1.5}, "detector.focal_gamma"),
        ("tiny_mask_rcnn", {"detector.focal_alpha": 0.5}, "detector.focal_alpha"),
        ("tiny_retinanet", {"detector.rpn_box_loss_beta": 0.0}, "detector.rpn_box_loss_beta"),
        ("tiny_fcos", {"detector.rpn_pre_nms_test": 50}, "detector.rpn_pre_nms_test"),
        ("tiny_fcos", {"detector": {"rpn_batch": 32}}, "detector.rpn_batch"),
        ("tiny_fcos", {"detector.box_loss_beta": 0.5}, "detector.box_loss_beta"),
        (
            "tiny_retinanet",
            {"detector.box_loss": "l1", "detector.box_loss_beta": 0.5},
            "detector.box_loss_beta",
        ),
        (
            "tiny_faster_rcnn",
            {"detector.box_loss": "giou", "detector.box_loss_beta": 0.5},
            "detector.box_loss_beta",
        ),
        ("tiny_retinanet", MERGE, "detector.neck_merge"),
        ("tiny_retinanet", {"detector.neck": "bifpn", **MERGE}, "detector.neck_merge"),
        ("tiny_retinanet", {"detector.neck_repeats": 2}, "detector.neck_repeats"),
        ("tiny_retinanet", {"detector.p6_from": "c5"}, "detector.p6_from"),
        ("tiny_faster_rcnn", {**RESNET, "detector.p6_from": "c5"}, "detector.p6_from"),
        ("tiny_retinanet", {**RESNET, **NAS_FPN, "detector.p6_from": "c5"}, "detector.p6_from"),
        ("tiny_faster_rcnn", {"detector.cascade_from": 100}, "detector.cascade_from"),
        ("tiny_fcos", {"detector.rpn_convs": 2}, "detector.rpn_convs"),
        ("tiny_faster_rcnn", {"detector.norm_epsilon": 0.0}, "detector.norm_epsilon"),
        ("tiny_retinanet", {**PLAIN_VIT, "detector.neck_norm": "gn"}, "detector.neck_norm"),
    ],
)
@pytest.mark.parametrize("place", ["settings", "arm", "regime"])
def test_a_setting_that_nothing_reads_is_refused(
    place: str, recipe: str, settings: dict[str, Any], path: str
) -> None:
    changes: dict[str, Any] = {
        "settings": {"settings": settings},
        "arm": {"arms": {"scratch": {"set": settings}}},
        "regime": {"regimes": {"full": {"images": "all", "set": settings}}},
    }[place]
    key = {"settings": "settings", "arm": "arms.scratch.set", "regime": "regimes.full.set"}[place]
    with pytest.raises(SpecError, match=rf"{key}\.{path}: .*nothing reads it"):
        small_study(recipe=recipe, search={}, **changes)


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ("tiny_fcos", {"detector.focal_gamma": 1.5}),
        ("tiny_cascade_rcnn", {"detector.rpn_batch": 32, "detector.cascade_from": 100}),
        ("tiny_faster_rcnn", {"detector.box_loss_beta": 0.5}),
        ("tiny_retinanet", {"detector.box_loss": "smooth_l1", "detector.box_loss_beta": 0.5}),
        ("tiny_retinanet", {**NAS_FPN, **MERGE, "detector.neck_repeats": 2}),
        ("tiny_fcos", {**RESNET, "detector.p6_from": "c5"}),
        ("tiny_faster_rcnn", {"detector.rpn_convs": 2}),
    ],
)
def test_a_setting_that_a_run_reads_is_not(recipe: str, settings: dict[str, Any]) -> None:
    assert small_study(recipe=recipe, search={}, settings=settings)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_and_the_defaults_stand_anywhere(recipe: str) -> None:
    """The tiny recipes have counts of proposals in every family, of which one-stage ones read
    none."""
    defaults = {path: getattr(DetectorSpec(), path.split(".")[1]) for path in READERS_OF}
    named = {path: list(v) if isinstance(v, tuple) else v for path, v in defaults.items()}
    assert small_study(recipe=recipe, search={}, settings=named, arms={"scratch": {}})


def test_arms_of_several_families_share_settings_that_one_of_them_reads() -> None:
    arms = {"one": {"set": ONE_STAGE}, "two": {"set": TWO_STAGE}}
    shared = {"detector.focal_gamma": 1.5, "detector.rpn_batch": 32}
    assert small_study(arms=arms, settings=shared, search={})
    with refused("of two arms none reads it", ["settings.detector.cascade_from"]):
        small_study(arms=arms, settings={"detector.cascade_from": 100}, search={})


GAMMA: dict[str, Any] = {"detector.focal_gamma": {"choice": [1.5, 2.0]}}
BETA: dict[str, Any] = {"detector.box_loss_beta": {"choice": [0.11, 0.5]}}
LOSSES: dict[str, Any] = {"detector.box_loss": {"choice": ["l1", "smooth_l1"]}}


@pytest.mark.parametrize(
    ("occasion", "search"),
    [("gamma for both families", GAMMA), ("beta beside other losses", LOSSES | BETA)],
)
def test_a_search_of_what_some_run_ignores_is_refused(
    occasion: str, search: dict[str, Any]
) -> None:
    arms = {"one": {"set": ONE_STAGE}, "two": {"set": TWO_STAGE}}
    smooth = {"detector.box_loss": "smooth_l1", "detector.box_loss_beta": 0.11}
    with refused(occasion, ["must be searched only with", "(when)"]):
        small_study(arms=arms, search=search, settings=smooth)


def test_a_search_under_a_condition_or_in_its_own_arm_is_not() -> None:
    arms: dict[str, Any] = {"one": {"set": ONE_STAGE}, "two": {"set": TWO_STAGE}}
    smooth = {"detector.box_loss": "smooth_l1", "detector.box_loss_beta": 0.11}
    when = {"when": {"detector.box_loss": "smooth_l1"}}
    beta = {path: {**options, **when} for path, options in BETA.items()}
    assert small_study(arms=arms, search=LOSSES | beta, settings=smooth)
    is_one = {"when": {"detector.family": "retinanet"}}
    gamma = {path: {**options, **is_one} for path, options in GAMMA.items()}
    assert small_study(arms=arms, search=gamma)
    arms["one"]["search"] = GAMMA
    assert small_study(arms=arms, search={})


def test_an_arm_that_copies_may_copy_what_it_does_not_read() -> None:
    arms = {"one": {"set": ONE_STAGE}, "two": {"set": TWO_STAGE}}
    assert small_study(arms=arms, search=GAMMA, tuning={"copy_from": "one"})


def test_every_path_of_the_table_exists() -> None:
    read = {f"detector.{key}" for readers in READERS_OF.values() for key in readers.reads}
    assert {*READERS_OF, *read} <= known_paths().keys()
