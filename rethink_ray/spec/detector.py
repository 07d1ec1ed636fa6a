"""The detector of a recipe: its network, and every count in it that numbers depend on."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from rethink_ray.spec.model import Fraction, NotNegative, PositiveInt, Spec
from rethink_ray.spec.networks import BackboneName
from rethink_ray.spec.own_families import Family as Family
from rethink_ray.spec.own_families import FamilyName, axes_of
from rethink_ray.spec.rules.rule import Rule

Norm = Literal["gn", "bn", "sync_bn", "frozen_bn"]
UpperNorm = Literal["same", "none", "gn", "frozen_bn"]
"""The normalisation of a pyramid or of heads: the backbone's, none, or one of their own."""
Neck = Literal["fpn", "nas_fpn", "bifpn", "simple"]
BoxLossKind = Literal["l1", "smooth_l1", "giou"]

WITH_MASKS = frozenset({"mask_rcnn", "cascade_mask_rcnn"})
"""Families that learn from ``masks`` and find them."""
WITH_KEYPOINTS = frozenset({"keypoint_rcnn"})
"""Families that learn from ``keypoints`` and find them."""
TWO_STAGE = frozenset({"faster_rcnn", "cascade_rcnn"}) | WITH_MASKS | WITH_KEYPOINTS
"""Families with a proposal network; one-stage families classify every anchor or point once."""
# JSON has lists, which a strict model refuses behind a validator that runs before its fields
CascadeIous = Annotated[tuple[Fraction, ...], Field(min_length=2, strict=False)]
WITH_CASCADE = frozenset({"cascade_rcnn", "cascade_mask_rcnn"})
"""Families with several box stages."""
PUBLISHED_REPEATS: Mapping[Neck, int] = {"nas_fpn": 7, "bifpn": 3}
"""How often a neck repeats its cell. Source: Ghiasi et al. 2019 (7 at 256 and 384 channels), Tan et
al. 2020 (D0)."""
REFUSED_BETWEEN: Mapping[str, tuple[float, float]] = {"focal_gamma": (0.0, 1.0)}
"""Keys that refuse every value between two values that they accept."""
FORMER_KEYS: Mapping[str, tuple[str, ...]] = {
    "rpn_pre_nms": ("rpn_pre_nms_train", "rpn_pre_nms_test"),
    "rpn_post_nms": ("rpn_post_nms_train", "rpn_post_nms_test"),
}
"""Keys of version 0.1 -> the keys that have taken their place; all of them take the value."""


