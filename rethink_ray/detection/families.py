"""The families, put together from torchvision's own classes.

What differs from torchvision: the backbone, the norm in the heads, the sampler, counts as settings,
how images become a batch, and the cascade, which torchvision has not.
"""

from collections.abc import Callable
from typing import Any, cast

from torch import nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.ops.poolers import initLevelMapper

from rethink_ray.detection.backbones import IMAGE_MEAN, IMAGE_STD
from rethink_ray.detection.cascade import SharedBoxPredictor, StagedHeads, box_weights
from rethink_ray.detection.heads import (
    BoxPredictor,
    FcosHead,
    ProposalHead,
    RetinaHead,
    box_head,
    roi_side,
)
from rethink_ray.detection.keypoints import KEYPOINT_CELLS, KeypointBranch
from rethink_ray.detection.masks import MASK_CELLS, MaskBranch
from rethink_ray.detection.necks import Pyramid
from rethink_ray.detection.one_stage import OneStage, WholeBatchFcos, WholeBatchRetinaNet
from rethink_ray.detection.peers import Division
from rethink_ray.detection.resize import Resize
from rethink_ray.detection.sampling import BalancedSampler
from rethink_ray.detection.two_stage import BoxHeads, ProposalNetwork, RegionPool, TwoStage
from rethink_ray.spec.recipe import DetectorSpec, Family

ASPECT_RATIOS = (0.5, 1.0, 2.0)
RPN_FOREGROUND_IOU, RPN_BACKGROUND_IOU, RPN_NMS_IOU = 0.7, 0.3, 0.7
"""Ren et al. 2015, sec. 3.1.2 and 3.3."""
SAMPLED_LOSSES = {
    "rpn": ("loss_objectness", "loss_rpn_box_reg"),
    "box": ("loss_classifier", "loss_box_reg"),
}
"""Purpose of a sampler -> the losses that are divided by how many it drew."""


def build_retinanet(spec: DetectorSpec, pyramid: Pyramid, num_classes: int) -> nn.Module:
    """Lin et al. 2017: nine anchors a place, focal loss."""
    sizes = tuple(
        tuple(int(side * 2 ** (third / 3)) for third in range(3))
        for side in _doubling(spec.anchor_base_px, pyramid.levels.count)
    )
    anchors = AnchorGenerator(sizes, (ASPECT_RATIOS,) * len(sizes))
    head = RetinaHead(spec, anchors.num_anchors_per_location()[0], num_classes)
    network: nn.Module = WholeBatchRetinaNet(
        pyramid,
        num_classes,
        anchor_generator=anchors,
        head=head,
        score_thresh=spec.score_threshold,
        nms_thresh=spec.nms_iou,
        detections_per_img=spec.detections,
        fg_iou_thresh=spec.foreground_iou,
        bg_iou_thresh=spec.background_iou,
        topk_candidates=spec.candidates,
    )
    return network


def build_fcos(spec: DetectorSpec, pyramid: Pyramid, num_classes: int) -> nn.Module:
    """Tian et al. 2019: points instead of anchors, matched by the size of what they regress.

    torchvision ties the ranges to its anchor side s (level 0 regresses up to 8 s). Here s is a
    quarter of ``anchor_base_px``, which gives the paper's 64 px at 32, and the radius of centre
    sampling is 1.5 strides whatever s is.
    """
    first = max(2, 2 * round(spec.anchor_base_px / 8))
    sizes = tuple((side,) for side in _doubling(first, pyramid.levels.count))
    network: nn.Module = WholeBatchFcos(
        pyramid,
        num_classes,
        anchor_generator=AnchorGenerator(sizes, ((1.0,),) * len(sizes)),
        head=FcosHead(spec, num_classes),
        center_sampling_radius=1.5 * pyramid.levels.first_stride / first,
        score_thresh=spec.score_threshold,
        nms_thresh=spec.nms_iou,
        detections_per_img=spec.detections,
        topk_candidates=spec.candidates,
    )
    return network


def build_faster_rcnn(spec: DetectorSpec, pyramid: Pyramid, num_classes: int) -> nn.Module:
    """Ren et al. 2015 on a pyramid: proposals, then a box head. Class 0 is background inside."""
    return _two_stage(spec, pyramid, num_classes, BoxPredictor, spec.foreground_iou)


