"""Test-time augmentation: each image is looked at in several sizes, mirrored too, and what is found
is merged by non-maximum suppression (He et al. 2018, sec. 4.1: multi-scale testing).

The plain look alone is ``Detector.detect``, to the last bit. A kept box keeps the mask of the look
that found it; masks are not averaged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from rethink_ray.detection.detectors import Detector
from rethink_ray.detection.resize import resize_image
from rethink_ray.spec.recipe import DetectorSpec, EvaluationSpec

Found = dict[str, Tensor]
"""As ``Detector.detect`` gives it: ``boxes_xyxy``, ``scores``, ``labels``, perhaps more."""


@dataclass(frozen=True, slots=True)
class View:
    """One way to look at an image: at this factor of the input size, mirrored or not."""

    scale: float
    mirrored: bool

    @property
    def is_plain(self) -> bool:
        """The detector's own size, not mirrored."""
        return self.scale == 1.0 and not self.mirrored


class MultiViewDetector:
    """A detector that looks at every image in each of the views of a recipe."""

    __test__ = False  # no test class, whatever its name begins with

    def __init__(
        self,
        detector: Detector,
        evaluation: EvaluationSpec,
        spec: DetectorSpec,
        keypoint_swap: Sequence[int] = (),
    ) -> None:
        """``keypoint_swap``: which keypoint stands in each one's place in a mirror."""
        sides = (False, True) if evaluation.flip else (False,)
        self.views = tuple(
            View(scale, mirrored) for scale in evaluation.scales for mirrored in sides
        )
        self._detector = detector
        self._spec = spec
        self._swap = list(keypoint_swap)

    def views_of(self, images: Sequence[Tensor]) -> list[list[Tensor]]:
        """The images ([3, H, W] each) once per view, at the size they are looked at."""
        return [[self._look(view, image) for image in images] for view in self.views]

    def detect(self, images: Sequence[Tensor]) -> list[Found]:
        """The detections of each image ([3, H, W], float32) in its own pixels, best first."""
        per_view: list[list[Found]] = []
        for view, seen in zip(self.views, self.views_of(images), strict=True):
            with self._detector.sizes_as_given(not view.is_plain):
                detections = self._detector.detect(seen)
            per_view.append(
                [
                    self._as_seen_plainly(view, one, image, look)
                    for one, image, look in zip(detections, images, seen, strict=True)
                ]
            )
        if len(per_view) == 1:
            return per_view[0]
        spec = self._spec
        return [
            merge_views(detections, spec.nms_iou, spec.detections)
            for detections in zip(*per_view, strict=True)
        ]

    def _look(self, view: View, image: Tensor) -> Tensor:
        if view.is_plain:
            return image
        height, width = image.shape[-2:]
        ratio = view.scale * min(
            self._spec.min_side_px / min(height, width),
            self._spec.max_side_px / max(height, width),
        )
        look = resize_image(image, max(int(height * ratio), 1), max(int(width * ratio), 1))
        return look.flip(-1) if view.mirrored else look

    def _as_seen_plainly(self, view: View, detections: Found, image: Tensor, look: Tensor) -> Found:
        """Boxes, masks and keypoints in the image's own pixels."""
        if view.is_plain:
            return detections
        back = dict(detections)
        if view.mirrored:
            back = _mirrored(detections, look.shape[-1], self._swap)
        ratio = torch.tensor(
            [image.shape[-1] / look.shape[-1], image.shape[-2] / look.shape[-2]],
            device=detections["boxes_xyxy"].device,
        )
        back["boxes_xyxy"] = back["boxes_xyxy"] * ratio.repeat(2)
        if "keypoints" in back:
            points = back["keypoints"]
            back["keypoints"] = torch.cat([points[..., :2] * ratio, points[..., 2:]], dim=-1)
        return back


def merge_views(per_view: Sequence[Found], nms_iou: float, most: int) -> Found:
    """The detections of all views in one, best first: per class, the best of those that overlap."""
    joined = {key: torch.cat([view[key] for view in per_view]) for key in per_view[0]}
    scores = joined["scores"].float()
    kept = batched_nms(joined["boxes_xyxy"].float(), scores, joined["labels"], nms_iou)[:most]
    return {key: values[kept] for key, values in joined.items()}


def _mirrored(detections: Found, width: int, swap: Sequence[int]) -> Found:
    """What was found in a mirrored look, back on the side where it is."""
    x0, y0, x1, y1 = detections["boxes_xyxy"].unbind(-1)
    back = {**detections, "boxes_xyxy": torch.stack([width - x1, y0, width - x0, y1], dim=-1)}
    if "masks" in detections:
        back["masks"] = detections["masks"].flip(-1)
    if "keypoints" in detections:
        points = detections["keypoints"][:, list(swap) or slice(None)]
        back["keypoints"] = torch.cat([width - points[..., :1], points[..., 1:]], dim=-1)
    return back
