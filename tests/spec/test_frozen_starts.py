"""What can be frozen, until when, and where the backbone has a rate of its own."""

from typing import Any

import pytest

from rethink_ray.spec.check import check_recipe
from rethink_ray.spec.freezing import UnfreezeSpec
from tests.builders import micro_recipe
from tests.spec.refusals import refused

UPSTREAM = {"init__source": "upstream"}
DIRECT = {"init__source": "direct", "direct__norm": "gn"}
STUDENT = {"labels__kind": "self_training"}
IMPORTED = {"labels__kind": "imported", "labels__file": "d.json"}
FROZEN = UPSTREAM | {"init__frozen": "backbone"}


def after(units: float) -> dict[str, Any]:
    return {"init__unfreeze": {"after": units}}


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        (UPSTREAM | {"init__frozen": "neck"}, ["init.frozen", "'neck'", "init.source: detector"]),
        (
            STUDENT
            | {"labels__start": "init", "init__source": "upstream"}
            | {"init__frozen": "heads"},
            ["init.frozen", "'heads'", "labels.start: teacher"],
        ),
        (IMPORTED | {"init__frozen": "layer2"}, ["init.frozen", "must be none on random weights"]),
        (
            IMPORTED | UPSTREAM | {"init__frozen": "heads"},
            ["init.frozen", "'heads'", "neck and heads start from random weights"],
        ),
        (UPSTREAM | after(0.5), ["init.unfreeze", "init.frozen: backbone"]),
        # 2x of 4 updates leaves the trunk at update 5, where its rate falls first
        (FROZEN | after(1.5), ["init.unfreeze", "update 6", "1 to 5", "0.25 and 1.25"]),
        (FROZEN | after(0.1), ["init.unfreeze", "update 0"]),
        (
            FROZEN | after(2.0) | {"schedule__decay__kind": "cosine"},
            ["init.unfreeze", "update 8", "1 to 7"],
        ),
        (FROZEN | {"optimizer__backbone_rate": 0.1}, ["optimizer.backbone_rate", "0.1"]),
        (FROZEN | {"optimizer__layer_decay": 0.7}, ["optimizer.layer_decay", "0.7"]),
        (
            UPSTREAM | {"init__frozen": "layer4", "optimizer__layer_decay": 0.7},
            ["optimizer.layer_decay", "init.unfreeze"],
        ),
        (
            DIRECT | {"init__frozen": "neck", "joint__weight": 1.0},
            ["joint.weight", "1.0"],
        ),
    ],
)
def test_what_cannot_be_frozen_or_slowed_is_refused(
    settings: dict[str, Any], facts: list[str]
) -> None:
    with refused(f"freezing {settings}", facts):
        check_recipe(micro_recipe(**settings), "study.yaml")


@pytest.mark.parametrize(
    "settings",
    [
        DIRECT | {"init__frozen": "heads"},
        {"init__source": "detector", "init__weights": "d.pt", "init__weights_norm": "gn"}
        | {"init__frozen": "neck"},
        STUDENT | {"init__frozen": "heads"},  # it goes on from its teacher's weights
        STUDENT | UPSTREAM | {"init__frozen": "neck"},
        FROZEN | after(1.25),
        FROZEN | after(1.75) | {"schedule__decay__kind": "cosine"},
        FROZEN | after(1.75) | {"schedule__decay__kind": "constant"},
        FROZEN | after(0.5) | {"optimizer__backbone_rate": 0.1, "optimizer__layer_decay": 0.7},
        FROZEN | after(0.5) | {"joint__weight": 1.0},
        UPSTREAM | {"init__frozen": "layer3", "optimizer__layer_decay": 0.7},
        {"optimizer__backbone_rate": 0.1},  # on random weights: a control
    ],
)
def test_what_means_something_is_not(settings: dict[str, Any]) -> None:
    check_recipe(micro_recipe(**settings), "study.yaml")


def test_the_switch_is_counted_in_updates_of_1x() -> None:
    assert UnfreezeSpec(after=0.5).first_update(90_000) == 45_000
    assert UnfreezeSpec(after=0.1).first_update(4) == 0
