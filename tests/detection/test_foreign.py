"""Whole detectors from elsewhere: torchvision's names, and outputs put in our order."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models as classifiers
from torchvision.models import detection as published
from torchvision.models.detection.transform import resize_boxes

from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.foreign import (
    BACKGROUND,
    OUTPUTS_OF_COCO,
    rename_to_ours,
    select_categories,
)
from rethink_ray.detection.pixel_norm import is_pixel_norm
from rethink_ray.detection.resize import resize_image
from rethink_ray.detection.tensor_files import holds_detector, read_state_dict
from rethink_ray.detection.whole import load_whole_detector
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.recipe import DetectorSpec, Family, InitSpec
from tests.golden_words import assert_says

SEVEN = ("person", "bus", "cat", "dog", "zebra", "book", "toothbrush")
IDS = (1, 6, 17, 18, 24, 84, 90)
"""COCO's category ids of the seven, which are torchvision's outputs."""


def ours(family: Family, num_categories: int, **settings: Any) -> Detector:
    if family not in ("retinanet", "fcos"):
        settings["box_head"] = "2fc"
    spec = DetectorSpec(family=family, norm="frozen_bn", **settings)
    return build_detector(spec, InitSpec(), num_categories, seed=0)


def taken(detector: Detector, state: dict[str, Tensor], categories: tuple[str, ...]) -> None:
    wanted = detector.state_dict()
    named = rename_to_ours(state, wanted)
    load_whole_detector(
        detector, select_categories(named, wanted, categories, None, "file"), "file"
    )


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
def test_torchvisions_names_are_ours(family: Family, build: Any) -> None:
    num = 2
    one_stage = family == "fcos"
    num_classes = num if one_stage else num + 1
    source = build(weights=None, weights_backbone=None, num_classes=num_classes)
    detector = ours(family, num)
    taken(detector, source.state_dict(), ("a", "b"))
    named = rename_to_ours(source.state_dict(), detector.state_dict())
    numbers = {k: v for k, v in named.items() if not k.endswith("num_batches_tracked")}
    assert numbers.keys() == {k for k in detector.state_dict() if not is_pixel_norm(k)}
    assert all(same_name(detector, name, value) for name, value in numbers.items())


def test_what_a_file_says_of_its_outputs_puts_them_in_order() -> None:
    detector = ours("faster_rcnn", 2)
    name = "network.roi_heads.box_predictor.cls_score.bias"
    state = {**ours("faster_rcnn", 3).state_dict(), name: torch.tensor([9.0, 1.0, 2.0, 3.0])}
    wanted = detector.state_dict()
    found = select_categories(state, wanted, ("dog", "cat"), ("cat", "bird", "dog"), "file")
    assert found[name].tolist() == [9.0, 3.0, 1.0]
    anchors = "network.rpn.head.cls_logits.weight"  # three of them, and three categories
    assert torch.equal(found[anchors], state[anchors])
    with pytest.raises(SpecError, match="file: .*fish") as refused:
        select_categories(state, wanted, ("dog", "fish"), ("cat", "bird", "dog"), "file")
    assert_says("detection", "detector without a category", str(refused.value))


def test_coco_has_eighty_categories_among_its_outputs() -> None:
    assert len(OUTPUTS_OF_COCO) == 91
    assert len(set(OUTPUTS_OF_COCO) - {"N/A", "__background__"}) == 80
    assert [OUTPUTS_OF_COCO.index(name) for name in SEVEN] == list(IDS)


@pytest.mark.parametrize(
    ("family", "build"),
    [
        ("retinanet", published.retinanet_resnet50_fpn),
        pytest.param("faster_rcnn", published.fasterrcnn_resnet50_fpn, marks=pytest.mark.slow),
    ],
)
def test_we_find_what_torchvision_finds_under_our_labels(family: Family, build: Any) -> None:
    """On the same pixels: torchvision resizes without antialiasing, so it gets them resized."""
    torch.manual_seed(0)
    source = build(
        weights=None, weights_backbone=None, num_classes=91, min_size=160, max_size=320
    ).eval()
    state = source.state_dict()
    known = [k for k, name in enumerate(OUTPUTS_OF_COCO) if name not in ("N/A", BACKGROUND)]
    for name in [n for n in state if "classification_head.cls_logits" in n or "cls_score" in n]:
        drawn = torch.randn(state[name].shape) * (0.02 if "cls_score" in name else 0.3)
        if name.endswith("bias"):  # outputs that stand for nothing never win
            no_one = set(range(91)) - set(known) - ({0} if "cls_score" in name else set())
            drawn.view(-1, 91)[:, sorted(no_one)] = -50.0
        state[name] = drawn
    source.load_state_dict(state)
    detector = ours(family, 80, min_side_px=160, max_side_px=320)
    taken(detector, state, tuple(OUTPUTS_OF_COCO[k] for k in known))
    image = torch.rand(3, 180, 240)
    with torch.no_grad():
        theirs = source([resize_image(image, 160, 213)])[0]
    theirs["boxes"] = resize_boxes(theirs["boxes"], [160, 213], [180, 240])
    found = detector.eval().detect([image])[0]
    num = len(found["labels"])
    assert num == 100
    assert [known[label - 1] for label in found["labels"]] == theirs["labels"][:num].tolist()
    assert torch.equal(found["boxes_xyxy"], theirs["boxes"][:num])
    torch.testing.assert_close(found["scores"], theirs["scores"][:num], atol=1e-6, rtol=0)


def saved(path: Path, model: nn.Module, prefix: str = "") -> Path:
    """A file with the model's names, each with one number."""
    torch.save({prefix + name: torch.zeros(1) for name in model.state_dict()}, path)
    return path


