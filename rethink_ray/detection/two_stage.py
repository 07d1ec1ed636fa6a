"""Faster R-CNN and its kin in training: torchvision's networks with few waits for a GPU.

At evaluation they are torchvision's. In training the numbers are the same too; what differs is the
order of sums, and how often the host asks a GPU how many of something there are.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    smooth_l1_loss,
)
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, concat_box_prediction_layers
from torchvision.ops import MultiScaleRoIAlign, batched_nms, clip_boxes_to_image, roi_align
from torchvision.ops._utils import convert_boxes_to_roi_format

from rethink_ray.detection.box_coding import DeviceBoxCoder
from rethink_ray.detection.matching import (
    IGNORED,
    indices_where,
    match_by_overlap,
    pad_objects,
    require_sides,
)
from rethink_ray.detection.regions import Drawn, Features, Objects, Sizes, draw, predict

BETA = 1 / 9
"""Where the box loss turns from a square into a line (torchvision's)."""


class TwoStage(GeneralizedRCNN):  # type: ignore[misc]  # torchvision is untyped
    """Proposals, then heads on regions."""

    def forward(self, images: list[Tensor], targets: list[Objects] | None = None) -> Any:
        """The losses of a batch in training, what was found in each image otherwise."""
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
    """Ren et al. 2015: matched for the batch at once; boxes are coded for drawn anchors only."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.box_coder: Any = DeviceBoxCoder((1.0, 1.0, 1.0, 1.0))

    def forward(
        self, images: ImageList, features: Features, targets: list[Objects] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals of each image ``[R, 4]``, and in training the two losses."""
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
        """Boxes and scores of each image's best proposals; torchvision's with one wait an image.

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
        levels = _levels(best, num_anchors_per_level)
        boxes = torch.stack(
            [clip_boxes_to_image(b, hw) for b, hw in zip(chosen, image_shapes, strict=True)]
        )
        has_sides = (boxes[..., 2:] - boxes[..., :2] >= self.min_size).all(dim=-1)
        kept = indices_where(has_sides & (scores >= self.score_thresh))
        pairs = [
            self._without_duplicates(b[k], s[k], level[k])
            for b, s, level, k in zip(boxes, scores, levels, kept, strict=True)
        ]
        return [b for b, _ in pairs], [s for _, s in pairs]

    def _without_duplicates(
        self, boxes: Tensor, scores: Tensor, levels: Tensor
    ) -> tuple[Tensor, Tensor]:
        kept = batched_nms(boxes, scores, levels, self.nms_thresh)[: self.post_nms_top_n()]
        return boxes[kept], scores[kept]

    def _losses(
        self, logits: Tensor, deltas: Tensor, anchors: Tensor, targets: Sequence[Objects]
    ) -> dict[str, Tensor]:
        """From logits ``[N, A]``, deltas ``[N, A, 4]`` and the anchors ``[A, 4]`` of all images."""
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
        expected = self.box_coder.encode_single(boxes.flatten(0, 1), positive_anchors.flatten(0, 1))
        predicted = deltas.gather(1, positives.candidates[..., None].expand(-1, -1, 4)).flatten(
            0, 1
        )
        distances = smooth_l1_loss(predicted, expected, beta=BETA, reduction="none").sum(dim=1)
        of_positives = distances.masked_fill(~positives.is_drawn.flatten(), 0.0)
        return {
            "loss_objectness": entropy.masked_fill(~is_drawn, 0.0).sum() / divisor,
            "loss_rpn_box_reg": of_positives.sum() / divisor,
        }


def _levels(anchor_indices: Tensor, num_anchors_per_level: Sequence[int]) -> Tensor:
    """The level that each of the anchors belongs to."""
    levels = torch.zeros_like(anchor_indices)
    first = 0
    for num_anchors in num_anchors_per_level[:-1]:
        first += num_anchors
        levels += anchor_indices >= first
    return levels


class BoxHeads(RoIHeads):  # type: ignore[misc]  # torchvision is untyped
    """The box head of Faster R-CNN, or one stage of a cascade."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.box_coder: Any = DeviceBoxCoder(self.box_coder.weights)

    def forward(
        self,
        features: Features,
        proposals: list[Tensor],
        image_shapes: Sizes,
        targets: list[Objects] | None = None,
    ) -> Any:
        """Nothing and the losses in training; what was found and nothing otherwise."""
        if not self.training:
            return super().forward(features, proposals, image_shapes)
        assert targets is not None, "losses are taken against targets"
        drawn = draw(self, proposals, targets)
        scores, deltas = predict(self, features, drawn.boxes_xyxy, image_shapes)
        classifier, box_reg = box_losses(scores, deltas, drawn)
        return [], {"loss_classifier": classifier, "loss_box_reg": box_reg}

    def subsample(self, labels: list[Tensor]) -> list[Tensor]:
        """Places of each image's drawn proposals, in order; one wait for the batch."""
        positive, negative = self.fg_bg_sampler(labels)
        return indices_where([p | n for p, n in zip(positive, negative, strict=True)])


def box_losses(scores: Tensor, deltas: Tensor, drawn: Drawn) -> tuple[Tensor, Tensor]:
    """Of the class scores ``[R, 1 + K]`` and of the box deltas ``[R, 4 * (1 + K)]``.

    torchvision's ``fastrcnn_loss`` without a wait; both are zero where nothing was drawn. A region
    without an object has no deltas to learn: they may be no numbers, which must not reach a loss,
    not even one that is masked afterwards (its gradient would be no number).
    """
    labels, expected = torch.cat(drawn.labels), torch.cat(drawn.deltas)
    num_drawn = max(1, len(labels))
    of_classes = deltas.view(len(labels), deltas.shape[1] // 4, 4)
    of_label = of_classes.gather(1, labels[:, None, None].expand(-1, 1, 4))[:, 0]
    is_positive = labels > 0
    expected = torch.where(is_positive[:, None], expected, of_label.detach())
    distances = smooth_l1_loss(of_label, expected, beta=BETA, reduction="none").sum(dim=1)
    of_positives = distances.masked_fill(~is_positive, 0.0)
    entropy = cross_entropy(scores, labels, reduction="sum")
    return entropy / num_drawn, of_positives.sum() / num_drawn


class RegionPool(MultiScaleRoIAlign):  # type: ignore[misc]  # torchvision is untyped
    """Regions as small maps, each from the level that suits its size; one wait for all levels.

    The strides are known: ``families.roi_pool`` sets ``scales`` and ``map_levels``.
    """

    def forward(self, x: Features, boxes: list[Tensor], image_shapes: Sizes) -> Tensor:
        """``[R, C, cells, cells]`` in the order of the boxes."""
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
