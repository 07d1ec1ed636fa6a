"""Networks that mean nothing together are refused before anything runs."""

from typing import Any

import pytest

from rethink_ray.spec.check import check_recipe
from tests.builders import micro_recipe
from tests.spec.refusals import refused

FROM_UPSTREAM = {"init__source": "upstream"}
VIT = {"detector__backbone": "timm:vit_small_patch14_dinov2", "detector__neck": "simple"}
BY_NAME = {"init__source": "torchvision", "init__weights": "IMAGENET1K_V1"}


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        (
            {"detector__backbone": "swin_t", "detector__norm": "frozen_bn", **FROM_UPSTREAM},
            "swin_t",
        ),
        (
            {"detector__backbone": "resnext152_32x8d", "detector__norm": "bn", **BY_NAME},
            "'resnext152_32x8d'",
        ),
        (
            {"detector__backbone": "timm:resnet18", "detector__norm": "bn", **BY_NAME},
            "'timm:resnet18'",
        ),
        (
            {"detector__backbone": "efficientnet_b0", "detector__norm": "gn", **BY_NAME},
            "detector.norm",
        ),
        (
            {"detector__backbone": "vgg16", "init__zero_init_residual": True},
            "detector.backbone vgg16",
        ),
        (
            {"init__zero_init_residual": True, **FROM_UPSTREAM},
            "init.source upstream",
        ),
        (
            {"detector__neck": "bifpn", "detector__norm": "frozen_bn", **FROM_UPSTREAM},
            "bifpn",
        ),
        ({"detector__neck": "simple"}, "tiny has maps of four strides"),
        ({"detector__backbone": "timm:vit_small_patch14_dinov2"}, "is a plain ViT"),
        ({**VIT, "detector__norm": "frozen_bn", **FROM_UPSTREAM}, "no batch norm to freeze"),
        ({"init__source": "timm", "init__weights": "lvd142m"}, "timm's networks, not for 'tiny'"),
        ({**VIT, "init__source": "hub"}, "must name the weights to load"),
        ({**VIT, "init__source": "timm", "init__weights": "a/b"}, "must be a tag of timm's"),
        ({**VIT, "init__source": "hub", "init__weights": "lvd142m"}, "org/name@revision"),
        (
            {**VIT, "detector__backbone": "timm:vit_small_patch14_dinov2.lvd142m"}
            | {"init__source": "timm", "init__weights": "other"},
            "must be the tag of timm:vit_small_patch14_dinov2.lvd142m",
        ),
        (
            {"detector__backbone": "timm:resnet50", "detector__norm": "gn"}
            | {"init__source": "timm", "init__weights": "a1_in1k", "init__weights_norm": "bn"},
            "must match weights that were trained with bn",
        ),
        ({"detector__adapters": 0.1}, "init.frozen: backbone"),
        (
            {"detector__adapters": 0.1, "init__source": "direct", "init__frozen": "backbone"}
            | {"direct__norm": "gn"},
            "init.source: direct",
        ),
    ],
)
def test_what_means_nothing_is_refused(settings: dict[str, Any], fact: str) -> None:
    with refused(f"network {settings}", [fact]):
        check_recipe(micro_recipe(**settings), "study.yaml")


@pytest.mark.parametrize(
    "settings",
    [
        {"detector__backbone": "swin_t", "detector__norm": "gn", **BY_NAME},
        {"detector__backbone": "vgg16", "detector__norm": "gn", **BY_NAME},
        {"detector__backbone": "convnext_t", "init__source": "file", "init__weights": "w.pt"},
        {"detector__adapters": 0.1, "init__frozen": "backbone", **FROM_UPSTREAM},
        {"detector__neck": "nas_fpn", "detector__norm": "bn", "init__frozen": "backbone"}
        | FROM_UPSTREAM,
        {"init__zero_init_residual": True},
        {"detector__backbone": "my_package.networks:build"},
        {**VIT, "init__source": "timm", "init__weights": "lvd142m", "init__frozen": "backbone"},
        {**VIT, "init__source": "hub", "init__weights": "org/name@v2", "detector__norm": "bn"},
        {**VIT, "init__source": "file", "init__weights": "vit.pth"},
        {**VIT, "detector__head_norm": "none", "detector__norm": "gn"},
        {"detector__backbone": "timm:resnet50", "detector__norm": "bn"}
        | {"init__source": "timm", "init__weights": "a1_in1k"},
    ],
)
def test_what_means_something_is_not(settings: dict[str, Any]) -> None:
    check_recipe(micro_recipe(**settings), "study.yaml")


DIRECT = {"init__source": "direct", "direct__norm": "bn", "detector__norm": "frozen_bn"}


@pytest.mark.parametrize(
    ("recipe", "settings", "facts"),
    [
        ("tiny_retinanet", {"head_norm": "none", "neck": "bifpn"}, ["head_norm", "bifpn"]),
        ("tiny_retinanet", {"neck_norm": "none", "neck": "bifpn"}, ["neck_norm", "bifpn"]),
        ("tiny_retinanet", {"head_norm": "frozen_bn"}, ["head_norm", "retinanet"]),
        ("tiny_retinanet", {"neck_norm": "frozen_bn"}, ["neck_norm", "detector.norm: gn"]),
        ("tiny_faster_rcnn", {"head_norm": "frozen_bn"}, ["head_norm", "detector.norm: bn"]),
        (
            "tiny_faster_rcnn",
            {"head_norm": "frozen_bn", "norm": "frozen_bn"},
            ["head_norm", "init.source: detector"],
        ),
    ],
)
def test_norms_that_no_detector_can_have_are_refused(
    recipe: str, settings: dict[str, Any], facts: list[str]
) -> None:
    changes = {f"detector__{key}": value for key, value in settings.items()} | FROM_UPSTREAM
    with refused(f"norms above {recipe} {settings}", facts):
        check_recipe(micro_recipe(recipe, **changes), "study.yaml")


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ("tiny_retinanet", {"detector__neck_norm": "none", "detector__head_norm": "gn"}),
        ("tiny_retinanet", DIRECT | {"detector__neck_norm": "frozen_bn"}),
        ("tiny_mask_rcnn", DIRECT | {"detector__head_norm": "frozen_bn"}),
        ("tiny_fcos", {"detector__head_norm": "none", "detector__norm": "bn"}),
        (
            "tiny_retinanet",
            {"detector__head_norm": "none", "detector__neck_norm": "same"}
            | {"detector__neck": "nas_fpn"},
        ),
    ],
)
def test_norms_above_the_backbone_may_differ(recipe: str, settings: dict[str, Any]) -> None:
    check_recipe(micro_recipe(recipe, **settings), "study.yaml")


@pytest.mark.parametrize("kind", ["l1", "smooth_l1"])
def test_fcos_has_no_deltas_whose_distance_could_be_a_loss(kind: str) -> None:
    with refused(f"fcos with {kind}", ["detector.box_loss", f"'{kind}'", "fcos"]):
        check_recipe(micro_recipe("tiny_fcos", detector__box_loss=kind), "study.yaml")
    check_recipe(micro_recipe("tiny_fcos", detector__box_loss="giou"), "study.yaml")


def test_a_focal_loss_without_a_finite_gradient_is_refused() -> None:
    with refused("a gamma between 0 and 1", ["detector.focal_gamma", "0.5"]):
        micro_recipe(detector__focal_gamma=0.5)
    assert micro_recipe(detector__focal_gamma=0.0).detector.focal_gamma == 0