def is_detector(path: Path) -> bool:
    return holds_detector(read_state_dict(path, "file"))


@pytest.mark.parametrize(
    "name",
    [
        "fasterrcnn_resnet50_fpn",
        "retinanet_resnet50_fpn",
        "fcos_resnet50_fpn",
        "maskrcnn_resnet50_fpn_v2",
        "ssd300_vgg16",
    ],
)
def test_a_published_detector_is_told_from_a_classifier(tmp_path: Path, name: str) -> None:
    with torch.device("meta"):
        model = getattr(published, name)(weights=None, weights_backbone=None)
    assert is_detector(saved(tmp_path / "detector.pth", model))
    assert is_detector(saved(tmp_path / "wrapped.pth", model, "module."))


@pytest.mark.parametrize("family", ["retinanet", "fcos", "faster_rcnn", "cascade_mask_rcnn"])
def test_our_detectors_are_told_from_classifiers(tmp_path: Path, family: Family) -> None:
    settings = {"backbone": "tiny", "width": 8, "neck_channels": 8}
    detector = ours(family, 2, **settings)
    assert is_detector(saved(tmp_path / "ours.pth", detector))
    assert not is_detector(saved(tmp_path / "body.pth", detector.network.backbone.body))


@pytest.mark.parametrize(
    "name",
    ["resnet50", "resnext101_32x8d", "efficientnet_b0", "swin_t", "convnext_tiny", "vit_b_16"],
)
def test_a_classifier_is_no_detector(tmp_path: Path, name: str) -> None:
    with torch.device("meta"):
        model = classifiers.get_model(name, weights=None)
    assert not is_detector(saved(tmp_path / "classifier.pth", model, "backbone."))


def test_two_categories_do_not_reorder_the_proposal_network() -> None:
    detector = ours("faster_rcnn", 2, backbone="tiny", neck_channels=8)
    needed = detector.state_dict()
    name = "network.rpn.head.bbox_pred.bias"  # 12 numbers, as four per output would be
    state = {**needed, name: torch.arange(12.0)}
    reordered = select_categories(state, needed, ("dog", "cat"), ("cat", "dog"), "file")
    assert reordered[name].tolist() == list(range(12))
