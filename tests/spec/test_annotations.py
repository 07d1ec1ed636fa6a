"""Who learns masks or keypoints needs annotations that have them, before anything runs."""

import json
from dataclasses import replace
from typing import Any

import pytest

from rethink_ray.spec.check import check_facts, check_study
from rethink_ray.spec.study import ObjectiveSpec, Study
from tests.builders import made_up_facts
from tests.spec.refusals import refused

BOXES = made_up_facts({"full": 60}, has_masks=False, num_keypoints=0)


def study(settings: dict[str, Any], **arm: Any) -> Study:
    tree = {
        "study": "t",
        "data": {"dataset": "voc", "root": "/voc"},
        "regimes": {"full": {"images": "all"}},
        "recipe": "tiny_faster_rcnn",
        "settings": settings,
        "arms": {"scratch": arm},
    }
    found = Study.model_validate_json(json.dumps(tree))
    check_study(found, "t.yaml")
    return found


@pytest.mark.parametrize(
    ("settings", "arm", "facts"),
    [
        (
            {"detector.family": "mask_rcnn"},
            {},
            ["t.yaml: full/scratch: detector.family", "'mask_rcnn'", "faster_rcnn"],
        ),
        ({"augment.copy_paste": 0.5}, {}, ["full/scratch: augment.copy_paste", "0.5"]),
        (
            {},
            {"search": {"detector.family": {"choice": ["faster_rcnn", "cascade_mask_rcnn"]}}},
            ["'cascade_mask_rcnn'"],
        ),
        (
            {"init.source": "direct", "direct.augment.copy_paste": 1.0, "direct.warmup": 0},
            {},
            ["direct.augment.copy_paste"],
        ),
        ({"detector.family": "keypoint_rcnn"}, {}, ["'keypoint_rcnn'"]),
    ],
)
def test_what_the_annotations_lack_is_refused(
    settings: dict[str, Any], arm: dict[str, Any], facts: list[str]
) -> None:
    asked = study(settings, **arm)
    with refused(f"boxes alone, {settings} {arm}", facts):
        check_facts(asked, BOXES, "t.yaml")
    check_facts(asked, replace(BOXES, has_masks=None, num_keypoints=None), "t.yaml")
    check_facts(asked, replace(BOXES, has_masks=True, num_keypoints=17), "t.yaml")


def test_other_keypoints_than_the_data_sets_are_refused() -> None:
    asked = study({"detector.family": "keypoint_rcnn", "detector.num_keypoints": 5})
    with refused("other keypoints", ["detector.num_keypoints", "17 keypoints", "5"]):
        check_facts(asked, replace(BOXES, num_keypoints=17), "t.yaml")
    check_facts(asked, replace(BOXES, num_keypoints=5), "t.yaml")


def test_boxes_are_enough_for_detectors_of_boxes() -> None:
    check_facts(study({}), BOXES, "t.yaml")


@pytest.mark.parametrize(
    ("family", "lacks"),
    [("mask_rcnn", {"scored_masks": False}), ("keypoint_rcnn", {"scored_keypoints": 0})],
)
def test_what_cannot_be_scored_is_refused(family: str, lacks: dict[str, Any]) -> None:
    asked = study({"detector.family": family, "detector.num_keypoints": 5})
    facts = replace(BOXES, has_masks=True, num_keypoints=5, scored_masks=True, scored_keypoints=5)
    check_facts(asked, facts, "t.yaml")
    with refused(f"{family} that cannot be scored", [family]):
        check_facts(asked, replace(facts, **lacks), "t.yaml")


def test_an_objective_that_no_object_counts_for_is_refused() -> None:
    asked = study({}).model_copy(update={"objective": ObjectiveSpec(metric="ap_l")})
    facts = replace(BOXES, undefined_metrics={"val": ("ap_m", "ap_l")})
    with refused("an objective that is never a number", ["objective.metric", "ap_l", "split val"]):
        check_facts(asked, facts, "t.yaml")
    check_facts(asked, replace(BOXES, undefined_metrics={"val": ("ap_m",)}), "t.yaml")
