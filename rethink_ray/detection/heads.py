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
from rethink_ray.detection.norms import NormLayer, head_norm, set_level, tower_norm
from rethink_ray.spec.recipe import DetectorSpec


class RetinaHead(RetinaNetHead):  # type: ignore[misc]  # torchvision is untyped
    """RetinaNet's two towers, of any depth."""

    def __init__(self, spec: DetectorSpec, num_anchors: int, num_classes: int) -> None:
        super().__init__(spec.neck_channels, num_anchors, num_classes)
        norm = tower_norm(spec, pyramid_levels(spec).count)
        self.classification_head.conv = _build_tower(spec, norm)
        self.regression_head.conv = _build_tower(spec, norm)

    def forward(self, x: list[Tensor]) -> dict[str, Tensor]:
        """Returns ``cls_logits [N, A, K]`` and ``bbox_regression [N, A, 4]`` over all levels."""
        return _join_levels(self.run_levels(x))

    def run_levels(self, maps: list[Tensor]) -> list[dict[str, Tensor]]:
        """Returns the outputs of each level by itself."""
        return _run_by_level(self, super().forward, maps)


class FcosHead(FCOSHead):  # type: ignore[misc]  # torchvision is untyped
    """FCOS's two towers; GroupNorm in them if heads have no other norm (Tian et al. 2019)."""

    def __init__(self, spec: DetectorSpec, num_classes: int) -> None:
        width, depth = spec.neck_channels, spec.head_convs
        super().__init__(width, 1, num_classes, num_convs=0)
        norm = tower_norm(spec, pyramid_levels(spec).count)
        self.classification_head = FCOSClassificationHead(
            width, 1, num_classes, depth, norm_layer=norm
        )
        self.regression_head = FCOSRegressionHead(width, 1, depth, norm_layer=norm)

    def forward(self, x: list[Tensor]) -> dict[str, Tensor]:
        """Returns ``cls_logits [N, A, K]``, ``bbox_regression [N, A, 4]``, ``bbox_ctrness``."""
        return _join_levels(self.run_levels(x))

    def run_levels(self, maps: list[Tensor]) -> list[dict[str, Tensor]]:
        """Returns the outputs of each level by itself."""
        return _run_by_level(self, super().forward, maps)


class ProposalHead(RPNHead):  # type: ignore[misc]  # torchvision is untyped
    """The proposal network's head: ``rpn_convs`` convolutions without norm."""

    def __init__(self, spec: DetectorSpec, num_anchors: int) -> None:
        super().__init__(spec.neck_channels, num_anchors, conv_depth=spec.rpn_convs)

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Returns objectness logits and box deltas per level."""
        logits, deltas = super().forward(x)
        return [full_precision(t) for t in logits], [full_precision(t) for t in deltas]


class BoxPredictor(FastRCNNPredictor):  # type: ignore[misc]  # torchvision is untyped
    """Predicts class scores (background first) and box deltas per class of pooled proposals."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        fill_predictor(self)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns scores ``[R, 1 + K]`` and deltas ``[R, 4 * (1 + K)]`` of ``[R, F]``."""
        scores, deltas = super().forward(x)
        return full_precision(scores), full_precision(deltas)


def fill_predictor(predictor: FastRCNNPredictor) -> None:
    """Draws a box predictor's weights as Detectron does: small ones, so that boxes start still.

    Source: Detectron, ``detectron/modeling/fast_rcnn_heads.py``.
    """
    for layer, std in ((predictor.cls_score, 0.01), (predictor.bbox_pred, 0.001)):
        nn.init.normal_(layer.weight, std=std)
        nn.init.zeros_(layer.bias)


def _run_by_level(
    head: nn.Module, forward: Callable[[list[Tensor]], dict[str, Tensor]], maps: list[Tensor]
) -> list[dict[str, Tensor]]:
    """Returns a head's outputs on each level, computed with that level's norm statistics."""
    outputs: list[dict[str, Tensor]] = []
    for level, features in enumerate(maps):
        set_level(head, level)
        outputs.append({key: full_precision(x) for key, x in forward([features]).items()})
    return outputs


def _join_levels(outputs: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Returns a head's outputs over all levels, finest first."""
    return {key: torch.cat([of_level[key] for of_level in outputs], dim=1) for key in outputs[0]}


def roi_side(spec: DetectorSpec) -> int:
    """Cells along a side of a pooled proposal: 7, or 5 for the small pictures of ``tiny``."""
    return 5 if spec.backbone == "tiny" else 7


NAMED_BOX_HEADS = {"2fc": (0, 2), "4conv1fc": (4, 1), "4conv2fc": (4, 2)}
"""Name of a two-stage box head -> its convolutions and its fully connected layers."""


def build_box_head(spec: DetectorSpec) -> nn.Module:
    """Builds convolutions and one or two fully connected layers, or two of the latter alone.

    Fully connected layers are drawn as in Detectron (Caffe2's ``XavierFill``).
    """
    width, side, features = spec.neck_channels, roi_side(spec), spec.box_head_features
    alone = (spec.head_convs, 1 if spec.head_convs else 2)
    num_convolutions, num_connected = NAMED_BOX_HEADS[spec.box_head] if spec.box_head else alone
    head: nn.Module
    if num_convolutions == 0:
        head = TwoMLPHead(width * side**2, features)
    else:
        layers = ([width] * num_convolutions, [features] * num_connected)
        head = FastRCNNConvFCHead((width, side, side), *layers, head_norm(spec))
    for layer in head.modules():
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)
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
