"""Builds the detector families from torchvision's classes.

Differences from torchvision: the backbone, the norm in the heads, the sampler, counts as settings,
batching of images, and the cascade, which torchvision lacks.
"""

from collections.abc import Callable
from typing import Any, cast

from torch import nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.ops.poolers import initLevelMapper

from rethink_ray.detection.anchors import KeptAnchors
from rethink_ray.detection.box_losses import BoxLoss
from rethink_ray.detection.cascade import SharedBoxPredictor, StagedHeads, box_weights
from rethink_ray.detection.heads import (
    BoxPredictor,
    FcosHead,
    ProposalHead,
    RetinaHead,
    build_box_head,
    roi_side,
)
from rethink_ray.detection.keypoints import KEYPOINT_CELLS, KeypointBranch
from rethink_ray.detection.masks import MASK_CELLS, MaskBranch
from rethink_ray.detection.necks import Pyramid
from rethink_ray.detection.one_stage import (
    FocalLoss,
    OneStage,
    WholeBatchFcos,
    WholeBatchRetinaNet,
)
from rethink_ray.detection.own_network import OwnNetwork
from rethink_ray.detection.peers import Division
from rethink_ray.detection.resize import Resize
from rethink_ray.detection.sampling import BalancedSampler, SamplePosition
from rethink_ray.detection.two_stage import BoxHeads, ProposalNetwork, RegionPool, TwoStage
from rethink_ray.spec.recipe import DetectorSpec

ASPECT_RATIOS = (0.5, 1.0, 2.0)
RPN_FOREGROUND_IOU, RPN_BACKGROUND_IOU, RPN_NMS_IOU = 0.7, 0.3, 0.7
"""Ren et al. 2015, sec. 3.1.2 and 3.3."""
SAMPLED_LOSSES = {
    "rpn": ("loss_objectness", "loss_rpn_box_reg"),
    "box": ("loss_classifier", "loss_box_reg"),
}
"""Purpose of a sampler -> the losses that are divided by the number of its samples."""


def build_retinanet(spec: DetectorSpec, pyramid: Pyramid, num_classes: int) -> nn.Module:
    """Builds RetinaNet (Lin et al. 2017): nine anchors per location, focal loss."""
    sizes = tuple(
        tuple(int(side * 2 ** (third / 3)) for third in range(3))
        for side in _double_sides(spec.anchor_base_px, pyramid.levels.count)
    )
    anchors = KeptAnchors(sizes, (ASPECT_RATIOS,) * len(sizes))
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
        **_one_stage_losses(spec),
    )
    return network


def build_fcos(spec: DetectorSpec, pyramid: Pyramid, num_classes: int) -> nn.Module:
    """Builds FCOS (Tian et al. 2019): points instead of anchors, matched by regression range.

    torchvision ties the ranges to its anchor side s (level 0 regresses up to 8 s). Here s is a
    quarter of ``anchor_base_px``, which gives the paper's 64 px at 32. The radius of centre
    sampling is 1.5 strides for every s.
    """
    first = max(2, 2 * round(spec.anchor_base_px / 8))
    sizes = tuple((side,) for side in _double_sides(first, pyramid.levels.count))
    network: nn.Module = WholeBatchFcos(
        pyramid,
        num_classes,
        anchor_generator=KeptAnchors(sizes, ((1.0,),) * len(sizes)),
        head=FcosHead(spec, num_classes),
        center_sampling_radius=1.5 * pyramid.levels.first_stride / first,
        score_thresh=spec.score_threshold,
        nms_thresh=spec.nms_iou,
        detections_per_img=spec.detections,
        topk_candidates=spec.candidates,
        **_one_stage_losses(spec),
    )
    return network


def _one_stage_losses(spec: DetectorSpec) -> dict[str, Any]:
    return {
        "focal_loss": FocalLoss(gamma=spec.focal_gamma, alpha=spec.focal_alpha),
        "box_loss": BoxLoss.build(spec),
    }


def build_faster_rcnn(spec: DetectorSpec, pyramid: Pyramid, num_classes: int) -> nn.Module:
    """Builds Faster R-CNN (Ren et al. 2015) on a pyramid; its class 0 is background."""
    return _build_two_stage(spec, pyramid, num_classes, BoxPredictor, spec.foreground_iou)


