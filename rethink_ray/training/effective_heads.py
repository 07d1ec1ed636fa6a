"""The settings of a detector's heads, read from the live network."""

from typing import Any

from torch import nn
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from rethink_ray.detection.box_losses import BoxLoss
from rethink_ray.detection.cascade import SharedBoxPredictor, StagedHeads
from rethink_ray.detection.heads import NAMED_BOX_HEADS

ONE_BOX_HEAD = {(): "faster_rcnn", ("masks",): "mask_rcnn", ("keypoints",): "keypoint_rcnn"}
SEVERAL_BOX_HEADS = {(): "cascade_rcnn", ("masks",): "cascade_mask_rcnn"}
"""Branches beside boxes -> family."""


def read_family(network: Any) -> str:
    """The family, from the classes of the network's parts."""
    if isinstance(network, RetinaNet):
        return "retinanet"
    if isinstance(network, FCOS):
        return "fcos"
    if not isinstance(network, GeneralizedRCNN):
        return type(network).__name__
    heads = network.roi_heads
    branches = tuple(heads.branches) if isinstance(heads, StagedHeads) else ()
    named = SEVERAL_BOX_HEADS if len(_stages(network)) > 1 else ONE_BOX_HEAD
    return named.get(branches, "+".join(branches))


def read_heads(network: Any) -> dict[str, Any]:
    """Dotted recipe path -> live value, of all parts behind the pyramid."""
    return _two_stage(network) if hasattr(network, "roi_heads") else _one_stage(network)


def _one_stage(network: Any) -> dict[str, Any]:
    tower = network.head.classification_head.conv
    settings = {
        "detector.head_convs": _convolutions(tower),
        "detector.focal_gamma": network.focal_loss.gamma,
        "detector.focal_alpha": network.focal_loss.alpha,
        **_box_loss(network.box_loss),
        "detector.candidates": network.topk_candidates,
        "detector.score_threshold": network.score_thresh,
        "detector.nms_iou": network.nms_thresh,
        "detector.detections": network.detections_per_img,
    }
    if hasattr(network, "proposal_matcher"):
        settings["detector.anchor_base_px"] = network.anchor_generator.sizes[0][0]
        settings["detector.foreground_iou"] = network.proposal_matcher.high_threshold
        settings["detector.background_iou"] = network.proposal_matcher.low_threshold
    extra = getattr(network.backbone.fpn, "extra_blocks", None)
    if isinstance(extra, LastLevelP6P7):
        settings["detector.p6_from"] = "p5" if extra.use_P5 else "c5"
    return settings


def _box_loss(loss: BoxLoss) -> dict[str, Any]:
    settings = {"detector.box_loss": loss.kind, "detector.box_loss_weight": loss.weight}
    return settings | ({"detector.box_loss_beta": loss.beta} if loss.kind == "smooth_l1" else {})


def _two_stage(network: Any) -> dict[str, Any]:
    rpn, stages = network.rpn, _stages(network)
    settings = {
        "detector.anchor_base_px": rpn.anchor_generator.sizes[0][0],
        "detector.head_convs": _same(_convolutions(s.box_head) for s in stages),
        "detector.canonical_scale_px": _same(s.box_roi_pool.canonical_scale for s in stages),
        "detector.rpn_convs": _convolutions(rpn.head.conv),
        "detector.rpn_box_loss_beta": rpn.box_loss.beta,
        "detector.rpn_box_loss_weight": rpn.box_loss.weight,
        **_box_loss(_same(stage.box_loss for stage in stages)),
        "detector.box_head_features": _same(s.box_predictor.cls_score.in_features for s in stages),
        "detector.rpn_pre_nms_train": rpn._pre_nms_top_n["training"],
        "detector.rpn_pre_nms_test": rpn._pre_nms_top_n["testing"],
        "detector.rpn_post_nms_train": rpn._post_nms_top_n["training"],
        "detector.rpn_post_nms_test": rpn._post_nms_top_n["testing"],
        "detector.rpn_batch": rpn.fg_bg_sampler.batch_size_per_image,
        "detector.box_batch": _same(s.fg_bg_sampler.batch_size_per_image for s in stages),
        "detector.score_threshold": stages[-1].score_thresh,
        "detector.nms_iou": stages[-1].nms_thresh,
        "detector.detections": stages[-1].detections_per_img,
    }
    positive_ious = [stage.proposal_matcher.high_threshold for stage in stages]
    if len(stages) == 1:
        return settings | {"detector.foreground_iou": positive_ious[0]} | _branches(network)
    shared = _same(isinstance(s.box_predictor, SharedBoxPredictor) for s in stages)
    cascade = {
        "detector.cascade_ious": tuple(positive_ious),
        "detector.cascade_class_agnostic": shared,
        "detector.cascade_from": network.roi_heads.joins_at,
    }
    return settings | cascade | _branches(network)


def _branches(network: Any) -> dict[str, Any]:
    """Depth and width of the heads for masks and keypoints."""
    if not isinstance(network.roi_heads, StagedHeads):
        return {}
    settings: dict[str, Any] = {}
    branches = network.roi_heads.branches
    if "masks" in branches:
        masks: Any = branches["masks"]
        settings["detector.mask_head_convs"] = _convolutions(masks.head)
        settings["detector.mask_head_channels"] = masks.predictor.conv5_mask.out_channels
    if "keypoints" in branches:
        points: Any = branches["keypoints"]
        depth = _convolutions(points.head)
        settings["detector.keypoint_head_convs"] = depth
        settings["detector.num_keypoints"] = points.predictor.out_channels
        if depth:
            width = points.predictor.kps_score_lowres.in_channels
            settings["detector.keypoint_head_channels"] = width
    return settings


def _stages(network: Any) -> list[Any]:
    heads = network.roi_heads
    return list(heads.stages) if isinstance(heads, StagedHeads) else [heads]


def list_hidden_layers(network: Any) -> list[nn.Module]:
    """The parts of heads that can have a norm: towers, box heads and the mask head."""
    if not hasattr(network, "roi_heads"):
        return [network.head.classification_head.conv, network.head.regression_head.conv]
    branches = getattr(network.roi_heads, "branches", {})
    masks = [branches["masks"].head] if "masks" in branches else []
    return [*(stage.box_head for stage in _stages(network)), *masks]


def name_box_head(network: Any) -> str:
    """Names a two-stage box head by its layers, such as ``2fc`` or ``4conv1fc``."""
    heads = [stage.box_head for stage in _stages(network)]
    layers = _same((_convolutions(head), _connected(head)) for head in heads)
    names = {f"{layers}": name for name, layers in NAMED_BOX_HEADS.items()}
    return names.get(f"{layers}", f"{layers} layers")


def _same(values: Any) -> Any:
    """The one value that all stages have; if they differ, the list of all."""
    of_stages = list(values)
    return of_stages[0] if all(value == of_stages[0] for value in of_stages) else of_stages


def _convolutions(module: nn.Module) -> int:
    return sum(isinstance(m, nn.Conv2d) for m in module.modules())


def _connected(module: nn.Module) -> int:
    return sum(isinstance(m, nn.Linear) for m in module.modules())
