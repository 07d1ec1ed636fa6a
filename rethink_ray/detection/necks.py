"""The feature pyramid on a backbone.

Its outputs are float32 under autocast too: torchvision takes the type of anchors from them, and in
bfloat16 a coordinate above 256 is only known to two pixels.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import (
    ExtraFPNBlock,
    LastLevelMaxPool,
    LastLevelP6P7,
)

from rethink_ray.detection.backbones import STAGES, Backbone
from rethink_ray.detection.norms import head_norm
from rethink_ray.spec.recipe import DetectorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Which stages the pyramid stands on, and what it grows beyond the last one."""

    stages: tuple[str, ...]
    first_stride: int
    extra: Literal["none", "pool", "p6p7"]

    @property
    def count(self) -> int:
        """Number of pyramid levels."""
        return len(self.stages) + {"none": 0, "pool": 1, "p6p7": 2}[self.extra]


def pyramid_levels(spec: DetectorSpec) -> Levels:
    """P3-P7 for one-stage families, P2-P6 for Faster R-CNN; ``tiny`` ends at stride 32.

    P6 comes from P5 (Tian et al. 2019; torchvision's first RetinaNet too), not from C5.
    """
    two_stage = spec.family == "faster_rcnn"
    stages, stride = (STAGES[1:], 4) if two_stage else (STAGES[2:], 8)
    if spec.backbone == "tiny":
        return Levels(stages=stages, first_stride=stride, extra="none")
    return Levels(stages=stages, first_stride=stride, extra="pool" if two_stage else "p6p7")


class Pyramid(nn.Module):
    """A backbone (``body``) and the FPN on it: what torchvision's detectors call a backbone."""

    def __init__(self, body: Backbone, fpn: FeaturePyramidNetwork, spec: DetectorSpec) -> None:
        super().__init__()
        self.body = body
        self.fpn = fpn
        self.out_channels = spec.neck_channels
        self.levels = pyramid_levels(spec)

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Pyramid maps for normalised images, finest first, float32."""
        features = self.body(images)
        maps = self.fpn(OrderedDict((name, features[name]) for name in self.levels.stages))
        return OrderedDict((name, full_precision(x)) for name, x in maps.items())


def build_pyramid(spec: DetectorSpec, body: Backbone) -> Pyramid:
    """The pyramid a family wants, with its norm where the papers put one."""
    levels = pyramid_levels(spec)
    inputs = list(body.channels[-len(levels.stages) :])
    width = spec.neck_channels
    extra: ExtraFPNBlock | None = None
    match levels.extra:
        case "pool":
            extra = LastLevelMaxPool()
        case "p6p7":
            extra = LastLevelP6P7(width, width)
    fpn = FeaturePyramidNetwork(inputs, width, extra, head_norm(spec.norm))
    return Pyramid(body, fpn, spec)


def full_precision(x: Tensor) -> Tensor:
    """The same numbers, in float32 if they came in half precision."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
