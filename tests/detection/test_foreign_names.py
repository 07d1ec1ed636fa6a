"""Detectors of detectron2 and mmdetection: names, anchors and the background's place."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from rethink_ray.detection.detector_start import fill_class_rows
from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.foreign import rename_to_ours
from rethink_ray.detection.foreign_names import CATEGORIES_OF_COCO, convert_foreign
from rethink_ray.detection.whole import require_fitting_detector
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.pixel_input import InputSpec
from rethink_ray.spec.recipe import DetectorSpec, Family, InitSpec

OURS = ("dog", "whale")
NORMS = ("weight", "bias", "running_mean", "running_var")
BLOCKS = (3, 4, 6, 3)
CAFFE = InputSpec(mean=(103.53, 116.28, 123.675), std=(1, 1, 1), order="bgr", scale=255)


def meta(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


def conv(name: str, out: int, inner: int, side: int, *, bias: bool = True) -> dict[str, Tensor]:
    shapes = {f"{name}.weight": meta(out, inner, side, side)}
    return shapes | ({f"{name}.bias": meta(out)} if bias else {})


def resnet50(stem: str, block: str, norm: str, short: tuple[str, str]) -> dict[str, Tensor]:
    """Names by templates: ``{stage}`` from 1, ``{number}``, ``{conv}`` from 1."""
    state = conv(stem, 64, 3, 7, bias=False)
    state |= {f"{norm.format(at=stem, conv=1)}.{part}": meta(64) for part in NORMS}
    inner = 64
    for stage, num in enumerate(BLOCKS, start=1):
        width = 64 * 2 ** (stage - 1)
        for number in range(num):
            at = block.format(stage=stage, stage_plus=stage + 1, number=number)
            sizes = [(width, inner, 1), (width, width, 3), (4 * width, width, 1)]
            for which, (out, channels, side) in enumerate(sizes, start=1):
                name = f"{at}.conv{which}"
                state |= conv(name, out, channels, side, bias=False)
                base = norm.format(at=name, conv=which)
                state |= {f"{base}.{part}": meta(out) for part in NORMS}
            if number == 0:
                state |= conv(f"{at}.{short[0]}", 4 * width, inner, 1, bias=False)
                state |= {f"{at}.{short[1]}.{part}": meta(4 * width) for part in NORMS}
            inner = 4 * width
    return state


def detectron2(family: Family) -> dict[str, Tensor]:
    state = resnet50(
        "backbone.bottom_up.stem.conv1",
        "backbone.bottom_up.res{stage_plus}.{number}",
        "{at}.norm",
        ("shortcut", "shortcut.norm"),
    )
    is_retina = family == "retinanet"
    for level in range(3 if is_retina else 2, 6):
        state |= conv(f"backbone.fpn_lateral{level}", 256, 64 * 2**level, 1)
        state |= conv(f"backbone.fpn_output{level}", 256, 256, 3)
    if is_retina:
        state |= conv("backbone.top_block.p6", 256, 2048, 3)
        state |= conv("backbone.top_block.p7", 256, 256, 3)
        for n, tower in [(2 * n, t) for n in range(4) for t in ("cls", "bbox")]:
            state |= conv(f"head.{tower}_subnet.{n}", 256, 256, 3)
        state |= conv("head.cls_score", 9 * 80, 256, 3) | conv("head.bbox_pred", 36, 256, 3)
        return state | {"anchor_generator.cell_anchors.0": meta(9, 4)}
    rpn = "proposal_generator.rpn_head."
    state |= conv(f"{rpn}conv", 256, 256, 3)
    state |= conv(f"{rpn}objectness_logits", 3, 256, 1) | conv(f"{rpn}anchor_deltas", 12, 256, 1)
    state |= linear("roi_heads.box_head.fc1", 1024, 256 * 49)
    state |= linear("roi_heads.box_head.fc2", 1024, 1024)
    state |= linear("roi_heads.box_predictor.cls_score", 81, 1024)
    state |= linear("roi_heads.box_predictor.bbox_pred", 320, 1024)
    for n in range(1, 5):
        state |= conv(f"roi_heads.mask_head.mask_fcn{n}", 256, 256, 3)
    state |= conv("roi_heads.mask_head.deconv", 256, 256, 2)
    return state | conv("roi_heads.mask_head.predictor", 80, 256, 1) | {"pixel_mean": meta(3)}


def mmdetection(family: Family) -> dict[str, Tensor]:
    state = {
        re.sub(r"\.conv(\d)\.bn", r".bn\1", name): value
        for name, value in resnet50(
            "backbone.conv1",
            "backbone.layer{stage}.{number}",
            "{at}.bn",
            ("downsample.0", "downsample.1"),
        ).items()
    }
    state = {name.replace("backbone.conv1.bn", "backbone.bn1"): v for name, v in state.items()}
    is_retina = family == "retinanet"
    for number, level in enumerate(range(3 if is_retina else 2, 6)):
        state |= conv(f"neck.lateral_convs.{number}.conv", 256, 64 * 2**level, 1)
        state |= conv(f"neck.fpn_convs.{number}.conv", 256, 256, 3)
    if is_retina:
        state |= conv("neck.fpn_convs.3.conv", 256, 2048, 3)
        state |= conv("neck.fpn_convs.4.conv", 256, 256, 3)
        for n, tower in [(n, t) for n in range(4) for t in ("cls", "reg")]:
            state |= conv(f"bbox_head.{tower}_convs.{n}.conv", 256, 256, 3)
        return (
            state
            | conv("bbox_head.retina_cls", 9 * 80, 256, 3)
            | conv("bbox_head.retina_reg", 36, 256, 3)
        )
    state |= conv("rpn_head.rpn_conv", 256, 256, 3)
    state |= conv("rpn_head.rpn_cls", 3, 256, 1) | conv("rpn_head.rpn_reg", 12, 256, 1)
    state |= linear("roi_head.bbox_head.shared_fcs.0", 1024, 256 * 49)
    state |= linear("roi_head.bbox_head.shared_fcs.1", 1024, 1024)
    state |= linear("roi_head.bbox_head.fc_cls", 81, 1024)
    state |= linear("roi_head.bbox_head.fc_reg", 320, 1024)
    for n in range(4):
        state |= conv(f"roi_head.mask_head.convs.{n}.conv", 256, 256, 3)
    state |= conv("roi_head.mask_head.upsample", 256, 256, 2)
    return state | conv("roi_head.mask_head.conv_logits", 80, 256, 1)


def linear(name: str, out: int, inner: int) -> dict[str, Tensor]:
    return {f"{name}.weight": meta(out, inner), f"{name}.bias": meta(out)}


@pytest.mark.parametrize("family", ["retinanet", "faster_rcnn", "mask_rcnn"])
@pytest.mark.parametrize("write", [detectron2, mmdetection])
def test_a_published_detector_fills_ours(family: Family, write: Any) -> None:
    theirs = write(family)
    if family == "faster_rcnn":
        theirs = {name: value for name, value in theirs.items() if "mask_head" not in name}
    settings: dict[str, Any] = (
        {"p6_from": "c5"} if family == "retinanet" else {"box_head": "2fc", "head_convs": 0}
    )
    spec = DetectorSpec(family=family, norm="frozen_bn", **settings)
    with torch.device("meta"):
        needed = build_detector(spec, InitSpec(), len(OURS), seed=0).state_dict()
    state, learned = convert_foreign(theirs, "file")
    assert learned == CATEGORIES_OF_COCO
    renamed = rename_to_ours(state, needed)
    filled, kept = fill_class_rows(needed, renamed, learned, OURS, "by_name")
    require_fitting_detector(needed, filled, "file")
    assert kept.categories == {"dog": "dog"}
    assert len(kept.rows) == {"retinanet": 2, "faster_rcnn": 4, "mask_rcnn": 6}[family]


def test_rows_come_into_torchvisions_order() -> None:
    """Row s * 3 + r of detectron2's anchors is row r * 3 + s of torchvision's."""
    state = {
        "backbone.bottom_up.stem.conv1.weight": torch.zeros(1),
        "head.bbox_pred.bias": torch.arange(36.0),
        "head.cls_score.bias": torch.arange(18.0),
    }
    converted, learned = convert_foreign(state, "file")
    anchors = converted["head.regression_head.bbox_reg.bias"].reshape(9, 4)
    assert (anchors[:, 0] / 4).tolist() == [0, 3, 6, 1, 4, 7, 2, 5, 8]
    logits = converted["head.classification_head.cls_logits.bias"].reshape(9, 2)
    assert (logits[:, 1]).tolist() == [1, 7, 13, 3, 9, 15, 5, 11, 17]
    assert learned is None  # two categories, whose names it does not say
    state = {
        "neck.lateral_convs.0.conv.bias": torch.zeros(1),
        "roi_head.bbox_head.fc_cls.bias": torch.tensor([1.0, 2, 9]),
        "roi_head.bbox_head.fc_reg.bias": torch.arange(8.0),
        "roi_head.mask_head.conv_logits.bias": torch.tensor([1.0, 2]),
    }
    converted, _ = convert_foreign(state, "file")
    assert converted["roi_heads.box_predictor.cls_score.bias"].tolist() == [9, 1, 2]
    assert converted["roi_heads.box_predictor.bbox_pred.bias"].tolist() == [0] * 4 + [*range(8)]
    assert converted["roi_heads.mask_predictor.mask_fcn_logits.bias"].tolist() == [0, 1, 2]


def test_a_regression_of_one_category_is_that_categorys() -> None:
    state = {
        "neck.lateral_convs.0.conv.bias": torch.zeros(1),
        "roi_head.bbox_head.fc_cls.bias": torch.tensor([1.0, 9]),
        "roi_head.bbox_head.fc_reg.bias": torch.arange(4.0),
    }
    converted, _ = convert_foreign(state, "file")
    assert converted["roi_heads.box_predictor.bbox_pred.bias"].tolist() == [0, 0, 0, 0, 0, 1, 2, 3]


def test_a_regression_that_three_categories_share_stays_as_it_is() -> None:
    state = {
        "neck.lateral_convs.0.conv.bias": torch.zeros(1),
        "roi_head.bbox_head.fc_cls.bias": torch.zeros(4),
        "roi_head.bbox_head.fc_reg.bias": torch.arange(4.0),
    }
    converted, _ = convert_foreign(state, "file")
    assert converted["roi_heads.box_predictor.bbox_pred.bias"].tolist() == [0, 1, 2, 3]


def test_caffes_resnets_are_refused_by_their_input() -> None:
    with pytest.raises(SpecError, match="file: must be a ResNet whose blocks have their stride"):
        convert_foreign(detectron2("retinanet"), "file", CAFFE)
    state = {"backbone.body.conv1.weight": torch.zeros(1)}
    assert convert_foreign(state, "file", CAFFE) == (state, None)
