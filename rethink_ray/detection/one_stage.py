"""RetinaNet and FCOS with losses over a whole batch, divided by the batch's foreground anchors.

torchvision's RetinaNet divides image by image, so an image without objects has a gradient three
times as large as one with seven (norm 12.6 against 3.7 at the start, 2026-11-28). At evaluation
both networks are torchvision's.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.ops import sigmoid_focal_loss

from rethink_ray.detection.box_coding import DeviceBoxCoder
from rethink_ray.detection.box_losses import BoxLoss, giou_loss
from rethink_ray.detection.matching import (
    IGNORED,
    PaddedObjects,
    build_points,
    match_by_overlap,
    match_by_range,
    pad_objects,
    require_sides,
)
from rethink_ray.detection.necks import Pyramid
from rethink_ray.detection.peers import Division
from rethink_ray.detection.resize import HeightWidth

Outputs = Mapping[str, Tensor]
"""Outputs of a head: ``cls_logits [N, A, K]``, ``bbox_regression [N, A, 4]``, and for FCOS
``bbox_ctrness [N, A, 1]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FocalLoss:
    """The focal loss (Lin et al. 2017): -a (1 - p)^gamma log p, p the share of the truth."""

    gamma: float
    alpha: float
    """Weight a of an object; background weighs ``1 - alpha``."""

    def per_anchor(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Returns ``[N, A]`` of ``logits [N, A, K]``, summed over K; class -1 is background."""
        every = torch.arange(logits.shape[2], device=logits.device)
        is_class = (classes[..., None] == every).to(logits.dtype)
        per_class: Tensor = sigmoid_focal_loss(
            logits, is_class, alpha=self.alpha, gamma=self.gamma, reduction="none"
        )
        return per_class.sum(dim=2)


class OneStage(nn.Module):
    """The training pass of RetinaNet and FCOS; inherited before torchvision's network."""

    loss_names: tuple[str, ...]

    def __init__(
        self, *arguments: Any, focal_loss: FocalLoss, box_loss: BoxLoss, **settings: Any
    ) -> None:
        super().__init__(*arguments, **settings)
        self.focal_loss, self.box_loss = focal_loss, box_loss
        self.num_foreground = torch.zeros((), dtype=torch.int64)
        """Foreground anchors of the newest batch; 0-dim, on the network's device."""

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        """Returns the losses of a batch in training, the detections of each image otherwise."""
        if not self.training:
            return super().forward(images)
        assert targets is not None, "losses are taken against targets"
        network = cast(Any, self)
        batch, targets = network.transform(images, targets)
        objects = _pad_checked(targets)
        features = list(network.backbone(batch.tensors).values())
        outputs = network.head(features)
        levels = self._anchors(batch.tensors.shape[-2:], [f.shape[-2:] for f in features])
        matches = self._match(objects, levels)
        self.num_foreground = _count_foreground(matches)
        sums = self._loss_sums(outputs, objects, torch.cat(levels), matches)
        divisor = self.num_foreground.clamp(min=1)
        return {name: total / divisor for name, total in sums.items()}

    def divisions(self) -> tuple[Division, ...]:
        """Returns the count that divided the newest losses."""
        return (Division(names=self.loss_names, count=self.num_foreground, at_least=1),)

    @torch.no_grad()
    def count_foreground(
        self, padded_hw: HeightWidth, targets: Sequence[Mapping[str, Tensor]]
    ) -> Tensor:
        """Counts the foreground anchors of these images, 0-dim, without running the network.

        Args:
            padded_hw: height and width of the padded batch.
            targets: ``boxes`` in pixels of the *resized* images, and ``labels``.
        """
        levels = self._anchors(padded_hw, _derive_grids(cast(Any, self).backbone, padded_hw))
        return _count_foreground(self._match(pad_objects(targets), levels))

    def _anchors(self, padded_hw: HeightWidth, grids: Sequence[HeightWidth]) -> list[Tensor]:
        """Returns the anchors of each level, ``[A, 4]`` xyxy; images of a batch share them."""
        generator, device = cast(Any, self).anchor_generator, next(self.parameters()).device
        levels: list[Tensor] = generator.build_levels(padded_hw, grids, device)
        return levels

    @abstractmethod
    def _match(self, objects: PaddedObjects, levels: Sequence[Tensor]) -> Tensor:
        """Returns ``[N, A]``: the row of each anchor's object, or a negative number."""

    @abstractmethod
    def _loss_sums(
        self, outputs: Outputs, objects: PaddedObjects, anchors: Tensor, matches: Tensor
    ) -> dict[str, Tensor]:
        """Returns each loss summed over the batch."""


class WholeBatchRetinaNet(OneStage, RetinaNet):  # type: ignore[misc]  # torchvision is untyped
    """RetinaNet (Lin et al. 2017) whose losses are divided by the batch's foreground anchors.

    For a batch of one image with an object the losses equal torchvision's of the same kind.
    """

    loss_names = ("classification", "bbox_regression")

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.box_coder: Any = DeviceBoxCoder((1.0, 1.0, 1.0, 1.0))

    def _match(self, objects: PaddedObjects, levels: Sequence[Tensor]) -> Tensor:
        return match_by_overlap(objects, torch.cat(list(levels)), self.proposal_matcher)

    def _loss_sums(
        self, outputs: Outputs, objects: PaddedObjects, anchors: Tensor, matches: Tensor
    ) -> dict[str, Tensor]:
        classes = objects.matched_labels(matches)
        focal = self.focal_loss.per_anchor(outputs["cls_logits"], classes)
        boxes = torch.where(_is_foreground(matches), objects.matched_boxes(matches), anchors)
        references = anchors.expand_as(boxes).flatten(0, 1)
        expected = self.box_coder.encode_single(boxes.flatten(0, 1), references)
        deltas = outputs["bbox_regression"].flatten(0, 1)
        distances = self.box_loss.measure_boxes(deltas, expected, references, self.box_coder)
        return {
            "classification": focal.masked_fill(matches == IGNORED, 0.0).sum(),
            "bbox_regression": _sum_foreground(distances.view_as(matches), matches),
        }


class WholeBatchFcos(OneStage, FCOS):  # type: ignore[misc]  # torchvision is untyped
    """FCOS (Tian et al. 2019) with torchvision's losses, computed for all images at once."""

    loss_names = ("classification", "bbox_regression", "bbox_ctrness")
    box_coder: Any
    center_sampling_radius: float

    def _match(self, objects: PaddedObjects, levels: Sequence[Tensor]) -> Tensor:
        sizes = [len(anchors) for anchors in levels]
        points = build_points(torch.cat(list(levels)), sizes, self.center_sampling_radius)
        return match_by_range(objects, points)

    def _loss_sums(
        self, outputs: Outputs, objects: PaddedObjects, anchors: Tensor, matches: Tensor
    ) -> dict[str, Tensor]:
        focal = self.focal_loss.per_anchor(outputs["cls_logits"], objects.matched_labels(matches))
        boxes = torch.where(_is_foreground(matches), objects.matched_boxes(matches), anchors)
        predicted = self.box_coder.decode(outputs["bbox_regression"], anchors)
        overlap = self.box_loss.weight * giou_loss(predicted, boxes)
        centerness = _derive_centerness(self.box_coder.encode(anchors, boxes))
        logits = outputs["bbox_ctrness"].squeeze(dim=2)
        entropy = binary_cross_entropy_with_logits(logits, centerness, reduction="none")
        return {
            "classification": focal.sum(),
            "bbox_regression": _sum_foreground(overlap, matches),
            "bbox_ctrness": _sum_foreground(entropy, matches),
        }


def _derive_centerness(sides: Tensor) -> Tensor:
    """Returns 1 at the centre of a box, 0 at its edge, for distances ``[N, A, 4]`` to its sides."""
    across, along = sides[..., 0::2], sides[..., 1::2]
    shares = across.amin(-1) / across.amax(-1), along.amin(-1) / along.amax(-1)
    return torch.sqrt(shares[0] * shares[1])


def _is_foreground(matches: Tensor) -> Tensor:
    return (matches >= 0)[..., None]


def _count_foreground(matches: Tensor) -> Tensor:
    return (matches >= 0).sum()


def _sum_foreground(losses: Tensor, matches: Tensor) -> Tensor:
    return losses.masked_fill(matches < 0, 0.0).sum()


def _pad_checked(targets: Sequence[Mapping[str, Tensor]]) -> PaddedObjects:
    require_sides(targets)
    return pad_objects(targets)


def _derive_grids(pyramid: Pyramid, padded_hw: HeightWidth) -> list[HeightWidth]:
    """Returns rows and columns of each level; every level halves the finer one, rounded up."""
    height, width = padded_hw
    strides = (pyramid.levels.first_stride * 2**level for level in range(pyramid.levels.count))
    return [(-(-height // stride), -(-width // stride)) for stride in strides]
