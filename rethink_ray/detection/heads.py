"""torchvision's heads, with the number of convolutions and the norm as settings.

Every head returns float32, so that matching, box coding and losses are the same under autocast.
"""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import (
    FastRCNNConvFCHead,
    FastRCNNPredictor,
    TwoMLPHead,
)
from torchvision.models.detection.fcos import (
    FCOSClassificationHead,
    FCOSHead,
    FCOSRegressionHead,
)
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import Conv2dNormActivation

from rethink_ray.detection.necks import full_precision, pyramid_levels
from rethink_ray.detection.norms import NormLayer, group_norm, head_norm, set_level, tower_norm
from rethink_ray.spec.recipe import DetectorSpec


class RetinaHead(RetinaNetHead):  # type: ignore[misc]  # torchvision is untyped
    """RetinaNet's two towers, of any depth."""

    def __init__(self, spec: DetectorSpec, num_anchors: int, num_classes: int) -> None:
        super().__init__(spec.neck_channels, num_anchors, num_classes)
        norm = tower_norm(spec.norm, pyramid_levels(spec).count)
        self.classification_head.conv = _build_tower(spec, norm)
        self.regression_head.conv = _build_tower(spec, norm)

    def forward(self, x: list[Tensor]) -> dict[str, Tensor]:
        """Returns ``cls_logits [N, A, K]`` and ``bbox_regression [N, A, 4]`` over all levels."""
        return _run_by_level(self, super().forward, x)


class FcosHead(FCOSHead):  # type: ignore[misc]  # torchvision is untyped
    """FCOS's two towers; GroupNorm in them if the backbone's norm is frozen (Tian et al. 2019)."""

    def __init__(self, spec: DetectorSpec, num_classes: int) -> None:
        width, depth = spec.neck_channels, spec.head_convs
        super().__init__(width, 1, num_classes, num_convs=0)
        norm = tower_norm(spec.norm, pyramid_levels(spec).count) or group_norm
        self.classification_head = FCOSClassificationHead(
            width, 1, num_classes, depth, norm_layer=norm
        )
        self.regression_head = FCOSRegressionHead(width, 1, depth, norm_layer=norm)

    def forward(self, x: list[Tensor]) -> dict[str, Tensor]:
        """Returns ``cls_logits [N, A, K]``, ``bbox_regression [N, A, 4]``, ``bbox_ctrness``."""
        return _run_by_level(self, super().forward, x)


class ProposalHead(RPNHead):  # type: ignore[misc]  # torchvision is untyped
    """The proposal network's head: one convolution without norm."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Returns objectness logits and box deltas per level."""
        logits, deltas = super().forward(x)
        return [full_precision(t) for t in logits], [full_precision(t) for t in deltas]


class BoxPredictor(FastRCNNPredictor):  # type: ignore[misc]  # torchvision is untyped
    """Predicts class scores (background first) and box deltas per class of pooled proposals."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns scores ``[R, 1 + K]`` and deltas ``[R, 4 * (1 + K)]`` of ``[R, F]``."""
        scores, deltas = super().forward(x)
        return full_precision(scores), full_precision(deltas)


def _run_by_level(
    head: nn.Module, forward: Callable[[list[Tensor]], dict[str, Tensor]], maps: list[Tensor]
) -> dict[str, Tensor]:
    """Returns a head's outputs over all levels, each computed with its level's norm statistics."""
    outputs: list[dict[str, Tensor]] = []
    for level, features in enumerate(maps):
        set_level(head, level)
        outputs.append(forward([features]))
    return {k: torch.cat([full_precision(o[k]) for o in outputs], dim=1) for k in outputs[0]}


def roi_side(spec: DetectorSpec) -> int:
    """Cells along a side of a pooled proposal: 7, or 5 for the small pictures of ``tiny``."""
    return 5 if spec.backbone == "tiny" else 7


NAMED_BOX_HEADS = {"2fc": 0, "4conv1fc": 4}
"""Name of a two-stage box head -> its convolutions."""


def build_box_head(spec: DetectorSpec) -> nn.Module:
    """Builds convolutions and one fully connected layer (He et al. 2018), or two of the latter."""
    width, side, features = spec.neck_channels, roi_side(spec), spec.box_head_features
    depth = NAMED_BOX_HEADS[spec.box_head] if spec.box_head else spec.head_convs
    if depth == 0:
        head: nn.Module = TwoMLPHead(width * side**2, features)
        return head
    head = FastRCNNConvFCHead(
        (width, side, side), [width] * depth, [features], head_norm(spec.norm)
    )
    return head


def _build_tower(spec: DetectorSpec, norm: NormLayer | None) -> nn.Sequential:
    width = spec.neck_channels
    tower = nn.Sequential(
        OrderedDict(
            (str(i), Conv2dNormActivation(width, width, norm_layer=norm))
            for i in range(spec.head_convs)
        )
    )
    for layer in tower.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return tower
