"""Keypoints of regions (He et al. 2017, sec. 5): a heatmap each, in which one cell is right.

Every region is taken for an object that has all of them, whatever its class.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.functional import cross_entropy
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.models.detection.roi_heads import (
    keypointrcnn_inference,
    keypoints_to_heatmap,
)
from torchvision.ops import MultiScaleRoIAlign

from rethink_ray.detection.necks import full_precision
from rethink_ray.detection.peers import Division
from rethink_ray.detection.regions import Branch, Drawn, Features, Objects, Sizes
from rethink_ray.spec.recipe import DetectorSpec

KEYPOINT_CELLS = 14
"""Cells along a side of a region; a heatmap has four times as many."""
UNSEEN = -1
"""Instead of a cell: a keypoint that is not annotated or lies outside its region."""


class KeypointPredictor(KeypointRCNNPredictor):  # type: ignore[misc]  # torchvision is untyped
    """torchvision's, which enlarges its heatmaps in float32 on every device."""

    def forward(self, x: Tensor) -> Tensor:
        """``[R, F, M, M]`` to heatmaps ``[R, K, 4 M, 4 M]``, float32."""
        small = full_precision(self.kps_score_lowres(x))
        return functional.interpolate(
            small, scale_factor=float(self.up_scale), mode="bilinear", align_corners=False
        )


class KeypointBranch(Branch):
    """Convolutions without a norm, a transposed one, and twofold upsampling (torchvision's):
    logits ``[R, K, 56, 56]``."""

    def __init__(self, spec: DetectorSpec, pool: MultiScaleRoIAlign) -> None:
        width, depth = spec.keypoint_head_channels, spec.keypoint_head_convs
        super().__init__(
            pool,
            KeypointRCNNHeads(spec.neck_channels, [width] * depth),
            KeypointPredictor(width if depth else spec.neck_channels, spec.num_keypoints),
        )
        self.num_visible = torch.zeros((), dtype=torch.int64)

    def losses(
        self, features: Features, drawn: Drawn, targets: Sequence[Objects], sizes: Sizes
    ) -> dict[str, Tensor]:
        """A mean over the annotated keypoints inside their region: cross-entropy over its cells."""
        boxes, matched = drawn.positives()
        points = [target["keypoints"] for target in targets]
        logits = self(features, boxes, sizes)
        cells = _cells_of(points, boxes, matched, logits.shape[-1])
        self.num_visible = (cells != UNSEEN).sum()
        entropy = cross_entropy(
            logits.flatten(0, 1).flatten(1), cells, ignore_index=UNSEEN, reduction="sum"
        )
        return {"loss_keypoint": entropy / self.num_visible.clamp(min=1)}

    def find(self, features: Features, detections: Sequence[Objects], sizes: Sizes) -> None:
        """``keypoints: [D, K, 3]``: x, y in pixels and the logit there."""
        boxes = [f["boxes"] for f in detections]
        points, scores = keypointrcnn_inference(self(features, boxes, sizes), boxes)
        for entry, where, logits in zip(detections, points, scores, strict=True):
            entry["keypoints"] = torch.cat([where[..., :2], logits[..., None]], dim=-1)

    def division(self) -> Division:
        """The loss is a mean over keypoints that count."""
        return Division(names=("loss_keypoint",), count=self.num_visible, at_least=1)


def _cells_of(
    points: Sequence[Tensor], boxes: Sequence[Tensor], matched: Sequence[Tensor], side: int
) -> Tensor:
    """``[R * K]``: the cell of its region's heatmap in which each keypoint lies, or ``UNSEEN``."""
    cells = []
    for of_image, regions, rows in zip(points, boxes, matched, strict=True):
        heatmap_cells, is_visible = keypoints_to_heatmap(of_image[rows], regions, side)
        cells.append(torch.where(is_visible > 0, heatmap_cells, UNSEEN).flatten())
    return torch.cat(cells)