class DetectorSpec(Spec):
    """Which network, and every count inside it that changes its numbers or its cost."""

    family: FamilyName = "retinanet"
    """The detector: one-stage (``retinanet``, ``fcos``) or two-stage (``faster_rcnn``,
    ``cascade_rcnn``, ``mask_rcnn``, ``cascade_mask_rcnn``, ``keypoint_rcnn``);
    ``torchvision:ssd300_vgg16``, ``torchvision:ssdlite320_mobilenet_v3_large``,
    ``transformers:rtdetr_v2_r18vd`` or ``transformers:rtdetr_v2_r50vd``; or
    ``package.module:build`` for one of your own. Source: Lin et al. 2017, Tian et al. 2019, Ren et
    al. 2015, Cai & Vasconcelos 2018, He et al. 2017, Liu et al. 2016 (SSD), Sandler et al. 2018
    (SSDlite), Lv et al. 2024 (RT-DETRv2)."""
    backbone: BackboneName = "resnet50"
    """The network below the pyramid: a name (``resnet50``, ``efficientnet_b7``, ``swin_t``),
    ``timm:<name>`` (plain ViTs too, such as ``timm:vit_small_patch14_dinov2``), or
    ``package.module:function`` for one of your own."""
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
    norm_epsilon: NotNegative | None = None
    """What ``frozen_bn`` adds to a variance. Null is the network's own (1e-5 in residual ones).
    Source: 0 in torchvision's first detectors with COCO weights
    (``torchvision/models/detection/_utils.py``, ``overwrite_eps``), but 1e-5 in its FCOS."""
    head_norm: UpperNorm = "same"
    """The normalisation of the heads, and of the pyramid unless ``neck_norm`` says otherwise: the
    backbone's (``same``), none as in most published ``bn`` recipes, GroupNorm (``gn``), or batch
    norm whose loaded statistics and scales stay fixed (``frozen_bn``). Under ``frozen_bn`` in the
    backbone ``same`` is none. Source: ``gn`` in torchvision's second RetinaNet, ``same`` under
    ``sync_bn`` in its second Faster and Mask R-CNN."""
    neck_norm: UpperNorm | None = None
    """The normalisation of the pyramid. Null is that of ``head_norm``. Source: ``none`` in
    torchvision's second RetinaNet, whose heads have GroupNorm."""
    width: PositiveInt = 64
    """Channels of the last two stages of the ``tiny`` backbone. Other backbones fix their own."""
    adapters: Fraction = 0.0
    """Bottleneck width of the residual adapter behind each block of a frozen backbone, as a share
    of the block's channels. 0 adds no adapters. Source: Rebuffi et al. 2017."""
    neck: Neck = "fpn"
    """The feature pyramid. ``nas_fpn`` and ``bifpn`` have levels P3 to P7 in every family; on
    ``tiny`` they have the levels of its FPN. ``simple`` is the pyramid of plain ViTs, and theirs
    alone: every level comes from the one last map. Source: Lin et al. 2017, Ghiasi et al. 2019, Tan
    et al. 2020, Li et al. 2022 (ViTDet)."""
    neck_repeats: PositiveInt | None = None
    """How often NAS-FPN or BiFPN repeats its cell. Null is as published: 7 times and 3 times.
    Source: Ghiasi et al. 2019, Tan et al. 2020."""
    neck_merge: Literal["gate", "sum"] = "gate"
    """How four of NAS-FPN's seven nodes merge two maps: the coarser map's largest values gate the
    finer one, or the maps are added. Source: Ghiasi et al. 2019 (gates); tensorflow/tpu,
    models/official/detection/projects/copy_paste/configs (sums)."""
    neck_channels: PositiveInt = 256
    """Channels of every pyramid level. Source: Lin et al. 2017."""
    p6_from: Literal["p5", "c5"] = "p5"
    """What level P6 of a one-stage detector's ``fpn`` is computed from: level P5, or the backbone's
    last map. Source: Tian et al. 2019, torchvision's first RetinaNet and ``tensorflow/tpu`` have
    P5; Lin et al. 2017 (RetinaNet), Detectron and mmdetection have C5."""
    head_convs: Annotated[int, Field(ge=0)] = 4
    """Convolutions in each head of a one-stage detector. In a two-stage detector they stand in the
    box head, if ``box_head`` is null. Source: Lin et al. 2017 (RetinaNet)."""
    box_head: Literal["2fc", "4conv1fc", "4conv2fc"] | None = None
    """The two-stage box head by its usual name: two fully connected layers, or four convolutions
    and one or two of those. Null takes ``head_convs`` convolutions and one fully connected layer,
    or ``2fc`` if ``head_convs`` is 0. Source: He et al. 2018 (``4conv1fc``); ``tensorflow/models``,
    ``official/projects/backbone_reuse`` (``4conv2fc``)."""
    box_head_features: PositiveInt = 1024
    """Width of the fully connected layers of a two-stage box head. Source: Lin et al. 2017."""
    cascade_ious: CascadeIous = (0.5, 0.6, 0.7)
    """Cascade R-CNN: the overlap (IoU) that makes a proposal positive, stage by stage. Source: Cai
    & Vasconcelos 2018."""
    cascade_class_agnostic: bool = True
    """Cascade R-CNN: all classes share one box regression. False gives each class its own. Source:
    Cai & Vasconcelos 2018."""
    cascade_from: Annotated[int, Field(ge=0)] = 0
    """Cascade R-CNN: the update at which the later stages join; until then the first stage trains
    alone. It counts from the start, so that all lengths share their trunk. Source: He et al. 2018,
    sec. 4.1 (540,000 of 810,000 updates)."""
    rpn_convs: PositiveInt = 1
    """Two-stage detectors: convolutions in the head of the proposal network, which has no norm.
    Source: Lin et al. 2017 (1); torchvision's second Faster and Mask R-CNN (2)."""
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
    focal_gamma: NotNegative = 2.0
    """One-stage detectors: exponent of the focal loss; 0 is plain cross-entropy. Source: Lin et al.
    2017 (RetinaNet); Zoph et al. 2020 have 1.5 (``tensorflow/tpu``,
    ``models/official/detection/configs/retinanet_config.py``)."""
    focal_alpha: Fraction = 0.25
    """One-stage detectors: weight of an object in the focal loss; background weighs the rest to 1.
    Source: Lin et al. 2017 (RetinaNet)."""
    box_loss: BoxLossKind | None = None
    """The loss of the boxes that RetinaNet regresses from anchors, or a box head from proposals:
    the distance of their deltas (``l1``, ``smooth_l1``), or the generalised IoU of the boxes
    (``giou``). Null is as published: ``smooth_l1``, and for FCOS ``giou``, its only loss here.
    Source: Detectron; torchvision has ``l1`` in its first RetinaNet, ``giou`` in its second."""
    box_loss_beta: NotNegative | None = None
    """The distance at which ``smooth_l1`` changes from quadratic to linear: at a distance x it is
    x^2 / (2 beta) below, and x - beta / 2 above; 0 is ``l1``. A Huber loss of delta d is d times
    ``smooth_l1`` of beta d. Null is as published: 0.11 for RetinaNet, 1 for box heads. Source:
    Detectron, ``detectron/core/config.py``, ``detectron/modeling/fast_rcnn_heads.py``; torchvision
    has 1/9 for box heads."""
    box_loss_weight: NotNegative = 1.0
    """Multiplies the box loss, which is summed over four deltas and divided by the foreground
    (RetinaNet, FCOS) or by the sampled proposals. RetinaNet in ``tensorflow/tpu`` (Huber loss of
    delta 0.1, weight 50, mean over the four) is beta 0.1 and weight 50 * 0.1 / 4 = 1.25 here."""
    rpn_box_loss_beta: NotNegative = 1 / 9
    """Two-stage detectors: ``box_loss_beta`` of the proposal network, whose loss is ``smooth_l1``;
    0 is ``l1``. Source: Detectron, ``detectron/modeling/FPN.py``; torchvision."""
    rpn_box_loss_weight: NotNegative = 1.0
    """Two-stage detectors: multiplies the box loss of the proposal network, which is summed over
    four deltas and divided by the sampled anchors. Source: Detectron; torchvision."""
    rpn_pre_nms_train: PositiveInt = 2000
    """Two-stage detectors: best proposals per pyramid level that reach non-maximum suppression in
    training. Source: Detectron, ``configs/04_2018_gn_baselines``; torchvision."""
    rpn_pre_nms_test: PositiveInt = 1000
    """The same number in scoring. Source: Detectron, ``configs/04_2018_gn_baselines``;
    torchvision."""
    rpn_post_nms_train: PositiveInt | None = None
    """Two-stage detectors: proposals per image after non-maximum suppression in training. Null is
    as published: 1,000, and 2,000 for a cascade. Source: detectron2, ``configs/Base-RCNN-FPN.yaml``
    and ``configs/Misc/cascade_mask_rcnn_R_50_FPN_1x.yaml``. Detectron keeps 2,000 of both images of
    a GPU, torchvision 2,000 of each."""
    rpn_post_nms_test: PositiveInt = 1000
    """The same number in scoring. Source: Detectron, ``configs/04_2018_gn_baselines``;
    torchvision."""
    rpn_batch: PositiveInt = 256
    """Two-stage detectors: anchors per image that are sampled for the loss of the proposal network.
    Source: Ren et al. 2015."""
    box_batch: PositiveInt = 512
    """Two-stage detectors: proposals per image that are sampled for the loss of the box head.
    Source: Lin et al. 2017."""
    canonical_scale_px: PositiveInt = 224
    """Two-stage detectors: a region of this side is pooled from the level of stride 16, one of half
    the side from the next finer level, and so on. It does not follow ``anchor_base_px``. Source:
    Lin et al. 2017 (FPN, eq. 1); Detectron; torchvision."""
    candidates: PositiveInt = 1000
    """One-stage detectors: best scores per pyramid level that reach non-maximum suppression.
    Source: Lin et al. 2017."""
    score_threshold: Fraction = 0.05
    """Detections that score below this are dropped. Source: Lin et al. 2017."""
    nms_iou: Fraction | None = None
    """The overlap (IoU) with a better box of its class from which a detection is dropped. Null is
    as published: 0.5, 0.6 for FCOS, 0.45 for SSD and 0.55 for SSDlite. Source: Lin et al. 2017;
    ``tianzhi0549/FCOS``, ``fcos_core/config/defaults.py``; torchvision."""
    detections: PositiveInt = 100
    """Best detections per image that are kept, over all categories. COCO's evaluation counts the
    best 100 of each category in an image. Source: 100 in Detectron on COCO; 300 on LVIS (Gupta et
    al. 2019)."""

    rules = (
        Rule(
            key="focal_gamma",
            broken=lambda detector: 0 < detector.focal_gamma < 1,
            must="must be 0 or at least 1",
            remedy="Between them the gradient of a certain prediction is not finite.",
        ),
    )

    @model_validator(mode="before")
    @classmethod
    def _take_former_keys(cls, tree: Any) -> Any:
        """Study files and records of version 0.1 have one key for training and scoring."""
        if not isinstance(tree, dict) or not FORMER_KEYS.keys() & tree.keys():
            return tree
        taken = {key: value for key, value in tree.items() if key not in FORMER_KEYS}
        for former, keys in FORMER_KEYS.items():
            if former in tree:
                taken = dict.fromkeys(keys, tree[former]) | taken
        return taken

    def with_norm(self, norm: Norm) -> Self:
        """The same detector with another norm; pyramid and heads have norms where they had some."""
        is_thawed = self.norm == "frozen_bn" and norm != "frozen_bn"
        words = {"same": "none", "frozen_bn": "same"} if is_thawed else {}
        update = {
            "norm": norm,
            "head_norm": words.get(self.head_norm, self.head_norm),
            "neck_norm": words.get(self.neck_norm or "", self.neck_norm),
        }
        return self.model_copy(update=update)

    def as_published(self) -> Self:
        """The same detector with a value for each null that stands for a published one."""
        axes = axes_of(self.family)
        published: dict[str, Any] = {
            "box_loss": "giou" if self.family == "fcos" else "smooth_l1",
            "box_loss_beta": 1.0 if self.family in TWO_STAGE else 0.11,
            "rpn_post_nms_train": 2000 if self.family in WITH_CASCADE else 1000,
            "nms_iou": (0.6 if self.family == "fcos" else 0.5) if axes is None else axes.nms_iou,
            "neck_norm": self.head_norm,
        }
        if self.neck in PUBLISHED_REPEATS:
            published["neck_repeats"] = PUBLISHED_REPEATS[self.neck]
        missing = {key: value for key, value in published.items() if getattr(self, key) is None}
        return self.model_copy(update=missing) if missing else self