def build_mask_rcnn(spec: DetectorSpec, pyramid: Pyramid, num_classes: int) -> nn.Module:
    """He et al. 2017: Faster R-CNN, and a mask for each positive."""
    network: Any = build_faster_rcnn(spec, pyramid, num_classes)
    network.roi_heads = StagedHeads(
        [network.roi_heads], {"masks": _masks(spec, pyramid, num_classes)}
    )
    return cast(nn.Module, network)


def build_keypoint_rcnn(spec: DetectorSpec, pyramid: Pyramid, num_classes: int) -> nn.Module:
    """He et al. 2017, sec. 5: Faster R-CNN, and a heatmap for each keypoint of a positive."""
    network: Any = build_faster_rcnn(spec, pyramid, num_classes)
    keypoints = KeypointBranch(spec, roi_pool(spec, pyramid, KEYPOINT_CELLS))
    network.roi_heads = StagedHeads([network.roi_heads], {"keypoints": keypoints})
    return cast(nn.Module, network)


def build_cascade_rcnn(spec: DetectorSpec, pyramid: Pyramid, num_classes: int) -> nn.Module:
    """Cai & Vasconcelos 2018: box heads one behind the other, each matched more strictly."""
    network: Any = _two_stage(
        spec, pyramid, num_classes, _cascade_predictor(spec), spec.cascade_ious[0]
    )
    stages = _stages(spec, network.roi_heads, num_classes)
    network.roi_heads = StagedHeads(stages, {}, spec.cascade_from)
    return cast(nn.Module, network)


def build_cascade_mask_rcnn(spec: DetectorSpec, pyramid: Pyramid, num_classes: int) -> nn.Module:
    """A cascade with one mask head, on its last stage (He et al. 2018, sec. 4.1)."""
    network: Any = build_cascade_rcnn(spec, pyramid, num_classes)
    network.roi_heads.branches["masks"] = _masks(spec, pyramid, num_classes)
    return cast(nn.Module, network)


def _two_stage(
    spec: DetectorSpec,
    pyramid: Pyramid,
    num_classes: int,
    predictor: type[FastRCNNPredictor],
    positive_iou: float,
) -> nn.Module:
    """Proposals and one box head; ``positive_iou`` is the overlap that makes a positive."""
    sizes = tuple((side,) for side in _doubling(spec.anchor_base_px, pyramid.levels.count))
    anchors = AnchorGenerator(sizes, (ASPECT_RATIOS,) * len(sizes))
    counts = {"training": spec.rpn_pre_nms, "testing": spec.rpn_pre_nms}
    kept = {"training": spec.rpn_post_nms, "testing": spec.rpn_post_nms}
    rpn = ProposalNetwork(
        anchors,
        ProposalHead(spec.neck_channels, anchors.num_anchors_per_location()[0]),
        fg_iou_thresh=RPN_FOREGROUND_IOU,
        bg_iou_thresh=RPN_BACKGROUND_IOU,
        batch_size_per_image=spec.rpn_batch,
        positive_fraction=0.5,
        pre_nms_top_n=counts,
        post_nms_top_n=kept,
        nms_thresh=RPN_NMS_IOU,
    )
    rpn.fg_bg_sampler = BalancedSampler("rpn", spec.rpn_batch, 0.5)
    pool = roi_pool(spec, pyramid, roi_side(spec))
    heads = _box_heads(spec, num_classes, predictor, pool, positive_iou, stage=0)
    network: nn.Module = TwoStage(pyramid, rpn, heads, None)
    return network


def _box_heads(
    spec: DetectorSpec,
    num_classes: int,
    predictor: type[FastRCNNPredictor],
    pool: RegionPool,
    positive_iou: float,
    *,
    stage: int,
) -> BoxHeads:
    """One box stage, counting from zero, with a head and draws of its own."""
    heads = BoxHeads(
        pool,
        box_head(spec),
        predictor(spec.box_head_features, num_classes + 1),
        fg_iou_thresh=positive_iou,
        bg_iou_thresh=positive_iou,
        batch_size_per_image=spec.box_batch,
        positive_fraction=0.25,
        bbox_reg_weights=box_weights(stage),
        score_thresh=spec.score_threshold,
        nms_thresh=spec.nms_iou,
        detections_per_img=spec.detections,
    )
    purpose = f"box_{stage + 1}" if stage else "box"
    heads.fg_bg_sampler = BalancedSampler(purpose, spec.box_batch, 0.25)
    return heads


