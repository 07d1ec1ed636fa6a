"""Gives a detector's tensors the names that torchvision's classes have, for use without us.

It is the inverse of ``foreign.rename_to_ours``. Mean and deviation of the pixels are no tensors
there: ``image_mean`` and ``image_std`` of the constructor take their place.
"""

import re
from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from rethink_ray.detection.pixel_norm import is_pixel_norm
from rethink_ray.spec.networks import RESIDUAL
from rethink_ray.spec.recipe import TWO_STAGE, DetectorSpec

TensorNames = Literal["torchvision", "rethink_ray"]
BUILT_BY_TORCHVISION = frozenset({"retinanet", "fcos", "faster_rcnn", "mask_rcnn", "keypoint_rcnn"})
"""Families that torchvision has a class for."""
WITHOUT_CLASS = frozenset({"tiny", "resnext152_32x8d"})
"""Residual backbones that torchvision has no function for."""
TO_TORCHVISION = (
    (r"^network\.", ""),
    (r"^backbone\.body\.stem\.", "backbone.body."),
    (r"^roi_heads\.stages\.0\.", "roi_heads."),
    (r"^roi_heads\.branches\.(mask|keypoint)s\.(head|predictor)\.", r"roi_heads.\1_\2."),
)
"""Patterns for beginnings of our names, and torchvision's."""


def choose_names(spec: DetectorSpec) -> TensorNames:
    """Returns whose names the tensors of a handed-on model have.

    Batch norms in one-stage heads have statistics for each level here, but not in torchvision.
    """
    is_known = spec.family in BUILT_BY_TORCHVISION and spec.backbone in RESIDUAL
    is_plain = spec.neck == "fpn" and not spec.adapters and spec.backbone not in WITHOUT_CLASS
    counts_levels = spec.family not in TWO_STAGE and spec.head_norm == "same"
    has_level_norms = counts_levels and spec.norm in ("bn", "sync_bn")
    return "torchvision" if is_known and is_plain and not has_level_norms else "rethink_ray"


def rename_to_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns a detector's state dict under torchvision's names, without its pixel norm."""
    return {_rename(name): value for name, value in state.items() if not is_pixel_norm(name)}


def find_first_label(spec: DetectorSpec) -> Literal[0, 1]:
    """Returns the label that torchvision's class gives to the first class of a data set."""
    return 0 if spec.family in ("retinanet", "fcos") else 1


def _rename(name: str) -> str:
    for pattern, theirs in TO_TORCHVISION:
        name = re.sub(pattern, theirs, name)
    return name
