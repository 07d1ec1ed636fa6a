"""The feature pyramid on a backbone.

Its outputs are float32 even under autocast: torchvision gives anchors their type, and in bfloat16 a
coordinate above 256 is exact to two pixels only.
"""

from collections import OrderedDict
from collections.abc import Mapping
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
from rethink_ray.detection.bifpn import BiFpn
from rethink_ray.detection.feature_cache import FeatureCache, FrozenForward
from rethink_ray.detection.fusing import resize_nearest
from rethink_ray.detection.nas_fpn import NasFpn
from rethink_ray.detection.norms import neck_norm
from rethink_ray.detection.simple_pyramid import SimplePyramid
from rethink_ray.spec.detector import PUBLISHED_REPEATS
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.recipe import TWO_STAGE, DetectorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """The stages that the pyramid reads, and the levels that it adds beyond the last one."""

    stages: tuple[str, ...]
    first_stride: int
    extra: Literal["none", "pool", "p6p7"]

    @property
    def count(self) -> int:
        """Number of pyramid levels."""
        return len(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the pyramid's maps, finest first."""
        grown = {"none": (), "pool": ("pool",), "p6p7": ("p6", "p7")}
        return (*self.stages, *grown[self.extra])


def pyramid_levels(spec: DetectorSpec) -> Levels:
    """Returns P3-P7 for one-stage families, P2-P6 for two-stage ones; ``tiny`` ends at stride 32.

    Necks that were searched on P3-P7 have these levels in every family.
    """
    is_tiny = spec.backbone == "tiny"
    from_p2 = spec.family in TWO_STAGE and (spec.neck in ("fpn", "simple") or is_tiny)
    stages, stride = (STAGES[1:], 4) if from_p2 else (STAGES[2:], 8)
    if is_tiny:
        return Levels(stages=stages, first_stride=stride, extra="none")
    return Levels(stages=stages, first_stride=stride, extra="pool" if from_p2 else "p6p7")


class Fpn(FeaturePyramidNetwork):  # type: ignore[misc]  # torchvision is untyped
    """torchvision's pyramid; under autocast its maps keep one type on all levels."""

    def forward(self, x: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
        """Returns the maps of levels for the maps of stages, finest first."""
        stages, names = list(x.values()), list(x)
        merged = [block(stage) for block, stage in zip(self.inner_blocks, stages, strict=True)]
        for finer in range(len(merged) - 2, -1, -1):
            size = (merged[finer].shape[-2], merged[finer].shape[-1])
            merged[finer] = merged[finer] + resize_nearest(merged[finer + 1], size)
        maps = [block(level) for block, level in zip(self.layer_blocks, merged, strict=True)]
        if self.extra_blocks is not None:
            maps, names = self.extra_blocks(maps, stages, names)
        return OrderedDict(zip(names, maps, strict=True))


class Pyramid(nn.Module):
    """A backbone (``body``) with its neck (``fpn``), which torchvision calls a backbone."""

    def __init__(self, body: Backbone, fpn: nn.Module, spec: DetectorSpec) -> None:
        """``fpn``: any neck; it maps an ordered dict of stage maps to one of pyramid maps."""
        super().__init__()
        self.body = body
        self.fpn = fpn
        self.out_channels = spec.neck_channels
        self.levels = pyramid_levels(spec)
        self.frozen_forward: FrozenForward | None = None
        """Reads or computes frozen maps; ``None``: all maps are computed."""
        self._settings = spec.model_dump_json()

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Returns the pyramid maps of normalised images, finest first, float32."""
        frozen = self.frozen_forward
        if frozen is None or not self.body.is_frozen or (self.training and not frozen.in_training):
            return self._compute_maps(images)
        if self._has_frozen_neck():
            return frozen(images, self, self._compute_maps)
        return self._compute_levels(frozen(images, self.body, self._compute_stages))

    def cache_features(self, features: FeatureCache, *, in_training: bool) -> None:
        """Takes the maps of frozen parts from ``features`` in one run.

        ``in_training``: whether training shows the same pixels again.
        """
        self.frozen_forward = FrozenForward(features, self._settings, in_training=in_training)

    def _has_frozen_neck(self) -> bool:
        is_trained = any(p.requires_grad for p in self.fpn.parameters())
        return not is_trained and not self.fpn.training

    def _compute_maps(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return self._compute_levels(self._compute_stages(images))

    def _compute_stages(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Returns the maps of the stages that the neck reads."""
        features = self.body(images)
        return OrderedDict((name, features[name]) for name in self.levels.stages)

    def _compute_levels(self, stages: OrderedDict[str, Tensor]) -> OrderedDict[str, Tensor]:
        maps = self.fpn(stages)
        return OrderedDict((name, full_precision(x)) for name, x in maps.items())


def build_pyramid(spec: DetectorSpec, body: Backbone) -> Pyramid:
    """Builds the pyramid of the recipe's family, with norms as in the papers.

    Raises:
        SpecError: the neck does not fit the backbone's maps.
    """
    require_fitting_neck(spec, body)
    levels = pyramid_levels(spec)
    channels = list(body.channels[-len(levels.stages) :])
    return Pyramid(body, _build_neck(spec, levels, channels), spec)


def require_fitting_neck(spec: DetectorSpec, body: Backbone) -> None:
    """Refuses a simple pyramid on maps of four strides, and every other neck on one map.

    Rules of the spec do so by the backbone's name; this knows the network.

    Raises:
        SpecError: the neck does not fit the backbone's maps.
    """
    if body.staged.has_one_stride == (spec.neck == "simple"):
        return
    if spec.neck == "simple":
        must = f"must be fpn, nas_fpn or bifpn: {spec.backbone} has maps of four strides"
        remedy = "simple is the pyramid of plain ViTs."
    else:
        must = f"must be simple: {spec.backbone} is a plain ViT, which has maps of one stride"
        remedy = "Write detector.neck: simple."
    raise SpecError(explain("detector.neck", must, spec.neck, remedy))


def count_repeats(spec: DetectorSpec) -> int:
    """Returns how often the cell of a searched neck is repeated."""
    return spec.neck_repeats or PUBLISHED_REPEATS[spec.neck]


def _build_neck(spec: DetectorSpec, levels: Levels, channels: list[int]) -> nn.Module:
    if spec.neck == "simple":
        return SimplePyramid(
            channels[-1],
            spec.neck_channels,
            first_stride=levels.first_stride,
            names=levels.stages,
            coarser=_build_extra_levels(levels, spec.neck_channels, None),
        )
    norm = neck_norm(spec)
    if spec.neck == "fpn":
        c5_channels = channels[-1] if spec.p6_from == "c5" else None
        extra = _build_extra_levels(levels, spec.neck_channels, c5_channels)
        fpn: nn.Module = Fpn(channels, spec.neck_channels, extra, norm)
        return fpn
    assert norm is not None, "check_recipe requires a norm for these necks"
    build: type[NasFpn | BiFpn] = NasFpn if spec.neck == "nas_fpn" else BiFpn
    neck = build(
        channels, spec.neck_channels, norm, repeats=count_repeats(spec), names=levels.names
    )
    if isinstance(neck, NasFpn):
        neck.merge = spec.neck_merge
    return neck


def _build_extra_levels(
    levels: Levels, width: int, c5_channels: int | None
) -> ExtraFPNBlock | None:
    """Builds the levels beyond P5; ``c5_channels`` is ``None`` where P6 is computed from P5."""
    match levels.extra:
        case "pool":
            return LastLevelMaxPool()
        case "p6p7":
            extra = LastLevelP6P7(c5_channels or width, width)
            extra.use_P5 = c5_channels is None  # torchvision compares the two widths
            return extra
        case _:
            return None


def full_precision(x: Tensor) -> Tensor:
    """Returns ``x``, converted to float32 if it is in half precision."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
