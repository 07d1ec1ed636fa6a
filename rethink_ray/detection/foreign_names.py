"""Converts detectors of detectron2 and mmdetection to torchvision's names and order of rows.

Faster R-CNN, Mask R-CNN and RetinaNet on a ResNet with a pyramid agree with torchvision's up to
names, the place of the background, and detectron2's order of anchors. Sources: detectron2,
``detectron2/modeling/{anchor_generator.py,meta_arch/retinanet.py,roi_heads/fast_rcnn.py}``;
mmdetection from 2.0 on, ``mmdet/models/roi_heads/bbox_heads/bbox_head.py`` and
``mmdet/models/task_modules/prior_generators/anchor_generator.py``.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from rethink_ray.detection.class_names import NO_CATEGORY
from rethink_ray.detection.foreign import OUTPUTS_OF_COCO
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.pixel_input import InputSpec

Rename = tuple[str, str]
CATEGORIES_OF_COCO = tuple(name for name in OUTPUTS_OF_COCO if name.lower() not in NO_CATEGORY)
"""COCO's eighty categories in the order of their ids, as both libraries number them."""
BODY = "backbone.body."
HEADS = "roi_heads."
FROM_DETECTRON2: tuple[Rename, ...] = (
    (r"^backbone\.bottom_up\.stem\.conv1\.norm\.", rf"{BODY}bn1."),
    (r"^backbone\.bottom_up\.stem\.conv1\.", rf"{BODY}conv1."),
    (r"^(backbone\.bottom_up\.res\d\.\d+)\.conv(\d)\.norm\.", r"\1.bn\2."),
    (r"^(backbone\.bottom_up\.res\d\.\d+)\.shortcut\.norm\.", r"\1.downsample.1."),
    (r"^(backbone\.bottom_up\.res\d\.\d+)\.shortcut\.", r"\1.downsample.0."),
    *((rf"^backbone\.bottom_up\.res{n + 1}\.", rf"{BODY}layer{n}.") for n in range(1, 5)),
    (r"^backbone\.top_block\.(p[67])\.", r"backbone.fpn.extra_blocks.\1."),
    (r"^proposal_generator\.rpn_head\.conv\.", "rpn.head.conv.0.0."),
    (r"^proposal_generator\.rpn_head\.objectness_logits\.", "rpn.head.cls_logits."),
    (r"^proposal_generator\.rpn_head\.anchor_deltas\.", "rpn.head.bbox_pred."),
    (r"^roi_heads\.box_head\.fc1\.", f"{HEADS}box_head.fc6."),
    (r"^roi_heads\.box_head\.fc2\.", f"{HEADS}box_head.fc7."),
    *((rf"^roi_heads\.mask_head\.mask_fcn{n + 1}\.", f"{HEADS}mask_head.{n}.0.") for n in range(4)),
    (r"^roi_heads\.mask_head\.deconv\.", f"{HEADS}mask_predictor.conv5_mask."),
    (r"^roi_heads\.mask_head\.predictor\.", f"{HEADS}mask_predictor.mask_fcn_logits."),
    *(
        (rf"^head\.{theirs}_subnet\.{2 * n}\.", f"head.{ours}_head.conv.{n}.0.")
        for theirs, ours in (("cls", "classification"), ("bbox", "regression"))
        for n in range(4)
    ),
    (r"^head\.cls_score\.", "head.classification_head.cls_logits."),
    (r"^head\.bbox_pred\.", "head.regression_head.bbox_reg."),
)
FROM_MMDETECTION: tuple[Rename, ...] = (
    (r"^backbone\.(conv1|bn1|layer\d)\.", rf"{BODY}\1."),
    (r"^neck\.lateral_convs\.(\d)\.conv\.", r"backbone.fpn.inner_blocks.\1.0."),
    (r"^neck\.fpn_convs\.(\d)\.conv\.", r"backbone.fpn.layer_blocks.\1.0."),
    (r"^rpn_head\.rpn_conv\.", "rpn.head.conv.0.0."),
    (r"^rpn_head\.rpn_cls\.", "rpn.head.cls_logits."),
    (r"^rpn_head\.rpn_reg\.", "rpn.head.bbox_pred."),
    (r"^roi_head\.bbox_head\.shared_fcs\.0\.", f"{HEADS}box_head.fc6."),
    (r"^roi_head\.bbox_head\.shared_fcs\.1\.", f"{HEADS}box_head.fc7."),
    (r"^roi_head\.bbox_head\.fc_cls\.", f"{HEADS}box_predictor.cls_score."),
    (r"^roi_head\.bbox_head\.fc_reg\.", f"{HEADS}box_predictor.bbox_pred."),
    (r"^roi_head\.mask_head\.convs\.(\d)\.conv\.", rf"{HEADS}mask_head.\1.0."),
    (r"^roi_head\.mask_head\.upsample\.", f"{HEADS}mask_predictor.conv5_mask."),
    (r"^roi_head\.mask_head\.conv_logits\.", f"{HEADS}mask_predictor.mask_fcn_logits."),
    (r"^bbox_head\.cls_convs\.(\d)\.conv\.", r"head.classification_head.conv.\1.0."),
    (r"^bbox_head\.reg_convs\.(\d)\.conv\.", r"head.regression_head.conv.\1.0."),
    (r"^bbox_head\.retina_cls\.", "head.classification_head.cls_logits."),
    (r"^bbox_head\.retina_reg\.", "head.regression_head.bbox_reg."),
)
NOT_LEARNED = re.compile(r"(^|\.)(cell_anchors\.\d+|pixel_mean|pixel_std)$")
"""Buffers of detectron2 that follow from its settings."""
SCALES, RATIOS = 3, 3
"""Anchors of RetinaNet: detectron2 counts ratios inside scales, the others scales inside ratios."""


