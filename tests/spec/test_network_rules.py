"""Networks that mean nothing together are refused before anything runs."""

from typing import Any

import pytest

from rethink_ray.spec.check import check_recipe
from rethink_ray.spec.errors import SpecError
from tests.builders import micro_recipe

FROM_UPSTREAM = {"init__source": "upstream"}
BY_NAME = {"init__source": "torchvision", "init__weights": "X"}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"detector__backbone": "swin_t", "detector__norm": "frozen_bn", **FROM_UPSTREAM},
            "swin_t has no batch norm to freeze",
        ),
        (
            {"detector__backbone": "resnext152_32x8d", "detector__norm": "bn", **BY_NAME},
            "has no weights for 'resnext152_32x8d'",
        ),
        (
            {"detector__backbone": "timm:resnet18", "detector__norm": "bn", **BY_NAME},
            "has no weights for 'timm:resnet18'",
        ),
        (
            {"detector__backbone": "efficientnet_b0", "detector__norm": "gn", **BY_NAME},
            "must match weights that were trained with bn",
        ),
        (
            {"detector__backbone": "vgg16", "init__zero_init_residual": True},
            "unless a residual network starts",
        ),
        (
            {"init__zero_init_residual": True, **FROM_UPSTREAM},
            "unless a residual network starts from random weights",
        ),
        (
            {"detector__neck": "bifpn", "detector__norm": "frozen_bn", **FROM_UPSTREAM},
            "must have a norm that learns",
        ),
        ({"detector__adapters": 0.1}, "Set init.frozen: backbone"),
        (
            {"detector__adapters": 0.1, "init__source": "direct", "init__frozen": "backbone"}
            | {"direct__norm": "gn"},
            "its first stage would train them",
        ),
    ],
)
def test_what_means_nothing_is_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
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
    ],
)
def test_what_means_something_is_not(settings: dict[str, Any]) -> None:
    check_recipe(micro_recipe(**settings), "study.yaml")
