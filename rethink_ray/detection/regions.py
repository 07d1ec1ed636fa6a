"""Sampled proposals, and the branches (masks, keypoints) on regions of an image.

In training a branch learns from the positives that the last box stage sampled. At evaluation it
predicts for the detected boxes.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import MultiScaleRoIAlign

from rethink_ray.detection.matching import find_indices
from rethink_ray.detection.necks import full_precision
from rethink_ray.detection.peers import Division

Features = dict[str, Tensor]
Sizes = list[tuple[int, int]]
"""Height and width of each image, before padding."""
ObjectTensors = dict[str, Tensor]
"""Targets or detections of one image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledProposals:
    """The proposals of a batch that enter a loss; every field has one tensor per image."""

    boxes_xyxy: list[Tensor]
    """``[R, 4]``, pixels of the resized image."""
    matched: list[Tensor]
    """``[R]``: the row of each proposal's object in the image's targets."""
    labels: list[Tensor]
    """``[R]``: class from 1; 0 is background."""
    deltas: list[Tensor]
    """``[R, 4]``: from the proposal to its object, scaled as the stage codes boxes."""

    def positives(self) -> tuple[list[Tensor], list[Tensor]]:
        """Returns ``boxes_xyxy`` and ``matched`` of the proposals with an object."""
        kept = find_indices([labels > 0 for labels in self.labels])
        boxes = [b[k] for b, k in zip(self.boxes_xyxy, kept, strict=True)]
        return boxes, [m[k] for m, k in zip(self.matched, kept, strict=True)]


class Branch(nn.Module, ABC):
    """Predicts masks or keypoints of regions: pool, head, predictor."""

    def __init__(self, pool: MultiScaleRoIAlign, head: nn.Module, predictor: nn.Module) -> None:
        super().__init__()
        self.pool, self.head, self.predictor = pool, head, predictor

    def forward(self, features: Features, boxes_xyxy: list[Tensor], sizes: Sizes) -> Tensor:
        """Returns logits ``[R, channels, M, M]`` for the regions of all images, float32."""
        pooled = self.pool(features, boxes_xyxy, sizes)
        return full_precision(self.predictor(self.head(pooled)))

    @abstractmethod
    def losses(
        self,
        features: Features,
        drawn: SampledProposals,
        targets: Sequence[ObjectTensors],
        sizes: Sizes,
    ) -> dict[str, Tensor]:
        """Returns the losses on the positives of a batch."""

    @abstractmethod
    def find(self, features: Features, detections: Sequence[ObjectTensors], sizes: Sizes) -> None:
        """Adds predictions to the detections of each image, in pixels of the resized image."""

    @abstractmethod
    def division(self) -> Division:
        """Returns the count that divided the newest losses."""


def sample_proposals(
    stage: RoIHeads, proposals: list[Tensor], targets: list[ObjectTensors]
) -> SampledProposals:
    """Samples training proposals for a stage, by its thresholds and its sampler.

    Annotated objects are added to the proposals first.
    """
    # torchvision replaces entries of its list argument, so it gets a copy
    boxes, matched, labels, deltas = stage.select_training_samples(list(proposals), targets)
    return SampledProposals(boxes_xyxy=boxes, matched=matched, labels=labels, deltas=deltas)


def predict(
    stage: RoIHeads, features: Features, boxes_xyxy: list[Tensor], sizes: Sizes
) -> tuple[Tensor, Tensor]:
    """Returns scores ``[R, 1 + K]`` and deltas ``[R, 4 * (1 + K)]`` of all images' regions."""
    pooled = stage.box_head(stage.box_roi_pool(features, boxes_xyxy, sizes))
    scores, deltas = stage.box_predictor(pooled)
    return scores, deltas