def convert_foreign(
    state: Mapping[str, Tensor], where: str, stated: InputSpec | None = None
) -> tuple[Mapping[str, Tensor], tuple[str, ...] | None]:
    """Returns a state dict under torchvision's names, and the categories if they are COCO's eighty.

    A state dict with other names than those of the two libraries stays as it is.

    Args:
        state: of a whole detector.
        where: the beginning of error messages.
        stated: ``init.input``.

    Raises:
        SpecError: the stated input is that of Caffe's ResNets, which have another layer of stride
            2, though names and shapes are the same.
    """
    plain = {name.removeprefix("module."): value for name, value in state.items()}
    if any(name.startswith("backbone.bottom_up.") for name in plain):
        learned = {k: v for k, v in plain.items() if not NOT_LEARNED.search(k)}
        converted = _reorder_anchors(_number_levels(_rename_all(learned, FROM_DETECTRON2)))
    elif any(name.startswith("neck.lateral_convs.") for name in plain):
        converted = _name_extra_levels(_rename_all(plain, FROM_MMDETECTION))
    else:
        return state, None
    if stated is not None and stated.scale == 255 and set(stated.std) == {1.0}:
        must = "must be a ResNet whose blocks have their stride in the 3x3 convolution"
        shown = "pixels with a deviation of 1, as Caffe's ResNets with the stride in a 1x1 have"
        remedy = "Choose weights on a ResNet of PyTorch (mmdetection: style pytorch)."
        raise SpecError(explain(where, must, shown, remedy))
    return _move_background(converted)


def _rename_all(state: Mapping[str, Tensor], rules: tuple[Rename, ...]) -> dict[str, Tensor]:
    renamed = {}
    for name, value in state.items():
        for pattern, ours in rules:
            name = re.sub(pattern, ours, name)
        renamed[name] = value
    return renamed


def _number_levels(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Numbers detectron2's pyramid from its finest level: ``fpn_lateral3`` is the first of 3..5."""
    pattern = re.compile(r"^backbone\.fpn_(lateral|output)(\d)\.")
    first = min((int(m[2]) for m in map(pattern.match, state) if m), default=0)
    parts = {"lateral": "inner_blocks", "output": "layer_blocks"}
    numbered = {}
    for name, value in state.items():
        match = pattern.match(name)
        if match:
            level = int(match[2]) - first
            name = f"backbone.fpn.{parts[match[1]]}.{level}.0.{name[match.end() :]}"
        numbered[name] = value
    return numbered


def _name_extra_levels(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names mmdetection's pyramid convolutions beyond its laterals: they make P6 and P7."""
    num = len({name for name in state if re.match(r"backbone\.fpn\.inner_blocks\.\d\.0\.w", name)})
    extra = {f"backbone.fpn.layer_blocks.{num + i}.0.": f"p{6 + i}" for i in (0, 1)}
    named = {}
    for name, value in state.items():
        for prefix, level in extra.items():
            if name.startswith(prefix):
                name = f"backbone.fpn.extra_blocks.{level}.{name.removeprefix(prefix)}"
        named[name] = value
    return named


def _reorder_anchors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Puts the anchors of detectron2's RetinaNet into torchvision's order."""
    reordered = dict(state)
    for name in state:
        if "classification_head.cls_logits" in name or ".bbox_reg." in name:
            value = state[name]
            if value.dim() and len(value) % (SCALES * RATIOS) == 0:
                by_scale = value.reshape(SCALES, RATIOS, -1, *value.shape[1:])
                reordered[name] = by_scale.transpose(0, 1).reshape(value.shape)
    return reordered


def _move_background(
    state: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], tuple[str, ...] | None]:
    """Puts the background's rows first; boxes and masks, which have none, get rows of zeros.

    A regression that all categories share has none either. With one category both look alike, and
    it is taken for that category's, as every box head here has one.
    """
    moved = dict(state)
    num_categories = _count_categories(state)
    for name, value in state.items():
        if "box_predictor.cls_score" in name:
            moved[name] = value.roll(1, dims=0)
        elif "mask_fcn_logits" in name:
            moved[name] = torch.cat([torch.zeros_like(value[:1]), value])
        elif "box_predictor.bbox_pred" in name and value.shape[:1] == (4 * num_categories,):
            moved[name] = torch.cat([torch.zeros_like(value[:4]), value])
    is_of_coco = num_categories == len(CATEGORIES_OF_COCO)
    return moved, CATEGORIES_OF_COCO if is_of_coco else None


def _count_categories(state: Mapping[str, Tensor]) -> int:
    """Returns the number of categories without background; 0 if no tensor has rows for them."""
    for name, value in state.items():
        if value.dim() and "box_predictor.cls_score" in name:
            return len(value) - 1
        if value.dim() and "classification_head.cls_logits" in name:
            return len(value) // (SCALES * RATIOS)
    return 0
