"""Two-stage detectors: torchvision's networks with few waits for a GPU in training.

At evaluation they are torchvision's. In training results are equal too, up to the order of sums;
the host reads fewer counts from the GPU.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
)
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, concat_box_prediction_layers
from torchvision.ops import MultiScaleRoIAlign, batched_nms, clip_boxes_to_image, nms, roi_align
from torchvision.ops._utils import convert_boxes_to_roi_format

from rethink_ray.detection.box_coding import DeviceBoxCoder
from rethink_ray.detection.box_losses import BoxLoss
from rethink_ray.detection.matching import (
    IGNORED,
    find_indices,
    match_by_overlap,
    pad_objects,
    require_sides,
)
from rethink_ray.detection.regions import (
    Features,
    ObjectTensors,
    SampledProposals,
    Sizes,
    predict,
    sample_proposals,
)


class TwoStage(GeneralizedRCNN):  # type: ignore[misc]  # torchvision is untyped
    """A detector with a proposal network and heads on regions."""

    def forward(self, images: list[Tensor], targets: list[ObjectTensors] | None = None) -> Any:
        """Returns the losses of a batch in training, the detections of each image otherwise."""
        if not self.training:
            return super().forward(images)
        assert targets is not None, "losses are taken against targets"
        batch, targets = self.transform(images, targets)
        require_sides(targets)
        features = self.backbone(batch.tensors)
        proposals, of_proposals = self.rpn(batch, features, targets)
        _, of_regions = self.roi_heads(features, proposals, batch.image_sizes, targets)
        return {**of_regions, **of_proposals}


class ProposalNetwork(RegionProposalNetwork):  # type: ignore[misc]  # torchvision is untyped
    """Proposal network (Ren et al. 2015) that matches all images of a batch at once.

    Boxes are coded for sampled anchors only.
    """

    def __init__(self, *arguments: Any, box_loss: BoxLoss, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.box_coder: Any = DeviceBoxCoder((1.0, 1.0, 1.0, 1.0))
        self.box_loss = box_loss

    def forward(
        self, images: ImageList, features: Features, targets: list[ObjectTensors] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Returns the proposals of each image, ``[R, 4]``, and in training the two losses."""
        maps = list(features.values())
        by_level, deltas_by_level = self.head(maps)
        anchors = self.anchor_generator(images, maps)
        sizes = [scores[0].numel() for scores in by_level]
        flat = concat_box_prediction_layers(by_level, deltas_by_level)
        logits, deltas = (x.view(len(anchors), sum(sizes), -1) for x in flat)
        moved = self.box_coder.decode(deltas.detach(), anchors).view_as(deltas)
        boxes, _ = self.filter_proposals(moved, logits, images.image_sizes, sizes)
        if not self.training:
            return boxes, {}
        assert targets is not None, "losses are taken against targets"
        return boxes, self._losses(logits[..., 0], deltas, anchors[0], targets)

    def filter_proposals(
        self,
        proposals: Tensor,
        objectness: Tensor,
        image_shapes: Sizes,
        num_anchors_per_level: list[int],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Returns boxes and scores of each image's best proposals, as torchvision does.

        It waits for a GPU once per image.

        Args:
            proposals: ``[N, A, 4]`` xyxy.
            objectness: ``[N, A, 1]`` logits.
            image_shapes: height and width of each image.
            num_anchors_per_level: their sum is A.
        """
        logits = objectness.detach().flatten(1)
        best = self._get_top_n_idx(logits, num_anchors_per_level)
        scores = logits.gather(1, best).sigmoid()
        chosen = proposals.gather(1, best[..., None].expand(-1, -1, 4))
        levels = _find_levels(best, num_anchors_per_level)
        boxes = torch.stack(
            [clip_boxes_to_image(b, hw) for b, hw in zip(chosen, image_shapes, strict=True)]
        )
        has_sides = (boxes[..., 2:] - boxes[..., :2] >= self.min_size).all(dim=-1)
        kept = find_indices(has_sides & (scores >= self.score_thresh))
        pairs = [
            self._suppress_overlaps(b[k], s[k], level[k])
            for b, s, level, k in zip(boxes, scores, levels, kept, strict=True)
        ]
        return [b for b, _ in pairs], [s for _, s in pairs]

    def _suppress_overlaps(
        self, boxes: Tensor, scores: Tensor, levels: Tensor
    ) -> tuple[Tensor, Tensor]:
        kept = _suppress_by_level(boxes, scores, levels, self.nms_thresh)
        kept = kept[: self.post_nms_top_n()]
        return boxes[kept], scores[kept]

    def _losses(
        self, logits: Tensor, deltas: Tensor, anchors: Tensor, targets: Sequence[ObjectTensors]
    ) -> dict[str, Tensor]:
        """Returns the losses for logits ``[N, A]``, deltas ``[N, A, 4]`` and anchors ``[A, 4]``."""
        objects = pad_objects(targets)
        matches = match_by_overlap(objects, anchors, self.proposal_matcher)
        labels = (matches >= 0).to(torch.int8) - (matches == IGNORED).to(torch.int8)
        positives, negatives = self.fg_bg_sampler.draw(labels)
        divisor = self.fg_bg_sampler.num_drawn.clamp(min=1)
        indices = torch.cat([positives.candidates, negatives.candidates], dim=1)
        is_drawn = torch.cat([positives.is_drawn, negatives.is_drawn], dim=1)
        is_positive = torch.zeros_like(is_drawn, dtype=logits.dtype)
        is_positive[:, : positives.candidates.shape[1]] = 1.0
        entropy = binary_cross_entropy_with_logits(
            logits.gather(1, indices), is_positive, reduction="none"
        )
        positive_anchors = anchors[positives.candidates]
        boxes = objects.matched_boxes(matches.gather(1, positives.candidates))
        boxes = torch.where(positives.is_drawn[..., None], boxes, positive_anchors)
        references = positive_anchors.flatten(0, 1)
        expected = self.box_coder.encode_single(boxes.flatten(0, 1), references)
        predicted = deltas.gather(1, positives.candidates[..., None].expand(-1, -1, 4)).flatten(
            0, 1
        )
        distances = self.box_loss.measure_boxes(predicted, expected, references, self.box_coder)
        of_positives = distances.masked_fill(~positives.is_drawn.flatten(), 0.0)
        return {
            "loss_objectness": entropy.masked_fill(~is_drawn, 0.0).sum() / divisor,
            "loss_rpn_box_reg": of_positives.sum() / divisor,
        }


def _suppress_by_level(boxes: Tensor, scores: Tensor, levels: Tensor, nms_iou: float) -> Tensor:
    """Returns what torchvision's ``batched_nms`` keeps, in its order.

    For a GPU that copies a number there and waits for the copy; the shift of each level is the same
    without.
    """
    kept: Tensor
    if boxes.device.type == "cpu" or not len(boxes):
        kept = batched_nms(boxes, scores, levels, nms_iou)
    else:
        shifts = levels.to(boxes) * (boxes.max() + 1)
        kept = nms(boxes + shifts[:, None], scores, nms_iou)
    return kept


def _find_levels(anchor_indices: Tensor, num_anchors_per_level: Sequence[int]) -> Tensor:
    """Returns the level of each anchor."""
    levels = torch.zeros_like(anchor_indices)
    first = 0
    for num_anchors in num_anchors_per_level[:-1]:
        first += num_anchors
        levels += anchor_indices >= first
    return levels


class BoxHeads(RoIHeads):  # type: ignore[misc]  # torchvision is untyped
    """The box head of Faster R-CNN, or one stage of a cascade."""

    def __init__(self, *arguments: Any, box_loss: BoxLoss, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.box_coder: Any = DeviceBoxCoder(self.box_coder.weights)
        self.box_loss = box_loss

    def forward(
        self,
        features: Features,
        proposals: list[Tensor],
        image_shapes: Sizes,
        targets: list[ObjectTensors] | None = None,
    ) -> Any:
        """Returns no detections and the losses in training; detections and no losses otherwise."""
        if not self.training:
            return super().forward(features, proposals, image_shapes)
        assert targets is not None, "losses are taken against targets"
        drawn = sample_proposals(self, proposals, targets)
        scores, deltas = predict(self, features, drawn.boxes_xyxy, image_shapes)
        classifier, box_reg = self.losses(scores, deltas, drawn)
        return [], {"loss_classifier": classifier, "loss_box_reg": box_reg}

    def subsample(self, labels: list[Tensor]) -> list[Tensor]:
        """Returns the indices of each image's sampled proposals; waits for a GPU once."""
        positive, negative = self.fg_bg_sampler(labels)
        return find_indices([p | n for p, n in zip(positive, negative, strict=True)])

    def losses(
        self, scores: Tensor, deltas: Tensor, drawn: SampledProposals
    ) -> tuple[Tensor, Tensor]:
        """Returns the classification and the box loss, without waits for a GPU.

        Both are zero if there are no samples. Background regions have no target deltas; theirs may
        be NaN, which must not reach a loss, because the gradient of a masked NaN is NaN too.

        Args:
            scores: ``[R, 1 + K]``.
            deltas: ``[R, 4 * (1 + K)]``.
            drawn: the sampled regions.
        """
        labels, expected = torch.cat(drawn.labels), torch.cat(drawn.deltas)
        num_drawn = max(1, len(labels))
        of_classes = deltas.view(len(labels), deltas.shape[1] // 4, 4)
        of_label = of_classes.gather(1, labels[:, None, None].expand(-1, 1, 4))[:, 0]
        is_positive = labels > 0
        expected = torch.where(is_positive[:, None], expected, of_label.detach())
        regions = torch.cat(drawn.boxes_xyxy)
        distances = self.box_loss.measure_boxes(of_label, expected, regions, self.box_coder)
        of_positives = distances.masked_fill(~is_positive, 0.0)
        entropy = cross_entropy(scores, labels, reduction="sum")
        return entropy / num_drawn, of_positives.sum() / num_drawn


class RegionPool(MultiScaleRoIAlign):  # type: ignore[misc]  # torchvision is untyped
    """Pools regions, each from the level for its size; waits for a GPU once for all levels.

    ``families.build_roi_pool`` sets ``scales`` and ``map_levels``, so no strides are guessed.
    """

    def forward(self, x: Features, boxes: list[Tensor], image_shapes: Sizes) -> Tensor:
        """Returns ``[R, C, cells, cells]`` in the order of the boxes."""
        maps = [x[name] for name in self.featmap_names]
        rois, levels = convert_boxes_to_roi_format(boxes), self.map_levels(boxes)
        every = torch.arange(len(maps), device=levels.device)
        sizes = (levels[:, None] == every).sum(dim=0).tolist()
        order = levels.argsort(stable=True)
        parts = zip(maps, rois[order].split(sizes), self.scales, strict=True)
        pooled = torch.cat(
            [
                roi_align(features, regions, self.output_size, scale, self.sampling_ratio)
                for features, regions, scale in parts
            ]
        )
        return torch.empty_like(pooled).index_copy(0, order, pooled)
