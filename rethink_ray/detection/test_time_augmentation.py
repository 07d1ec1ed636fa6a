"""Test-time augmentation: detects in several sizes and mirrored, and merges the detections.

They are merged by non-maximum suppression (He et al. 2018, sec. 4.1: multi-scale testing).
With the plain view alone, results equal ``Detector.detect`` to the last bit. A box keeps the mask
of its own view; masks are not averaged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from rethink_ray.detection.detectors import Detector
from rethink_ray.detection.resize import resize_image
from rethink_ray.spec.recipe import DetectorSpec, EvaluationSpec

Detections = dict[str, Tensor]
"""Detections of one image from ``Detector.detect``: ``boxes_xyxy``, ``scores``, ``labels``, and
``masks`` or ``keypoints`` from families that have them."""


@dataclass(frozen=True, slots=True)
class View:
    """A view of an image: a factor of the input size, mirrored or not."""

    scale: float
    mirrored: bool

    @property
    def is_plain(self) -> bool:
        """Whether the view has the detector's own size and is not mirrored."""
        return self.scale == 1.0 and not self.mirrored


class MultiViewDetector:
    """Detects in every view of the recipe and merges the detections of each image."""

    __test__ = False  # pytest must not collect this class

    def __init__(
        self,
        detector: Detector,
        evaluation: EvaluationSpec,
        spec: DetectorSpec,
        keypoint_swap: Sequence[int] = (),
    ) -> None:
        """``keypoint_swap``: [K], the keypoint at each keypoint's position in a mirrored image."""
        sides = (False, True) if evaluation.flip else (False,)
        self.views = tuple(
            View(scale, mirrored) for scale in evaluation.scales for mirrored in sides
        )
        self._detector = detector
        self._spec = spec
        self._swap = list(keypoint_swap)

    def build_views(self, images: Sequence[Tensor]) -> list[list[Tensor]]:
        """Returns the images ([3, H, W] each) of every view, resized and mirrored."""
        return [[self._render_view(view, image) for image in images] for view in self.views]

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """Returns the detections of each image ([3, H, W] float32) in its pixels, best first."""
        per_view: list[list[Detections]] = []
        for view, seen in zip(self.views, self.build_views(images), strict=True):
            with self._detector.sizes_as_given(not view.is_plain):
                detections = self._detector.detect(seen)
            per_view.append(
                [
                    self._map_back(view, one, image, rendered)
                    for one, image, rendered in zip(detections, images, seen, strict=True)
                ]
            )
        if len(per_view) == 1:
            return per_view[0]
        nms_iou = self._spec.as_published().nms_iou
        assert nms_iou is not None, "every family has a published overlap"
        return [
            merge_views(detections, nms_iou, self._spec.detections)
            for detections in zip(*per_view, strict=True)
        ]

    def _render_view(self, view: View, image: Tensor) -> Tensor:
        if view.is_plain:
            return image
        height, width = image.shape[-2:]
        ratio = view.scale * min(
            self._spec.min_side_px / min(height, width),
            self._spec.max_side_px / max(height, width),
        )
        scaled = resize_image(image, max(int(height * ratio), 1), max(int(width * ratio), 1))
        return scaled.flip(-1) if view.mirrored else scaled

    def _map_back(
        self, view: View, detections: Detections, image: Tensor, rendered: Tensor
    ) -> Detections:
        """Maps a view's detections back to the image's own pixels."""
        if view.is_plain:
            return detections
        back = dict(detections)
        if view.mirrored:
            back = _mirror_back(detections, rendered.shape[-1], self._swap)
        ratio = torch.tensor(
            [image.shape[-1] / rendered.shape[-1], image.shape[-2] / rendered.shape[-2]],
            device=detections["boxes_xyxy"].device,
        )
        back["boxes_xyxy"] = back["boxes_xyxy"] * ratio.repeat(2)
        if "keypoints" in back:
            points = back["keypoints"]
            back["keypoints"] = torch.cat([points[..., :2] * ratio, points[..., 2:]], dim=-1)
        return back


def merge_views(per_view: Sequence[Detections], nms_iou: float, most: int) -> Detections:
    """Merges the detections of all views by non-maximum suppression per class, best first."""
    joined = {key: torch.cat([view[key] for view in per_view]) for key in per_view[0]}
    scores = joined["scores"].float()
    kept = batched_nms(joined["boxes_xyxy"].float(), scores, joined["labels"], nms_iou)[:most]
    return {key: values[kept] for key, values in joined.items()}


def _mirror_back(detections: Detections, width: int, swap: Sequence[int]) -> Detections:
    """Mirrors detections of a mirrored view back."""
    x0, y0, x1, y1 = detections["boxes_xyxy"].unbind(-1)
    back = {**detections, "boxes_xyxy": torch.stack([width - x1, y0, width - x0, y1], dim=-1)}
    if "masks" in detections:
        back["masks"] = detections["masks"].flip(-1)
    if "keypoints" in detections:
        points = detections["keypoints"][:, list(swap) or slice(None)]
        back["keypoints"] = torch.cat([width - points[..., :1], points[..., 1:]], dim=-1)
    return back
