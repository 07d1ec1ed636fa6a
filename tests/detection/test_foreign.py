"""Whole detectors from elsewhere: torchvision's names, and outputs put in our order."""

import pytest
import torch
from torch import Tensor
from torchvision.models import detection as published

from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.foreign import OUTPUTS_OF_COCO, for_categories, under_our_names
from rethink_ray.detection.whole import load_detector
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.recipe import DetectorSpec, Family, InitSpec

SEVEN = ("person", "bus", "cat", "dog", "zebra", "book", "toothbrush")
IDS = (1, 6, 17, 18, 24, 84, 90)
"""COCO's category ids of the seven, which are torchvision's outputs."""


def ours(family: Family, num_categories: int) -> Detector:
    spec = DetectorSpec(family=family, norm="frozen_bn")
    box_head = {} if family in ("retinanet", "fcos") else {"box_head": "2fc"}
    return build_detector(spec.model_copy(update=box_head), InitSpec(), num_categories, seed=0)


def taken(detector: Detector, state: dict[str, Tensor], categories: tuple[str, ...]) -> None:
    wanted = detector.state_dict()
    named = under_our_names(state, wanted)
    load_detector(detector, for_categories(named, wanted, categories, None, "file"), "file")


def same_name(detector: Detector, name: str, other: Tensor) -> bool:
    return torch.equal(detector.state_dict()[name], other)


def test_torchvisions_coco_retinanet_is_cut_to_the_categories_there_are() -> None:
    source = published.retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91)
    state = source.state_dict()
    state["head.classification_head.cls_logits.bias"] = torch.arange(9 * 91.0)
    detector = ours("retinanet", 7)
    taken(detector, state, SEVEN)
    bias = detector.state_dict()["network.head.classification_head.cls_logits.bias"]
    anchors = bias.reshape(9, 7).tolist()
    assert anchors[0] == list(IDS)
    assert anchors[8] == [8 * 91 + k for k in IDS]
    stem = detector.state_dict()["network.backbone.body.stem.conv1.weight"]
    assert torch.equal(stem, state["backbone.body.conv1.weight"])


def test_torchvisions_mask_rcnn_is_taken_with_its_background() -> None:
    source = published.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91)
    state = source.state_dict()
    state["roi_heads.box_predictor.cls_score.bias"] = torch.arange(91.0)
    state["roi_heads.box_predictor.bbox_pred.bias"] = torch.arange(4 * 91.0)
    state["roi_heads.mask_predictor.mask_fcn_logits.bias"] = torch.arange(91.0)
    detector = ours("mask_rcnn", 7)
    taken(detector, state, SEVEN)
    found = detector.state_dict()
    heads = "network.roi_heads."
    assert found[f"{heads}stages.0.box_predictor.cls_score.bias"].tolist() == [0, *IDS]
    sides = found[f"{heads}stages.0.box_predictor.bbox_pred.bias"].reshape(8, 4)
    assert sides[1:, 0].tolist() == [4 * k for k in IDS]
    assert found[f"{heads}branches.masks.predictor.mask_fcn_logits.bias"].tolist() == [0, *IDS]


@pytest.mark.parametrize(
    ("family", "build"),
    [
        ("fcos", published.fcos_resnet50_fpn),
        ("faster_rcnn", published.fasterrcnn_resnet50_fpn),
        ("keypoint_rcnn", published.keypointrcnn_resnet50_fpn),
    ],
)
def test_torchvisions_names_are_ours(family: Family, build: object) -> None:
    num = 2
    one_stage = family == "fcos"
    num_classes = num if one_stage else num + 1
    source = build(weights=None, weights_backbone=None, num_classes=num_classes)  # type: ignore[operator]
    detector = ours(family, num)
    taken(detector, source.state_dict(), ("a", "b"))


def test_what_a_file_says_of_its_outputs_puts_them_in_order() -> None:
    detector = ours("faster_rcnn", 2)
    name = "network.roi_heads.box_predictor.cls_score.bias"
    state = {**ours("faster_rcnn", 3).state_dict(), name: torch.tensor([9.0, 1.0, 2.0, 3.0])}
    wanted = detector.state_dict()
    found = for_categories(state, wanted, ("dog", "cat"), ("cat", "bird", "dog"), "file")
    assert found[name].tolist() == [9.0, 3.0, 1.0]
    with pytest.raises(SpecError, match="file: must tell every category.*none for fish"):
        for_categories(state, wanted, ("dog", "fish"), ("cat", "bird", "dog"), "file")


def test_coco_has_eighty_categories_among_its_outputs() -> None:
    assert len(OUTPUTS_OF_COCO) == 91
    assert len(set(OUTPUTS_OF_COCO) - {"N/A", "__background__"}) == 80
    assert [OUTPUTS_OF_COCO.index(name) for name in SEVEN] == list(IDS)