def build_mask_rcnn(spec: DetectorSpec, pyramid: Pyramid, num_classes: int) -> nn.Module:
    """Builds Mask R-CNN (He et al. 2017): Faster R-CNN with a mask for each positive."""
    network: Any = build_faster_rcnn(spec, pyramid, num_classes)
    network.roi_heads = StagedHeads(
        [network.roi_heads], {"masks": _build_mask_branch(spec, pyramid, num_classes)}
    )
    return cast(nn.Module, network)


def build_keypoint_rcnn(spec: DetectorSpec, pyramid: Pyramid, num_classes: int) -> nn.Module:
    """Builds Keypoint R-CNN (He et al. 2017, sec. 5): a heatmap per keypoint of a positive."""
    network: Any = build_faster_rcnn(spec, pyramid, num_classes)
    keypoints = KeypointBranch(spec, build_roi_pool(spec, pyramid, KEYPOINT_CELLS))
    network.roi_heads = StagedHeads([network.roi_heads], {"keypoints": keypoints})
    return cast(nn.Module, network)


def build_cascade_rcnn(spec: DetectorSpec, pyramid: Pyramid, num_classes: int) -> nn.Module:
    """Builds Cascade R-CNN (Cai & Vasconcelos 2018): box stages with ever stricter matching."""
    network: Any = _build_two_stage(
        spec, pyramid, num_classes, _choose_cascade_predictor(spec), spec.cascade_ious[0]
    )
    stages = _build_stages(spec, network.roi_heads, num_classes)
    network.roi_heads = StagedHeads(stages, {}, spec.cascade_from)
    return cast(nn.Module, network)


def build_cascade_mask_rcnn(spec: DetectorSpec, pyramid: Pyramid, num_classes: int) -> nn.Module:
    """Builds Cascade R-CNN with one mask head on its last stage (He et al. 2018, sec. 4.1)."""
    network: Any = build_cascade_rcnn(spec, pyramid, num_classes)
    network.roi_heads.branches["masks"] = _build_mask_branch(spec, pyramid, num_classes)
    return cast(nn.Module, network)


def _build_two_stage(
    spec: DetectorSpec,
    pyramid: Pyramid,
    num_classes: int,
    predictor: type[FastRCNNPredictor],
    positive_iou: float,
) -> nn.Module:
    """Builds a proposal network and one box head; positives overlap by ``positive_iou``."""
    sizes = tuple((side,) for side in _double_sides(spec.anchor_base_px, pyramid.levels.count))
    anchors = KeptAnchors(sizes, (ASPECT_RATIOS,) * len(sizes))
    counts = {"training": spec.rpn_pre_nms_train, "testing": spec.rpn_pre_nms_test}
    kept = {"training": spec.rpn_post_nms_train, "testing": spec.rpn_post_nms_test}
    rpn = ProposalNetwork(
        anchors,
        ProposalHead(spec, anchors.num_anchors_per_location()[0]),
        fg_iou_thresh=RPN_FOREGROUND_IOU,
        bg_iou_thresh=RPN_BACKGROUND_IOU,
        batch_size_per_image=spec.rpn_batch,
        positive_fraction=0.5,
        pre_nms_top_n=counts,
        post_nms_top_n=kept,
        nms_thresh=RPN_NMS_IOU,
        box_loss=BoxLoss.build_for_proposals(spec),
    )
    rpn.fg_bg_sampler = BalancedSampler("rpn", spec.rpn_batch, 0.5)
    pool = build_roi_pool(spec, pyramid, roi_side(spec))
    heads = _build_box_heads(spec, num_classes, predictor, pool, positive_iou, stage=0)
    network: nn.Module = TwoStage(pyramid, rpn, heads, None)
    return network


def _build_box_heads(
    spec: DetectorSpec,
    num_classes: int,
    predictor: type[FastRCNNPredictor],
    pool: RegionPool,
    positive_iou: float,
    *,
    stage: int,
) -> BoxHeads:
    """Builds one box stage with its own head and sampler; stages count from zero."""
    heads = BoxHeads(
        pool,
        build_box_head(spec),
        predictor(spec.box_head_features, num_classes + 1),
        fg_iou_thresh=positive_iou,
        bg_iou_thresh=positive_iou,
        batch_size_per_image=spec.box_batch,
        positive_fraction=0.25,
        bbox_reg_weights=box_weights(stage),
        score_thresh=spec.score_threshold,
        nms_thresh=spec.nms_iou,
        detections_per_img=spec.detections,
        box_loss=BoxLoss.build(spec),
    )
    purpose = f"box_{stage + 1}" if stage else "box"
    heads.fg_bg_sampler = BalancedSampler(purpose, spec.box_batch, 0.25)
    return heads


