"""What is learned from regions of an image: drawn proposals, and the branches that look at them.

A branch (masks, keypoints) learns from the positives that the last box stage drew, and looks at the
boxes that were found.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import MultiScaleRoIAlign

from rethink_ray.detection.matching import indices_where
from rethink_ray.detection.necks import full_precision
from rethink_ray.detection.peers import Division

Features = dict[str, Tensor]
Sizes = list[tuple[int, int]]
"""Height and width of each image, before padding."""
Objects = dict[str, Tensor]
"""Of one image: targets to learn from, or what was found in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """The proposals of a batch that enter a loss; one tensor per image throughout."""

    boxes_xyxy: list[Tensor]
    matched: list[Tensor]
    """The object each of them is held against, a row of the image's targets."""
    labels: list[Tensor]
    """Its class from 1; 0 is background."""
    deltas: list[Tensor]
    """From the proposal to its object, in the units of the stage."""

    def positives(self) -> tuple[list[Tensor], list[Tensor]]:
        """``boxes_xyxy`` and ``matched`` of those that show an object."""
        kept = indices_where([labels > 0 for labels in self.labels])
        boxes = [b[k] for b, k in zip(self.boxes_xyxy, kept, strict=True)]
        return boxes, [m[k] for m, k in zip(self.matched, kept, strict=True)]


class Branch(nn.Module, ABC):
    """What a network learns from regions besides boxes: pooled, seen by a head, predicted."""

    def __init__(self, pool: MultiScaleRoIAlign, head: nn.Module, predictor: nn.Module) -> None:
        super().__init__()
        self.pool, self.head, self.predictor = pool, head, predictor

    def forward(self, features: Features, boxes_xyxy: list[Tensor], sizes: Sizes) -> Tensor:
        """Logits ``[R, channels, M, M]`` over the regions of all images, float32."""
        pooled = self.pool(features, boxes_xyxy, sizes)
        return full_precision(self.predictor(self.head(pooled)))

    @abstractmethod
    def losses(
        self, features: Features, drawn: Drawn, targets: Sequence[Objects], sizes: Sizes
    ) -> dict[str, Tensor]:
        """From the positives of a batch."""

    @abstractmethod
    def find(self, features: Features, detections: Sequence[Objects], sizes: Sizes) -> None:
        """Add to what was found in each image, in pixels of the resized image."""

    @abstractmethod
    def division(self) -> Division:
        """What the newest losses were divided by."""


def draw(stage: RoIHeads, proposals: list[Tensor], targets: list[Objects]) -> Drawn:
    """Objects are proposals too; then matched by overlap and sampled, as this stage does both."""
    # torchvision replaces entries of the list that it is given
    boxes, matched, labels, deltas = stage.select_training_samples(list(proposals), targets)
    return Drawn(boxes_xyxy=boxes, matched=matched, labels=labels, deltas=deltas)


def predict(
    stage: RoIHeads, features: Features, boxes_xyxy: list[Tensor], sizes: Sizes
) -> tuple[Tensor, Tensor]:
    """Class scores ``[R, 1 + K]`` and box deltas ``[R, 4 * (1 + K)]`` of all images' regions."""
    pooled = stage.box_head(stage.box_roi_pool(features, boxes_xyxy, sizes))
    scores, deltas = stage.box_predictor(pooled)
    return scores, deltas