def _cascade_predictor(spec: DetectorSpec) -> type[FastRCNNPredictor]:
    return SharedBoxPredictor if spec.cascade_class_agnostic else BoxPredictor


def _stages(spec: DetectorSpec, first: BoxHeads, num_classes: int) -> list[BoxHeads]:
    """The first stage and those behind it, each with a head and draws of its own."""
    predictor, pool = _cascade_predictor(spec), first.box_roi_pool
    later = [
        _box_heads(spec, num_classes, predictor, pool, positive_iou, stage=number)
        for number, positive_iou in enumerate(spec.cascade_ious[1:], start=1)
    ]
    return [first, *later]


def _masks(spec: DetectorSpec, pyramid: Pyramid, num_classes: int) -> MaskBranch:
    return MaskBranch(spec, roi_pool(spec, pyramid, MASK_CELLS), num_classes + 1)


def roi_pool(spec: DetectorSpec, pyramid: Pyramid, cells: int) -> RegionPool:
    """Regions as maps of ``cells`` x ``cells``, each from the level that suits its size: a box of
    7 anchor bases from the third level, which is the usual 224 px at stride 16.

    torchvision guesses the strides from the first batch it sees and keeps them; here they are
    known: a guess from images much smaller than their padding is wrong, and wrong ever after.
    """
    levels = pyramid.levels
    pool = RegionPool(
        featmap_names=list(levels.stages),
        output_size=cells,
        sampling_ratio=2,
        canonical_scale=7 * spec.anchor_base_px,
        canonical_level=4,
    )
    finest = levels.first_stride.bit_length() - 1
    exponents = range(finest, finest + len(levels.stages))
    pool.scales = [2.0**-exponent for exponent in exponents]
    pool.map_levels = initLevelMapper(
        exponents[0], exponents[-1], pool.canonical_scale, pool.canonical_level
    )
    return pool


FAMILIES: dict[Family, Callable[[DetectorSpec, Pyramid, int], nn.Module]] = {
    "retinanet": build_retinanet,
    "fcos": build_fcos,
    "faster_rcnn": build_faster_rcnn,
    "cascade_rcnn": build_cascade_rcnn,
    "mask_rcnn": build_mask_rcnn,
    "cascade_mask_rcnn": build_cascade_mask_rcnn,
    "keypoint_rcnn": build_keypoint_rcnn,
}


def build_network(spec: DetectorSpec, pyramid: Pyramid, num_classes: int) -> nn.Module:
    """The torchvision network of this family around the pyramid."""
    network = FAMILIES[spec.family](spec, pyramid, num_classes)
    network.transform = Resize(
        spec.min_side_px,
        spec.max_side_px,
        list(IMAGE_MEAN),
        list(IMAGE_STD),
    )
    return network


def samplers(network: nn.Module) -> tuple[BalancedSampler, ...]:
    """Everything in the network that draws at random; one-stage families draw nothing."""
    parts = [getattr(network, name, None) for name in ("rpn", "roi_heads")]
    proposals, heads = parts
    stages = heads.stages if isinstance(heads, StagedHeads) else [heads]
    return tuple(part.fg_bg_sampler for part in (proposals, *stages) if part is not None)


def divisions(network: nn.Module) -> tuple[Division, ...]:
    """The numbers that divided the losses of the newest batch, for every family."""
    if isinstance(network, OneStage):
        return network.divisions()
    of_samplers = tuple(
        Division(names=SAMPLED_LOSSES[sampler.purpose], count=sampler.num_drawn, at_least=1)
        for sampler in samplers(network)
        if sampler.purpose in SAMPLED_LOSSES
    )
    heads = getattr(network, "roi_heads", None)
    return of_samplers[:1] + heads.divisions() if isinstance(heads, StagedHeads) else of_samplers


def _doubling(first: int, count: int) -> tuple[int, ...]:
    return tuple(first * 2**level for level in range(count))