def _choose_cascade_predictor(spec: DetectorSpec) -> type[FastRCNNPredictor]:
    return SharedBoxPredictor if spec.cascade_class_agnostic else BoxPredictor


def _build_stages(spec: DetectorSpec, first: BoxHeads, num_classes: int) -> list[BoxHeads]:
    """Returns the first stage and the later ones, each with its own head and sampler."""
    predictor, pool = _choose_cascade_predictor(spec), first.box_roi_pool
    later = [
        _build_box_heads(spec, num_classes, predictor, pool, positive_iou, stage=number)
        for number, positive_iou in enumerate(spec.cascade_ious[1:], start=1)
    ]
    return [first, *later]


def _build_mask_branch(spec: DetectorSpec, pyramid: Pyramid, num_classes: int) -> MaskBranch:
    return MaskBranch(spec, build_roi_pool(spec, pyramid, MASK_CELLS), num_classes + 1)


def build_roi_pool(spec: DetectorSpec, pyramid: Pyramid, cells: int) -> RegionPool:
    """Builds a pool that turns each region into a map of ``cells`` x ``cells``.

    Each region is read from the level for its size: a box of ``canonical_scale_px`` from P4, the
    level of stride 16. torchvision guesses the strides from the first batch and keeps them, and the
    guess is wrong if images are much smaller than their padding. Here the strides are set.
    """
    levels = pyramid.levels
    pool = RegionPool(
        featmap_names=list(levels.stages),
        output_size=cells,
        sampling_ratio=2,
        canonical_scale=spec.canonical_scale_px,
        canonical_level=4,
    )
    finest = levels.first_stride.bit_length() - 1
    exponents = range(finest, finest + len(levels.stages))
    pool.scales = [2.0**-exponent for exponent in exponents]
    pool.map_levels = initLevelMapper(
        exponents[0], exponents[-1], pool.canonical_scale, pool.canonical_level
    )
    return pool


FAMILIES: dict[str, Callable[[DetectorSpec, Pyramid, int], nn.Module]] = {
    "retinanet": build_retinanet,
    "fcos": build_fcos,
    "faster_rcnn": build_faster_rcnn,
    "cascade_rcnn": build_cascade_rcnn,
    "mask_rcnn": build_mask_rcnn,
    "cascade_mask_rcnn": build_cascade_mask_rcnn,
    "keypoint_rcnn": build_keypoint_rcnn,
}


def build_network(spec: DetectorSpec, pyramid: Pyramid, num_classes: int) -> nn.Module:
    """Builds the family's torchvision network on the pyramid."""
    spec = spec.as_published()
    network = FAMILIES[spec.family](spec, pyramid, num_classes)
    network.transform = Resize(spec.min_side_px, spec.max_side_px)
    return network


def set_position(network: nn.Module, position: SamplePosition) -> None:
    """Tells every part that draws at random which losses come next."""
    for part in (network,) if isinstance(network, OwnNetwork) else list_samplers(network):
        part.position = position


def list_samplers(network: nn.Module) -> tuple[BalancedSampler, ...]:
    """Lists all samplers of the network; one-stage families have none."""
    parts = [getattr(network, name, None) for name in ("rpn", "roi_heads")]
    proposals, heads = parts
    stages = heads.stages if isinstance(heads, StagedHeads) else [heads]
    return tuple(part.fg_bg_sampler for part in (proposals, *stages) if part is not None)


def list_divisions(network: nn.Module) -> tuple[Division, ...]:
    """Lists the counts that divided the losses of the newest batch, for every family."""
    if isinstance(network, OneStage | OwnNetwork):
        return network.divisions()
    of_samplers = tuple(
        Division(names=SAMPLED_LOSSES[sampler.purpose], count=sampler.num_drawn, at_least=1)
        for sampler in list_samplers(network)
        if sampler.purpose in SAMPLED_LOSSES
    )
    heads = getattr(network, "roi_heads", None)
    return of_samplers[:1] + heads.divisions() if isinstance(heads, StagedHeads) else of_samplers


def _double_sides(first: int, count: int) -> tuple[int, ...]:
    return tuple(first * 2**level for level in range(count))
