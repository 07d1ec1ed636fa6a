"""The detector of a recipe: its network, and every count in it that numbers depend on."""

from typing import Annotated, Literal

from pydantic import Field

from rethink_ray.spec.model import Fraction, PositiveInt, Spec
from rethink_ray.spec.networks import Backbone

Norm = Literal["gn", "bn", "sync_bn", "frozen_bn"]
Family = Literal[
    "retinanet",
    "fcos",
    "faster_rcnn",
    "cascade_rcnn",
    "mask_rcnn",
    "cascade_mask_rcnn",
    "keypoint_rcnn",
]
Neck = Literal["fpn", "nas_fpn", "bifpn"]

WITH_MASKS = frozenset({"mask_rcnn", "cascade_mask_rcnn"})
"""Families that learn from ``masks`` and find them."""
WITH_KEYPOINTS = frozenset({"keypoint_rcnn"})
"""Families that learn from ``keypoints`` and find them."""
TWO_STAGE = frozenset({"faster_rcnn", "cascade_rcnn"}) | WITH_MASKS | WITH_KEYPOINTS
"""Families with a proposal network; one-stage families classify every anchor or point once."""


class DetectorSpec(Spec):
    """Which network, and every count inside it that changes its numbers or its cost."""

    family: Family = "retinanet"
    backbone: Backbone = "resnet50"
    """A name (``resnet50``, ``efficientnet_b7``, ``swin_t``), ``timm:<name>``, or
    ``package.module:function`` for one of your own."""
    norm: Norm = "gn"
    norm_batch: PositiveInt | None = None
    """A check: how many images ``bn`` or ``sync_bn`` must normalise together (``bn``: batch /
    workers, or ``images_per_step``). ``None`` = any number."""
    padding_group: PositiveInt = 2
    """Neighbours in a training batch that are padded to one size: GroupNorm sees the padding. 2 as
    published (Detectron and detectron2 put two images on a GPU). Under ``bn`` and ``sync_bn`` the
    images that are normalised together are padded together. Scoring pads no image to another."""
    head_norm: Literal["same", "none"] = "same"
    """Of pyramid and heads: the backbone's norm, or none (most published ``bn`` recipes). Under
    ``frozen_bn`` there is none either way."""
    width: PositiveInt = 64
    """Channels of the last stage of the ``tiny`` backbone; other backbones fix their own."""
    adapters: Fraction = 0.0
    """Residual adapters behind every block of a frozen backbone (Rebuffi et al. 2017): the width of
    their bottleneck as a share of the block's channels; 0 is none."""
    neck: Neck = "fpn"
    """The pyramid: Lin et al. 2017, Ghiasi et al. 2019 or Tan et al. 2020. The latter two stand on
    P3 to P7 in every family, as published; with ``tiny`` on the levels that its FPN has."""
    neck_repeats: PositiveInt | None = None
    """How often NAS-FPN or BiFPN repeats its cell; ``None`` = as published, 7 and 3."""
    neck_channels: PositiveInt = 256
    head_convs: Annotated[int, Field(ge=0)] = 4
    """Convolutions in each one-stage head (RetinaNet, FCOS) or in the box head (two stages)."""
    box_head: Literal["2fc", "4conv1fc"] | None = None
    """Two-stage box head by its usual name: two fully connected layers, or four convolutions and
    one of those (He et al. 2018). ``None``: ``head_convs`` convolutions and one, or 2fc without."""
    box_head_features: PositiveInt = 1024
    """Width of the fully connected part of a two-stage box head."""
    cascade_ious: Annotated[tuple[Fraction, ...], Field(min_length=2)] = (0.5, 0.6, 0.7)
    """Cascade R-CNN: the overlap that makes a positive, stage by stage (Cai & Vasconcelos 2018)."""
    cascade_class_agnostic: bool = True
    """Cascade R-CNN: one box regression for all classes, as published, instead of one for each."""
    cascade_from: Annotated[int, Field(ge=0)] = 0
    """Cascade R-CNN: the update at which the later stages join; until then the first one is all
    there is (He et al. 2018, sec. 4.1: 540,000 of 810,000 from scratch). Counted from the start, so
    that all lengths share their trunk."""
    mask_head_convs: Annotated[int, Field(ge=0)] = 4
    mask_head_channels: PositiveInt = 256
    """Mask R-CNN: width of the mask head's convolutions (He et al. 2017, fig. 4)."""
    keypoint_head_convs: Annotated[int, Field(ge=0)] = 8
    keypoint_head_channels: PositiveInt = 512
    """Keypoint R-CNN: width of the keypoint head's convolutions (He et al. 2017, sec. 5)."""
    num_keypoints: PositiveInt = 17
    """Keypoints of an object in the data set: 17 in COCO, 5 in ``shapes``."""
    min_side_px: PositiveInt = 800
    max_side_px: PositiveInt = 1333
    anchor_base_px: PositiveInt = 32
    """Anchor side on the finest pyramid level; doubles per level (FCOS: the regression ranges)."""
    foreground_iou: Fraction = 0.5
    background_iou: Fraction = 0.4
    rpn_pre_nms: PositiveInt = 2000
    rpn_post_nms: PositiveInt = 1000
    rpn_batch: PositiveInt = 256
    """Anchors sampled per image for the proposal network's loss."""
    box_batch: PositiveInt = 512
    """Proposals sampled per image for the box head's loss."""
    candidates: PositiveInt = 1000
    """One-stage detectors: top scores per pyramid level that reach NMS."""
    score_threshold: Fraction = 0.05
    nms_iou: Fraction = 0.5
    detections: PositiveInt = 100
