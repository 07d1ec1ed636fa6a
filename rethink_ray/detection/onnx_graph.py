"""A detector as one graph of fixed structure, which ``torch.export`` can follow.

torchvision's post-processing has tensors whose sizes depend on the picture's content, which the
exporter refuses. Here every number of boxes is fixed: places that stay empty have the score -1.
Suppression and pooling are operators of our own, with a translation to ONNX in ``onnx_file``. The
graph finds the boxes of ``Detector.detect``; a test compares both.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import clip_boxes_to_image, nms, roi_align

from rethink_ray.detection.cascade import StagedHeads
from rethink_ray.detection.detectors import Detector
from rethink_ray.detection.one_stage import WholeBatchFcos
from rethink_ray.detection.regions import Features
from rethink_ray.detection.resize import STRIDE_MULTIPLE, HeightWidth
from rethink_ray.detection.two_stage import BoxHeads, RegionPool, TwoStage

EMPTY = -1.0
"""The score of a place without a box: lower than that of any box."""
SMALLEST_SIDE = 1e-2
"""Boxes of a box head with a shorter side are dropped, as in torchvision (``roi_heads.py``)."""


@torch.library.custom_op("rethink_ray::suppress", mutates_args=())
def suppress(boxes: Tensor, scores: Tensor, iou: float, lowest: float, most: int) -> Tensor:
    """Suppresses overlapping boxes of each group, and returns ``[most, 2]``: group and box.

    The best come first; rows without a box are -1.

    Args:
        boxes: ``[G, N, 4]`` xyxy, or ``[1, N, 4]`` if all groups choose from the same boxes.
        scores: ``[G, N]``; a box takes part in a group if it scores above ``lowest`` there.
        iou: overlap with a better box of the group from which a box is dropped.
        lowest: score that a box must exceed.
        most: boxes that are kept, over all groups.
    """
    chosen: list[Tensor] = []
    for group, of_group in enumerate(scores):
        taking_part = torch.where(of_group > lowest)[0]
        candidates = boxes[group if len(boxes) > 1 else 0][taking_part]
        kept = taking_part[nms(candidates, of_group[taking_part], iou)]
        chosen.append(torch.stack([torch.full_like(kept, group), kept], dim=1))
    rows = torch.cat(chosen)
    order = scores[rows[:, 0], rows[:, 1]].argsort(descending=True, stable=True)[:most]
    missing = rows.new_full((most - len(order), 2), -1)
    return torch.cat([rows[order], missing])


@suppress.register_fake
def _(boxes: Tensor, scores: Tensor, iou: float, lowest: float, most: int) -> Tensor:
    return boxes.new_empty((most, 2), dtype=torch.int64)


@torch.library.custom_op("rethink_ray::pool_some", mutates_args=())
def pool_some(
    features: Tensor, boxes: Tensor, is_here: Tensor, side: int, scale: float, samples: int
) -> Tensor:
    """Pools some regions of one map, to ``[R, C, side, side]``; the others are zeros.

    Args:
        features: ``[1, C, H, W]``.
        boxes: ``[R, 4]`` xyxy, in pixels of the picture.
        is_here: ``[R]``: which of them are pooled.
        side: cells along a side of a pooled region.
        scale: pixels of the map for one of the picture.
        samples: along a side of a cell.
    """
    pooled = boxes.new_zeros((len(boxes), features.shape[1], side, side))
    pooled[is_here] = roi_align(features, [boxes[is_here]], side, scale, samples)
    return pooled


@pool_some.register_fake
def _(
    features: Tensor, boxes: Tensor, is_here: Tensor, side: int, scale: float, samples: int
) -> Tensor:
    return boxes.new_empty((boxes.shape[0], features.shape[1], side, side))


class OnnxDetector(nn.Module):
    """The detector for one picture, resized beforehand: ``[3, H, W]`` float32 RGB in 0..1.

    Returns ``boxes [D, 4]`` xyxy in pixels of that picture, ``scores [D]`` and ``labels [D]`` from
    1, best first, and ``masks [D, M, M]`` from families with masks. D is ``detector.detections``;
    places without a box have the label 0 and the score 0.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.network = detector.network
        network: Any = detector.network
        is_two_stage = isinstance(network, TwoStage)
        generator = (network.rpn if is_two_stage else network).anchor_generator
        generator.set_cell_anchors(torch.float32, torch.device("cpu"))
        heads = network.roi_heads if is_two_stage else None
        is_staged = isinstance(heads, StagedHeads)
        self.stages = [] if heads is None else heads.active_stages() if is_staged else [heads]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Returns the detections of one picture."""
        network: Any = self.network
        picture_hw = (image.shape[-2], image.shape[-1])
        below, right = (
            (side + STRIDE_MULTIPLE - 1) // STRIDE_MULTIPLE * STRIDE_MULTIPLE - side
            for side in picture_hw
        )
        batch = functional.pad(network.transform.normalize(image), (0, right, 0, below))[None]
        features = network.backbone(batch)
        if self.stages:
            return self._detect_in_regions(features, batch, picture_hw)
        return self._detect_in_one_stage(list(features.values()), batch, picture_hw)

    def _detect_in_one_stage(
        self, maps: list[Tensor], batch: Tensor, picture_hw: HeightWidth
    ) -> tuple[Tensor, ...]:
        network: Any = self.network
        levels = build_anchors(network.anchor_generator, batch, maps)
        boxes, scores, labels = [], [], []
        for anchors, outputs in zip(levels, network.head.run_levels(maps), strict=True):
            by_anchor = _score_anchors(network, outputs)
            num_classes = by_anchor.shape[-1]
            best, indices = _choose_best(by_anchor.flatten(), network.topk_candidates)
            rows = torch.div(indices, num_classes, rounding_mode="floor")
            decoded = _decode(network, outputs["bbox_regression"][0][rows], anchors[rows])
            boxes.append(clip_boxes_to_image(decoded, picture_hw))
            scores.append(torch.where(best > network.score_thresh, best, EMPTY))
            labels.append(indices % num_classes)
        every = torch.arange(num_classes)[:, None]
        by_class = torch.where(torch.cat(labels) == every, torch.cat(scores), EMPTY)
        rows = suppress(
            torch.cat(boxes)[None], by_class, network.nms_thresh, 0.0, network.detections_per_img
        )
        return self._fill_places(rows, torch.cat(boxes)[None], by_class)

    def _fill_places(self, rows: Tensor, boxes: Tensor, scores: Tensor) -> tuple[Tensor, ...]:
        """Returns boxes, scores and labels of the rows that ``suppress`` chose from these."""
        is_box = rows[:, 1] >= 0
        group, number = rows.clamp(min=0).unbind(1)
        which = group if boxes.shape[0] > 1 else torch.zeros_like(group)
        return (
            torch.where(is_box[:, None], boxes[which, number], 0.0),
            torch.where(is_box, scores[group, number], 0.0),
            torch.where(is_box, group + 1, 0),
        )

    def _detect_in_regions(
        self, features: Features, batch: Tensor, picture_hw: HeightWidth
    ) -> tuple[Tensor, ...]:
        """Returns the detections of two-stage families; in a cascade, stages refine the regions."""
        regions, is_region = self._propose(features, batch, picture_hw)
        first, *others = self.stages
        last = first
        logits, deltas = _predict(first, features, regions)
        shares = [logits.softmax(-1)]
        for stage in others:
            regions = _refine(last, regions, logits, deltas, picture_hw)
            logits, deltas = _predict(stage, features, regions)
            shares.append(logits.softmax(-1))
            last = stage
        decoded = last.box_coder.decode_single(deltas, regions).unflatten(1, (-1, 4))
        boxes = clip_boxes_to_image(decoded[:, 1:], picture_hw).transpose(0, 1)
        scores = torch.stack(shares).mean(dim=0)[:, 1:].transpose(0, 1)
        has_sides = (boxes[..., 2:] - boxes[..., :2] >= SMALLEST_SIDE).all(dim=-1)
        can_be_shown = has_sides & is_region & (scores > last.score_thresh)
        scores = torch.where(can_be_shown, scores, EMPTY)
        rows = suppress(boxes, scores, last.nms_thresh, 0.0, last.detections_per_img)
        detections = self._fill_places(rows, boxes, scores)
        return (*detections, *self._predict_masks(features, detections))

    def _propose(
        self, features: Features, batch: Tensor, picture_hw: HeightWidth
    ) -> tuple[Tensor, Tensor]:
        """Returns the proposals ``[R, 4]``, and which of these places hold one."""
        network: Any = self.network
        rpn, maps = network.rpn, list(features.values())
        logits, deltas = rpn.head(maps)
        boxes, scores = [], []
        for anchors, of_level, moved in zip(
            build_anchors(rpn.anchor_generator, batch, maps), logits, deltas, strict=True
        ):
            flat = of_level[0].permute(1, 2, 0).flatten()
            best, rows = _choose_best(flat, rpn.pre_nms_top_n(), torch.finfo(flat.dtype).min)
            by_anchor = moved[0].unflatten(0, (-1, 4)).permute(2, 3, 0, 1).flatten(0, 2)
            decoded = rpn.box_coder.decode_single(by_anchor[rows], anchors[rows])
            clipped = clip_boxes_to_image(decoded, picture_hw)
            has_sides = (clipped[:, 2:] - clipped[:, :2] >= rpn.min_size).all(dim=-1)
            is_anchor = best > torch.finfo(flat.dtype).min
            boxes.append(clipped)
            scores.append(torch.where(has_sides & is_anchor, best.sigmoid(), EMPTY))
        by_level, of_boxes = torch.stack(boxes), torch.stack(scores)
        rows = suppress(by_level, of_boxes, rpn.nms_thresh, EMPTY / 2, rpn.post_nms_top_n())
        level, number = rows.clamp(min=0).unbind(1)
        return by_level[level, number], rows[:, 1] >= 0

    def _predict_masks(
        self, features: Features, detections: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        heads: Any = self.network.get_submodule("roi_heads")
        if not isinstance(heads, StagedHeads) or "masks" not in heads.branches:
            return ()
        branch: Any = heads.branches["masks"]
        boxes, _, labels = detections
        pooled = _pool(branch.pool, features, boxes)
        probabilities = branch.predictor(branch.head(pooled)).sigmoid()
        return (probabilities[torch.arange(labels.shape[0]), labels],)


def build_anchors(generator: Any, batch: Tensor, maps: Sequence[Tensor]) -> list[Tensor]:
    """Returns the anchors of each level, ``[A, 4]``, as torchvision places them."""
    grids = [[m.shape[-2], m.shape[-1]] for m in maps]
    strides = [[batch.shape[-2] // rows, batch.shape[-1] // columns] for rows, columns in grids]
    anchors: list[Tensor] = generator.grid_anchors(grids, strides)
    return anchors


def _score_anchors(network: nn.Module, outputs: dict[str, Tensor]) -> Tensor:
    """Returns the score of each anchor for each class, ``[A, K]``."""
    scores = outputs["cls_logits"][0].sigmoid()
    if isinstance(network, WholeBatchFcos):
        return torch.sqrt(scores * outputs["bbox_ctrness"][0].sigmoid())
    return scores


def _decode(network: Any, deltas: Tensor, anchors: Tensor) -> Tensor:
    coder = network.box_coder
    decode = coder.decode if isinstance(network, WholeBatchFcos) else coder.decode_single
    boxes: Tensor = decode(deltas, anchors)
    return boxes


def _choose_best(scores: Tensor, most: int, empty: float = EMPTY) -> tuple[Tensor, Tensor]:
    """Returns the best ``most`` scores and their rows; places without one have the score ``empty``.

    Rows of such places are those of the first score.
    """
    filled = torch.cat([scores, scores.new_full((most,), empty)])
    best, rows = filled.topk(most)
    return best, torch.where(rows < scores.shape[0], rows, 0)


def _pool(pool: RegionPool, features: Features, boxes: Tensor) -> Tensor:
    """Pools each region from the map for its size."""
    levels, side = pool.map_levels([boxes]), pool.output_size[0]
    pooled = [
        pool_some(features[name], boxes, levels == level, side, scale, pool.sampling_ratio)
        for level, (name, scale) in enumerate(zip(pool.featmap_names, pool.scales, strict=True))
    ]
    return torch.stack(pooled).sum(dim=0) if len(pooled) > 1 else pooled[0]


def _predict(stage: BoxHeads, features: Features, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Returns class logits ``[R, 1 + K]`` and deltas ``[R, 4 * (1 + K)]`` of regions."""
    logits, deltas = stage.box_predictor(stage.box_head(_pool(stage.box_roi_pool, features, boxes)))
    return logits, deltas


def _refine(
    stage: BoxHeads, boxes: Tensor, logits: Tensor, deltas: Tensor, picture_hw: HeightWidth
) -> Tensor:
    """Moves each region by the stage's deltas for the likeliest class; clips it to the picture."""
    moved = stage.box_coder.decode_single(deltas, boxes).unflatten(1, (-1, 4))
    likeliest = logits[:, 1:].argmax(dim=1) + 1
    chosen = moved[torch.arange(moved.shape[0]), likeliest]
    clipped: Tensor = clip_boxes_to_image(chosen, picture_hw)
    return clipped
