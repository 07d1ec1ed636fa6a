"""A detector starts from one of other categories: what is loaded, kept and drawn."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models import detection as published

from rethink_ray.detection.class_names import ALIASES, match_categories
from rethink_ray.detection.detector_start import KeptClasses, KeptRows, fill_class_rows
from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.foreign import OUTPUTS_OF_COCO, rename_to_ours
from rethink_ray.detection.learned_detectors import (
    LearnedDetector,
    OutputNames,
    require_fitting_learned,
    start_from_learned,
)
from rethink_ray.detection.whole import require_fitting_detector
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.load import find_study, load_study
from rethink_ray.spec.recipe import DetectorSpec, Family, InitSpec, KeepClasses
from rethink_ray.spec.resolve import Cell, base_recipe
from tests.detection.tiny_detectors import tiny

THEIRS = ("cat", "motorcycle", "dog")
OURS = ("Dog", "motorbike", "whale")
"""The first two are theirs too, numbers 3 and 2; nobody has taught them the third."""
VOC = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
LOGITS = "network.head.classification_head.cls_logits."
HEADS = "network.roi_heads."


def build(family: Family, num: int, seed: int, **counts: Any) -> Detector:
    return build_detector(tiny(family, **counts), InitSpec(), num, seed=seed)


def start(
    detector: Detector,
    state: dict[str, Tensor],
    keep: KeepClasses = "by_name",
    *,
    theirs: tuple[str, ...] | None = THEIRS,
    ours: tuple[str, ...] = OURS,
) -> KeptClasses:
    learned = LearnedDetector(state=state, categories=theirs)
    return start_from_learned(detector, learned, OutputNames(categories=ours), keep, "file")


def compare(
    needed: dict[str, Tensor],
    state: dict[str, Tensor],
    theirs: tuple[str, ...] | None,
    ours: tuple[str, ...],
) -> KeptClasses:
    """Tensors may be without content."""
    renamed = rename_to_ours(state, needed)
    filled, kept = fill_class_rows(needed, renamed, theirs, ours, "by_name")
    require_fitting_detector(needed, filled, "file")
    return kept


def state_of(family: Family, **rows: Tensor) -> dict[str, Tensor]:
    """Their weights: seed 1, but all tensors whose name ends so are set to ``rows``."""
    state = build(family, 3, seed=1).state_dict()
    for ending, value in rows.items():
        for name in state:
            if name.endswith(ending.replace("__", ".")) and "rpn" not in name:
                state[name] = value
    return state


@pytest.mark.parametrize("family", ["retinanet", "fcos"])
def test_a_one_stage_detector_takes_all_but_the_rows_of_new_categories(family: Family) -> None:
    detector, drawn = build(family, 3, seed=0), build(family, 3, seed=0).state_dict()
    num_anchors = len(drawn[f"{LOGITS}bias"]) // 3
    state = state_of(family, cls_logits__bias=torch.arange(3.0 * num_anchors))
    kept = start(detector, state)
    after = detector.state_dict()
    for anchor, row in enumerate(after[f"{LOGITS}bias"].reshape(num_anchors, 3).tolist()):
        assert row[:2] == [3 * anchor + 2, 3 * anchor + 1]
        assert row[2] == pytest.approx(-math.log(99))  # the prior: one anchor in a hundred
    weight = after[f"{LOGITS}weight"].unflatten(0, (num_anchors, 3))
    theirs = state[f"{LOGITS}weight"].unflatten(0, (num_anchors, 3))
    seeds = drawn[f"{LOGITS}weight"].unflatten(0, (num_anchors, 3))
    assert torch.equal(weight, torch.stack([theirs[:, 2], theirs[:, 1], seeds[:, 2]], dim=1))
    others = [name for name in after if LOGITS not in name and "pixel_norm" not in name]
    assert all(torch.equal(after[name], state[name]) for name in others)
    assert kept.categories == {"Dog": "dog", "motorbike": "motorcycle"}
    assert kept.drawn == ("whale",)
    of_rows = KeptRows(num_kept=2 * num_anchors, num_rows=3 * num_anchors)
    assert kept.rows == {f"{LOGITS}bias": of_rows, f"{LOGITS}weight": of_rows}


def test_a_mask_detector_takes_its_background_and_the_rows_of_shared_names() -> None:
    state = state_of(
        "mask_rcnn",
        cls_score__bias=torch.tensor([7.0, 1, 2, 3]),
        bbox_pred__bias=torch.arange(16.0),
        mask_fcn_logits__bias=torch.tensor([7.0, 1, 2, 3]),
    )
    detector = build("mask_rcnn", 3, seed=0)
    kept = start(detector, state)
    after = detector.state_dict()
    assert after[f"{HEADS}stages.0.box_predictor.cls_score.bias"].tolist() == [7, 3, 2, 0]
    sides = after[f"{HEADS}stages.0.box_predictor.bbox_pred.bias"].reshape(4, 4)
    assert sides.tolist() == [[0, 1, 2, 3], [12, 13, 14, 15], [8, 9, 10, 11], [0, 0, 0, 0]]
    masks = after[f"{HEADS}branches.masks.predictor.mask_fcn_logits.bias"]
    assert masks[:3].tolist() == [7, 3, 2]
    for name in ("rpn.head.cls_logits.weight", "rpn.head.bbox_pred.weight"):
        assert torch.equal(after[f"network.{name}"], state[f"network.{name}"])
    assert kept.rows[f"{HEADS}stages.0.box_predictor.bbox_pred.bias"] == KeptRows(
        num_kept=12, num_rows=16
    )


def test_a_regression_of_all_classes_comes_along() -> None:
    state = state_of("cascade_rcnn")
    detector = build("cascade_rcnn", 3, seed=0)
    kept = start(detector, state)
    name = f"{HEADS}stages.2.box_predictor.bbox_pred.weight"
    assert torch.equal(detector.state_dict()[name], state[name])
    assert name not in kept.rows
    assert len(kept.rows) == 6  # weight and bias of three stages' scores


def test_keeping_none_keeps_the_background_alone() -> None:
    state = state_of("faster_rcnn", cls_score__bias=torch.tensor([7.0, 1, 2, 3]))
    detector = build("faster_rcnn", 3, seed=0)
    kept = start(detector, state, keep="none")
    assert detector.state_dict()[f"{HEADS}box_predictor.cls_score.bias"].tolist() == [7, 0, 0, 0]
    assert kept.categories == {}
    assert kept.drawn == OURS


def test_another_number_of_categories_fits_and_other_anchors_do_not() -> None:
    detector = build("retinanet", 5, seed=0)
    ours = (*OURS, "horse", "cow")
    state = build("retinanet", 3, seed=1).state_dict()
    kept = start(detector, state, ours=ours)
    assert kept.rows[f"{LOGITS}bias"] == KeptRows(num_kept=18, num_rows=45)
    state[f"{LOGITS}bias"] = torch.zeros(3 * 8)  # eight anchors are not nine
    with pytest.raises(SpecError, match="of another shape: .*cls_logits.bias"):
        start(detector, state, ours=ours)


def test_unknown_names_keep_nothing_even_if_their_number_agrees() -> None:
    detector = build("retinanet", 3, seed=0)
    state = build("retinanet", 3, seed=1).state_dict()
    kept = start(detector, state, theirs=None)
    assert kept.drawn == OURS
    drawn = build("retinanet", 3, seed=0).state_dict()
    assert torch.equal(detector.state_dict()[f"{LOGITS}weight"], drawn[f"{LOGITS}weight"])


def test_ninety_one_outputs_are_cocos() -> None:
    state = state_of("faster_rcnn")
    for name, rows in (("cls_score", 91), ("bbox_pred", 4 * 91)):
        base = f"{HEADS}box_predictor.{name}."
        state[f"{base}weight"] = torch.zeros(rows, 32)
        state[f"{base}bias"] = torch.arange(float(rows))
    detector = build("faster_rcnn", 3, seed=0)
    kept = start(detector, state, theirs=None)
    # COCO's ids: dog 18, motorcycle 4
    assert detector.state_dict()[f"{HEADS}box_predictor.cls_score.bias"].tolist() == [0, 18, 4, 0]
    assert kept.drawn == ("whale",)


def test_a_start_is_compared_without_content() -> None:
    with torch.device("meta"):
        detector = build("mask_rcnn", 3, seed=0)
    state = state_of("mask_rcnn")
    needed = detector.state_dict()
    learned = LearnedDetector(state=state, categories=THEIRS)
    names = OutputNames(categories=OURS)
    kept = require_fitting_learned(needed, learned, names, "by_name", "file")
    assert kept == start(build("mask_rcnn", 3, seed=0), state)
    del state["network.rpn.head.conv.0.0.weight"]
    with pytest.raises(SpecError, match=r"missing: network\.rpn\.head\.conv"):
        require_fitting_learned(needed, learned, names, "by_name", "file")


def test_voc_shares_all_its_twenty_categories_with_coco() -> None:
    matches = match_categories(VOC, OUTPUTS_OF_COCO)
    assert len(matches) == 20
    assert {ours: coco for ours, coco in matches.items() if ours != coco} == ALIASES
    assert len(match_categories(OUTPUTS_OF_COCO, VOC)) == 20


def test_an_output_without_a_category_is_never_matched() -> None:
    assert match_categories(("N/A", "__background__", "cat"), OUTPUTS_OF_COCO) == {"cat": "cat"}


def test_an_equal_name_goes_before_an_alias() -> None:
    assert match_categories(("sofa",), ("couch", "Sofa")) == {"sofa": "Sofa"}
    assert match_categories(("couch", "sofa"), ("couch",)) == {"couch": "couch", "sofa": "couch"}


@pytest.mark.parametrize(
    ("family", "build_theirs", "settings", "num_rows"),
    [
        ("retinanet", published.retinanet_resnet50_fpn, {}, 2),
        ("fcos", published.fcos_resnet50_fpn, {}, 2),
        ("faster_rcnn", published.fasterrcnn_resnet50_fpn, {"box_head": "2fc"}, 4),
        ("mask_rcnn", published.maskrcnn_resnet50_fpn, {"box_head": "2fc"}, 6),
        ("keypoint_rcnn", published.keypointrcnn_resnet50_fpn, {"box_head": "2fc"}, 4),
    ],
)
def test_torchvisions_first_detectors_fill_ours(
    family: Family, build_theirs: Any, settings: dict[str, Any], num_rows: int
) -> None:
    """Keypoint R-CNN finds persons alone; the others have the 91 outputs of COCO."""
    has_keypoints = family == "keypoint_rcnn"
    spec = DetectorSpec(family=family, norm="frozen_bn", **settings)
    with torch.device("meta"):
        theirs = build_theirs(weights=None, weights_backbone=None)
        needed = build_detector(spec, InitSpec(), len(VOC), seed=0).state_dict()
    kept = compare(needed, theirs.state_dict(), ("person",) if has_keypoints else None, VOC)
    assert len(kept.categories) == (1 if has_keypoints else 20)
    assert len(kept.rows) == num_rows


@pytest.mark.parametrize("stem", ["detector_start", "own_data"])
def test_torchvisions_detector_fills_that_of_a_study_that_ships_under_learning_norms(
    stem: str,
) -> None:
    recipe = base_recipe(load_study(find_study(stem))[0], Cell("full", "detector"))
    with torch.device("meta"):
        theirs = published.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
        needed = build_detector(recipe.detector, InitSpec(), len(VOC), seed=0).state_dict()
    kept = compare(needed, theirs.state_dict(), None, VOC)
    assert recipe.detector.norm != "frozen_bn"
    assert len(kept.categories) == 20
