"""The detector of a recipe: its network, and every count in it that numbers depend on."""

from typing import Annotated, Literal

from pydantic import Field

from rethink_ray.spec.model import Fraction, PositiveInt, Spec
from rethink_ray.spec.networks import BackboneName

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
    """The detector: one-stage (``retinanet``, ``fcos``) or two-stage (the others). Source: Lin et
    al. 2017, Tian et al. 2019, Ren et al. 2015, Cai & Vasconcelos 2018, He et al. 2017."""
    backbone: BackboneName = "resnet50"
    """The network below the pyramid: a name (``resnet50``, ``efficientnet_b7``, ``swin_t``),
    ``timm:<name>``, or ``package.module:function`` for one of your own."""
    norm: Norm = "gn"
    """The normalisation: GroupNorm, batch norm of each worker, batch norm over all workers, or
    batch norm whose statistics and scales stay fixed. Source: GroupNorm in both arms as in He et
    al. 2018, sec. 3."""
    norm_batch: PositiveInt | None = None
    """A check: how many images ``bn`` or ``sync_bn`` must normalise together. A study whose workers
    and passes give another number is refused; null accepts any number."""
    padding_group: PositiveInt = 2
    """How many neighbours in a training batch are padded to one size; GroupNorm sees the padding.
    Under ``bn`` and ``sync_bn`` the images that are normalised together are padded together, and
    scoring pads no image to another. Source: Detectron and detectron2 put two images on a GPU."""
    head_norm: Literal["same", "none"] = "same"
    """The normalisation of pyramid and heads: the backbone's, or none as in most published ``bn``
    recipes. Under ``frozen_bn`` they have none either way."""
    width: PositiveInt = 64
    """Channels of the last two stages of the ``tiny`` backbone. Other backbones fix their own."""
    adapters: Fraction = 0.0
    """Bottleneck width of the residual adapter behind each block of a frozen backbone, as a share
    of the block's channels. 0 adds no adapters. Source: Rebuffi et al. 2017."""
    neck: Neck = "fpn"
    """The feature pyramid. ``nas_fpn`` and ``bifpn`` have levels P3 to P7 in every family; on
    ``tiny`` they have the levels of its FPN. Source: Lin et al. 2017, Ghiasi et al. 2019, Tan et
    al. 2020."""
    neck_repeats: PositiveInt | None = None
    """How often NAS-FPN or BiFPN repeats its cell. Null is as published: 7 times and 3 times.
    Source: Ghiasi et al. 2019, Tan et al. 2020."""
    neck_merge: Literal["gate", "sum"] = "gate"
    """How four of NAS-FPN's seven nodes merge two maps: the coarser map's largest values gate the
    finer one, or the maps are added. Source: Ghiasi et al. 2019 (gates); tensorflow/tpu,
    models/official/detection/projects/copy_paste/configs (sums)."""
    neck_channels: PositiveInt = 256
    """Channels of every pyramid level. Source: Lin et al. 2017."""
    head_convs: Annotated[int, Field(ge=0)] = 4
    """Convolutions in each head of a one-stage detector. In a two-stage detector they stand in the
    box head, if ``box_head`` is null. Source: Lin et al. 2017 (RetinaNet)."""
    box_head: Literal["2fc", "4conv1fc"] | None = None
    """The two-stage box head by its usual name: two fully connected layers, or four convolutions
    and one of those. Null takes ``head_convs`` convolutions and one fully connected layer, or
    ``2fc`` if ``head_convs`` is 0. Source: He et al. 2018."""
    box_head_features: PositiveInt = 1024
    """Width of the fully connected layers of a two-stage box head. Source: Lin et al. 2017."""
    cascade_ious: Annotated[tuple[Fraction, ...], Field(min_length=2)] = (0.5, 0.6, 0.7)
    """Cascade R-CNN: the overlap (IoU) that makes a proposal positive, stage by stage. Source: Cai
    & Vasconcelos 2018."""
    cascade_class_agnostic: bool = True
    """Cascade R-CNN: all classes share one box regression. False gives each class its own. Source:
    Cai & Vasconcelos 2018."""
    cascade_from: Annotated[int, Field(ge=0)] = 0
    """Cascade R-CNN: the update at which the later stages join; until then the first stage trains
    alone. It counts from the start, so that all lengths share their trunk. Source: He et al. 2018,
    sec. 4.1 (540,000 of 810,000 updates)."""
    mask_head_convs: Annotated[int, Field(ge=0)] = 4
    """Mask R-CNN: convolutions of the mask head. Source: He et al. 2017, fig. 4."""
    mask_head_channels: PositiveInt = 256
    """Mask R-CNN: channels of the mask head's convolutions. Source: He et al. 2017, fig. 4."""
    keypoint_head_convs: Annotated[int, Field(ge=0)] = 8
    """Keypoint R-CNN: convolutions of the keypoint head. Source: He et al. 2017, sec. 5."""
    keypoint_head_channels: PositiveInt = 512
    """Keypoint R-CNN: channels of the keypoint head's convolutions. Source: He et al. 2017, sec.
    5."""
    num_keypoints: PositiveInt = 17
    """Keypoints of each object in the data set: 17 in COCO, 5 in ``shapes``."""
    min_side_px: PositiveInt = 800
    """Length in pixels to which the shorter side of an image is resized, as far as ``max_side_px``
    allows. Source: He et al. 2018."""
    max_side_px: PositiveInt = 1333
    """Upper limit in pixels for the longer side of a resized image. Source: Detectron."""
    anchor_base_px: PositiveInt = 32
    """Side of an anchor on the finest pyramid level, in pixels; it doubles from level to level.
    FCOS takes its regression ranges from it. Source: Lin et al. 2017."""
    foreground_iou: Fraction = 0.5
    """The overlap (IoU) from which an anchor of RetinaNet, or a proposal of a two-stage detector,
    is positive. A cascade has ``cascade_ious`` instead. Source: Lin et al. 2017, Ren et al.
    2015."""
    background_iou: Fraction = 0.4
    """RetinaNet: the overlap (IoU) below which an anchor is background. Anchors between this and
    ``foreground_iou`` enter no loss. Source: Lin et al. 2017."""
    rpn_pre_nms: PositiveInt = 2000
    """Two-stage detectors: best proposals per pyramid level that reach non-maximum suppression, in
    training and in scoring. Source: Detectron's number for training."""
    rpn_post_nms: PositiveInt = 1000
    """Two-stage detectors: proposals per image after non-maximum suppression, in training and in
    scoring. Source: Detectron's number for scoring (in training it keeps 2,000)."""
    rpn_batch: PositiveInt = 256
    """Two-stage detectors: anchors per image that are sampled for the loss of the proposal network.
    Source: Ren et al. 2015."""
    box_batch: PositiveInt = 512
    """Two-stage detectors: proposals per image that are sampled for the loss of the box head.
    Source: Lin et al. 2017."""
    candidates: PositiveInt = 1000
    """One-stage detectors: best scores per pyramid level that reach non-maximum suppression.
    Source: Lin et al. 2017."""
    score_threshold: Fraction = 0.05
    """Detections that score below this are dropped. Source: Lin et al. 2017."""
    nms_iou: Fraction = 0.5
    """The overlap (IoU) with a better box of its class from which a detection is dropped. Source:
    Lin et al. 2017."""
    detections: PositiveInt = 100
    """Best detections per image that are kept. Source: COCO's evaluation counts 100."""
